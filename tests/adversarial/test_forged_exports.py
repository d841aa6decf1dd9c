"""A dishonest owner exports a journey that never was: what a script finds, and what is judged from a pinned root alone."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

import pht
from registry.blobs import BlobFolder
from security.directory.carried import carried
from security.directory.client import FolderDirectory
from security.directory.root import Lifetimes, RootChange, rotate_keys
from security.directory.trust import TrustStore
from security.directory.workspace import Workspace, approve_base, revoke
from security.encoding import Json
from security.errors import (
    DigestMismatch,
    DirectoryRejected,
    FileMissing,
    JourneyIncomplete,
    JourneyTooLong,
    KeyRevoked,
    PhtError,
    SignatureInvalid,
)
from security.files import make_folder, write_file
from security.ids import PartyId, Role
from security.statement.envelope import sign
from security.train.verify import verify_home
from tests.support.directories import House, Place, clock, house, participant
from tests.support.trains import BASE, Consortium, Train, train
from train_builder.proof.check import carried_trust, check_export
from train_builder.proof.export import export_journey
from train_builder.proof.proof import prove

ALICE = PartyId("alice")
ROUTE = ("hospital-a", "hospital-b", "hospital-c")


@dataclass
class Audit:
    """A consortium with a real directory, a journey through it that was exported, and an auditor's pinned root."""

    path: Path
    consort: House
    place: Place
    world: Consortium

    @property
    def folder(self) -> Path:
        return self.path / "journey"

    @property
    def root(self) -> bytes:
        return self.consort.root

    def trust(self) -> TrustStore:
        return participant(make_folder(self.path / "cache"), self.place, self.root)()

    def begin(self, rewrite: Callable[[bytes], bytes] = lambda raw: raw) -> Train:
        """Make a train; its owner signs what `rewrite` makes of the usual manifest."""
        made = train(self.world, route=ROUTE, valid_from=clock(), valid_until=clock() + timedelta(days=14))
        made.envelope = sign(rewrite(made.envelope.payload), self.world.secrets[ALICE].signers)
        return made

    def export(self, made: Train) -> Path:
        """Let every station pass the train on, and export what its owner has at home."""
        for _ in ROUTE:
            made.pass_stop(time=clock())
        blobs = BlobFolder(self.path / "blobs")
        for digest, data in made.blobs.items():
            blobs.put(digest, len(data), io.BytesIO(data))
        trust = self.trust()
        proof = prove(verify_home(made.parts, trust, owner=ALICE, now=clock()), trust)
        files = carried(self.path / "cache", self.root, self.place)
        export_journey(proof, made.parts, blobs, files, self.folder)
        return self.folder

    def check(self, *, later: timedelta = timedelta(0)) -> int:
        """Check offline; return how many stops are proven."""
        checked = check_export(self.folder, carried_trust(self.folder, self.root), clock() + later)
        return len(checked.proof.steps)

    def script(self) -> subprocess.CompletedProcess[str]:
        """Run the script of the export, after whoever forged it made the checksums right again."""
        names = [str(one.relative_to(self.folder)) for one in sorted(self.folder.rglob("*")) if one.is_file()]
        names.remove("SHA256SUMS")
        sums = subprocess.run(["sha256sum", *names], cwd=self.folder, capture_output=True, text=True, check=True)
        (self.folder / "SHA256SUMS").write_text(sums.stdout)
        command, path = ["sh", str(self.folder / "verify.sh")], {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=path)

    def truncate(self, made: Train) -> None:
        """Leave the first stop only, as if the journey had ended there."""
        lines = (self.folder / "witnesses.txt").read_text().splitlines(keepends=True)
        (self.folder / "witnesses.txt").write_text("".join(lines[:2]))
        for number in (2, 3):
            for one in (self.folder / f"entry-{number}").iterdir():
                one.unlink()
            (self.folder / f"entry-{number}").rmdir()
        first = json.loads(made.entries[0].payload)["subject"][0]["digest"]["sha256"]
        (self.folder / "blobs" / "state.age").write_bytes((self.path / "blobs" / first).read_bytes())


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> tuple[House, Place]:
    """A consortium, made once: each test has a copy."""
    consort, place = house(tmp_path_factory.mktemp("founded") / "consortium", keys=1, threshold=1), Place()
    for party in ROUTE:
        consort.admit(party)
    consort.admit("alice", Role.OWNER)
    approve_base(consort.workspace, "python", BASE, note="")
    consort.publish(place)
    return consort, place


@pytest.fixture
def audit(tmp_path: Path, founded: tuple[House, Place]) -> Audit:
    consort, place = founded
    shutil.copytree(consort.workspace.path, tmp_path / "consortium")
    secrets = {PartyId(party): keys for party, keys in consort.secrets.items()}
    roles = {party: Role.OWNER if party == ALICE else Role.STATION for party in secrets}
    own = House(Workspace(tmp_path / "consortium"), dict(consort.secrets))
    return Audit(tmp_path, own, Place(dict(place.served)), Consortium(secrets=secrets, roles=roles, bases={}))


# --- What is true


def test_an_exported_journey_is_proven_by_its_files_and_a_root_also_years_later(audit: Audit) -> None:
    audit.export(audit.begin())
    assert audit.check() == len(ROUTE)
    assert audit.check(later=timedelta(days=3000)) == len(ROUTE)
    trust = carried_trust(audit.folder, audit.root)
    assert check_export(audit.folder, trust, clock() + timedelta(days=3000)).as_of < trust.expires
    done = audit.script()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_needs_nothing_but_the_folder_and_a_root(audit: Audit) -> None:
    folder = audit.export(audit.begin())
    write_file(audit.path / "root.json", audit.root)
    told = pht.root.main(["verify", str(folder), "--root", str(audit.path / "root.json")], standalone_mode=False)
    assert "the journey is complete and every step of it is proven" in told.text
    assert "what was revoked later is known only with --directory" in told.text
    assert [stop["station"]["party"] for stop in told.data["stops"]] == list(ROUTE)
    with pytest.raises(FileMissing):
        pht.root.main(["verify", str(audit.path), "--root", str(audit.path / "root.json")], standalone_mode=False)


def test_t21_what_was_revoked_since_is_seen_in_the_directory_as_it_is_now(audit: Audit) -> None:
    folder = audit.export(audit.begin())
    past = clock() - timedelta(days=1)
    revoke(audit.consort.workspace, PartyId("hospital-b"), None, since=past, now=clock())
    audit.consort.publish(FolderDirectory(audit.path / "published"))
    write_file(audit.path / "root.json", audit.root)
    words = ["verify", str(folder), "--root", str(audit.path / "root.json")]
    assert pht.root.main(words, standalone_mode=False).data["offline"] is True
    with pytest.raises(KeyRevoked):
        pht.root.main([*words, "--directory", f"folder:{audit.path / 'published'}"], standalone_mode=False)


# --- A journey that was cut short, behind something that looks like its route


def with_decoy(raw: bytes, *, real: str = '"route":') -> bytes:
    """Print a manifest so that a search for its stops finds other ones, which its owner has put into a schema."""
    document = json.loads(raw)
    predicate: dict[str, Json] = document["predicate"]
    route = predicate.pop("route")
    outputs = predicate.pop("outputs")
    assert isinstance(route, dict)
    assert isinstance(outputs, list)
    assert isinstance(outputs[0], dict)
    decoy = {"kind": "sequence", "stops": route["stops"][:1]}  # type: ignore[index]
    outputs[0]["schema"] = {"type": "object", "properties": {"route": decoy}, "default": decoy}
    inner = json.dumps(predicate, separators=(",", ":"))[:-1]
    body = inner + "," + real + json.dumps(route, separators=(",", ":"))
    body += ',"outputs":' + json.dumps(outputs, separators=(",", ":")) + "}"
    front = json.dumps({"_type": document["_type"]}, separators=(",", ":"))[:-1]
    rest = json.dumps(
        {"predicateType": document["predicateType"], "subject": document["subject"]}, separators=(",", ":")
    )
    return f'{front},"predicate":{body},{rest[1:]}'.encode()


def with_hidden_stops(raw: bytes) -> bytes:
    """The same, with the real stops under an escaped name that is the same name to every reader of JSON."""
    told = with_decoy(raw)
    at = told.index(b'"stops"')
    return told[:at] + b'"\\u0073tops"' + told[at + len(b'"stops"') :]


def with_blanks(raw: bytes) -> bytes:
    return with_decoy(raw, real='"route" : ').replace(b'"stops":', b'"stops" :', 1)


@pytest.mark.parametrize("rewrite", [with_decoy, with_blanks, with_hidden_stops])
def test_t4_a_truncated_journey_behind_a_decoy_is_refused(audit: Audit, rewrite: Callable[[bytes], bytes]) -> None:
    made = audit.begin(rewrite)
    audit.export(made)
    assert audit.check() == len(ROUTE)
    audit.truncate(made)
    with pytest.raises(JourneyIncomplete):
        audit.check()
    done = audit.script()
    assert done.returncode == 1, done.stdout
    hidden = rewrite is with_hidden_stops
    assert ("its route has no stops" if hidden else "none that says the train has finished") in done.stdout


def test_the_whole_journey_with_the_same_odd_manifest_is_what_it_is(audit: Audit) -> None:
    audit.export(audit.begin(with_decoy))
    done = audit.script()
    assert done.returncode == 0, done.stdout + done.stderr


# --- Other lies


def strangers_keys(audit: Audit) -> None:
    """The consortium in the export is the forger's own, from the root on."""
    other = house(audit.path / "other", keys=1, threshold=1)
    other.publish(FolderDirectory(audit.path / "theirs"))
    for old in (audit.folder / "directory").iterdir():
        old.unlink()
    for one in (audit.path / "theirs").iterdir():
        (audit.folder / "directory" / one.name).write_bytes(one.read_bytes())


def changed_party(audit: Audit) -> None:
    (path,) = (audit.folder / "directory").glob("*.party.hospital-b.json")
    path.write_bytes(path.read_bytes().replace(b"Hospital-B", b"Hospital-X"))


def missing_party(audit: Audit) -> None:
    (path,) = (audit.folder / "directory").glob("*.party.hospital-b.json")
    path.unlink()


def changed_list(audit: Audit) -> None:
    (path,) = (audit.folder / "directory").glob("*.targets.json")
    path.write_bytes(path.read_bytes().replace(b"party.hospital-b", b"party.hospital-x"))


def entry_more(audit: Audit) -> None:
    make_folder(audit.folder / "entry-4")
    source = audit.folder / "entry-3" / "envelope.json"
    (audit.folder / "entry-4" / "envelope.json").write_bytes(source.read_bytes())


def entry_beside(audit: Audit) -> None:
    (audit.folder / "entry-3").rename(audit.folder / "entry-03")


def entry_changed(audit: Audit) -> None:
    path = audit.folder / "entry-2" / "envelope.json"
    document = json.loads(path.read_bytes())
    document["signatures"][0]["sig"] = "A" * 86 + "=="
    path.write_text(json.dumps(document))


def other_state(audit: Audit) -> None:
    path = audit.folder / "blobs" / "state.age"
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (strangers_keys, DirectoryRejected),
        (changed_party, DirectoryRejected),
        (missing_party, DirectoryRejected),
        (changed_list, DirectoryRejected),
        (entry_more, JourneyTooLong),
        (entry_beside, JourneyTooLong),
        (entry_changed, SignatureInvalid),
        (other_state, DigestMismatch),
    ],
)
def test_t24_an_export_that_was_changed_is_refused(
    audit: Audit, spoil: Callable[[Audit], None], error: type[PhtError]
) -> None:
    audit.export(audit.begin())
    spoil(audit)
    with pytest.raises(error):
        audit.check()


def test_the_script_counts_signatures_and_not_only_the_good_ones(audit: Audit) -> None:
    """A key set without a key, which the owner's own manifest may name, is signed by nobody."""

    def nobody(raw: bytes) -> bytes:
        document = json.loads(raw)
        empty = "pht-key-set-v1\n"
        digest = subprocess.run(["sha256sum"], input=empty, capture_output=True, text=True, check=True).stdout[:64]
        document["predicate"]["owner"]["keySet"] = f"sha256:{digest}"
        return json.dumps(document, separators=(",", ":")).encode()

    made = audit.begin()
    audit.export(made)
    forged = sign(nobody(made.envelope.payload), [])
    (audit.folder / "manifest" / "payload.json").write_bytes(forged.payload)
    (audit.folder / "manifest" / "pae.bin").write_bytes(forged.pae())
    (audit.folder / "manifest" / "envelope.json").write_bytes(forged.to_bytes())
    (audit.folder / "keys" / "alice" / "key-set.txt").write_text("pht-key-set-v1\n")
    done = audit.script()
    assert done.returncode == 1
    assert "FAILED  manifest: nobody signed" in done.stdout


def test_a_later_root_leads_on_from_an_earlier_one(audit: Audit) -> None:
    rotate_keys(
        audit.consort.workspace,
        audit.consort.root_signers(),
        RootChange(replace_targets=False, replace_online=True, add_root_keys=0, drop_root_keys=(), threshold=None),
        passphrase=b"correct horse battery",
        lifetimes=Lifetimes(),
        now=clock(),
    )
    audit.consort.publish(audit.place)
    audit.export(audit.begin())
    assert (audit.folder / "directory" / "2.root.json").exists()
    assert audit.check() == len(ROUTE)
    (audit.folder / "directory" / "2.root.json").unlink()
    with pytest.raises(DirectoryRejected):
        audit.check()
