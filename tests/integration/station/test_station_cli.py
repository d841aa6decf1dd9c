"""`pht station` as an operator types it: a daemon that is a real process, a registry in a folder, keys and directory on disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.depot import Depot, ReceiptKind
from registry.directory import RegistryDirectory
from registry.layout import LayoutRegistry
from security.digest import Digest, digest_of
from security.directory.card import parse_card
from security.directory.client import load_trust
from security.directory.workspace import add_party, approve_base
from security.encoding import dump_json
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, Secrets, generate, spell
from security.keys.store import open_folder, read_folder
from security.train.journey import Outcome, read_refusal
from security.train.letters import open_letter
from station.house.disk import Rest
from station.journal.audit import sign_head
from station.journal.chain import Head
from station.journal.journal import Journal
from station.visit.events import Noticed
from station.visit.state import Visit
from station.visit.station_events import DaemonStarted, KeyUsed
from tests.support.desk import FAMILIES, Desk, Typed, edit, in_a_process
from tests.support.directories import house, key_folder
from tests.support.stretchings import counted
from tests.support.trains import MAIL, NOW, Consortium, Train, train
from tests.support.world import MemoryBlobs

ROOT = Path(__file__).parents[3]
PATIENCE = 60
BASE = digest_of(b"an approved base")


@dataclass
class Site:
    """One station, one owner, their consortium and its registry."""

    root: Path

    @property
    def station(self) -> Path:
        return self.root / "hospital-a"

    @property
    def registry(self) -> str:
        return f"layout:{self.root / 'registry'}"

    @property
    def depot(self) -> Depot:
        return Depot(LayoutRegistry(self.root / "registry"))

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.root), "PHT_STATION": str(self.station)}

    def pht(self, *words: str) -> Typed:
        return Desk(path=self.root, whole=self.root, environment=self.environment).pht(*words)

    def answer(self, *words: str) -> dict[str, Any]:
        typed = self.pht("--json", *words)
        assert typed.exit == 0, str(typed)
        return typed.document

    def told(self, *words: str) -> str:
        """Return the answer a person gets."""
        typed = self.pht(*words)
        assert typed.exit == 0, str(typed)
        return typed.out

    def refused(self, *words: str) -> str:
        """Return the code of the error."""
        typed = self.pht("--json", *words)
        assert typed.exit in FAMILIES, str(typed)
        return str(typed.code)

    def secret(self, name: str) -> Path:
        path = self.root / f"{name}.passphrase"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(12) + "\n")
        return path


def make(root: Path) -> Site:
    site = Site(root)
    (root / "registry").mkdir()
    data = root / "data"
    data.mkdir()
    (data / "patients.csv").write_text("value\n1\n")
    consort = house(root / "consortium", keys=1, threshold=1)
    for party, folder, role in (
        ("hospital-a", site.station / "keys", Role.STATION),
        ("alice", root / "alice", Role.OWNER),
    ):
        quick_keys(site, party, folder, role)
    site.answer(*init_words(site))
    edit(site.station / "station.yaml", "poll_seconds: 2", "poll_seconds: 1")
    site.answer("keys", "card", "alice", "-o", "alice.card.json", *_with(site, "alice"))
    for card in (root / "alice.card.json", site.station / "hospital-a.card.json"):
        add_party(consort.workspace, parse_card(card.read_bytes()), now=datetime.now(UTC) - timedelta(hours=1))
    approve_base(consort.workspace, "python", BASE, note="")
    consort.publish(RegistryDirectory(LayoutRegistry(root / "registry")))
    (site.station / "root.json").write_bytes(consort.root)
    return site


def quick_keys(site: Site, party: str, folder: Path, role: Role = Role.STATION) -> None:
    """Put new keys by that open quickly, under a party's passphrase."""
    passphrase = site.secret(party).read_bytes().strip()
    key_folder(folder, generate([Scheme.ED25519]), party, role, passphrase=passphrase)


def init_words(site: Site, *more: str) -> list[str]:
    return [
        *("station", "init", str(site.station), "--party", "hospital-a", "--registry", site.registry),
        *("--data", f"patients={site.root / 'data'}", "--admit-owner", "alice", "--engine", "unix:///nowhere"),
        *("--by-hand", *more, *_with(site, "hospital-a")),
    ]


def _with(site: Site, party: str) -> tuple[str, str]:
    return ("--passphrase-file", str(site.secret(party)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make(tmp_path_factory.mktemp("station-cli"))


@pytest.fixture
def site(made: Site, tmp_path: Path) -> Site:
    """A copy of the station as it was founded."""
    subprocess.run(["cp", "-a", f"{made.root}/.", str(tmp_path)], check=True)
    edit(tmp_path / "hospital-a" / "station.yaml", str(made.root), str(tmp_path))
    return Site(tmp_path)


def open_keys(site: Site, party: str) -> Secrets:
    folder = site.station / "keys" if party == "hospital-a" else site.root / party
    return open_folder(folder, site.secret(party).read_bytes().strip())


def submit(site: Site) -> Train:
    keys = {PartyId(name): open_keys(site, name) for name in ("alice", "hospital-a")}
    now = datetime.now(UTC).replace(microsecond=0)
    world = Consortium(secrets=keys, roles={}, bases={})
    made = train(
        world,
        route=("hospital-a",),
        base=BASE,
        valid_from=now - timedelta(minutes=5),
        valid_until=now + timedelta(days=7),
    )
    site.depot.send(made.parcel, MemoryBlobs(made.blobs), to=PartyId("hospital-a"), train=made.id, stop=made.stop)
    return made


@pytest.fixture
def daemon(site: Site) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "pht.py"), "station", "run"]
        running.append(
            subprocess.Popen(
                command,
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=site.root,
                env={"PATH": os.environ["PATH"], **site.environment},
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)


# --- init ------------------------------------------------------------------------------------------------------------


def test_init_makes_private_folders_and_a_card_and_nothing_is_overwritten(site: Site) -> None:
    assert site.station.stat().st_mode & 0o777 == 0o700
    assert (site.station / "keys" / "keys.age").stat().st_mode & 0o777 == 0o600
    card = parse_card((site.station / "hospital-a.card.json").read_bytes())
    assert card.party == "hospital-a"
    before = {path: path.read_bytes() for path in site.station.rglob("*") if path.is_file()}
    assert site.refused(*init_words(site)) == "file.exists"
    assert {path: path.read_bytes() for path in site.station.rglob("*") if path.is_file()} == before


def test_init_goes_on_where_it_was_stopped(site: Site) -> None:
    keys = (site.station / "keys" / "public.json").read_bytes()
    (site.station / "station.yaml").unlink()
    site.answer(*init_words(site))
    assert (site.station / "keys" / "public.json").read_bytes() == keys


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--party", "Hospital A"), "input.invalid"),
        (("--registry", "ftp://example"), "config.invalid"),
        (("--data", "patients=/nowhere/at/all"), "input.invalid"),
        (("--root", "/nowhere"), "file.missing"),
        (("--passphrase-file", "/nowhere"), "file.missing"),
    ],
)
def test_init_with_nonsense_leaves_nothing(made: Site, tmp_path: Path, words: tuple[str, str], code: str) -> None:
    folder = tmp_path / "new"
    given = {
        "--party": "hospital-b",
        "--registry": made.registry,
        "--passphrase-file": str(made.secret("hospital-b")),
        **dict([words]),
    }
    assert made.refused("station", "init", str(folder), *[word for pair in given.items() for word in pair]) == code
    assert not folder.exists()


def test_init_pins_a_root_by_its_fingerprint(made: Site, tmp_path: Path) -> None:
    fingerprint = digest_of((made.root / "consortium" / "published" / "1.root.json").read_bytes())
    quick_keys(made, "hospital-b", tmp_path / "new" / "keys")
    words = [
        *("station", "init", str(tmp_path / "new"), "--party", "hospital-b", "--registry", made.registry),
        *("--root-fingerprint", fingerprint.hex, *_with(made, "hospital-b")),
    ]
    assert made.answer(*words)["pinned"] is True
    wrong = [word if word != fingerprint.hex else "0" * 64 for word in words]
    wrong[2] = str(tmp_path / "other")
    assert made.refused(*wrong) == "directory.not-pinned"
    assert not (tmp_path / "other").exists()


# --- check -----------------------------------------------------------------------------------------------------------


def checked(site: Site, *words: str) -> list[str]:
    typed = site.pht("station", "check", *words)
    assert typed.exit == 40, str(typed)
    return [line for line in typed.out.splitlines() if line.startswith(("ok", "WARN", "FAIL"))]


def findings(site: Site, *words: str) -> dict[str, bool]:
    lines = checked(site, *words)
    return {line[6:21].strip(): not line.startswith("FAIL") for line in lines}


def test_check_looks_at_everything_even_if_much_is_wrong(site: Site) -> None:
    found = findings(site, "--passphrase-file", str(site.secret("hospital-a")))
    assert [name for name, ok in found.items() if not ok] == ["engine"]
    assert {"keys", "directory", "party", "registry", "data patients", "journal", "admission"} <= set(found)


def test_check_tells_what_is_known_of_clock_and_disk_and_no_more(site: Site) -> None:
    lines = checked(site, *_with(site, "hospital-a"))
    clock = next(line for line in lines if line[6:].startswith("clock "))
    assert "the registry does not tell the time; known to be after" in clock
    assert "when the newest key set in the directory began and before" in clock
    assert "when the directory expires" in clock
    (rest,) = [line for line in lines if line[6:].startswith("plaintext ")]
    kept = Rest(rest[6:].removeprefix("plaintext      workrooms are "))
    assert rest.startswith("WARN" if kept is Rest.PLAIN else "ok")


def test_check_finds_a_clock_that_is_behind_the_journal(site: Site) -> None:
    """A clock that was set back makes old trains valid again, and late entries early."""
    with Journal.open(site.station / "state" / "journal.sqlite") as journal:
        journal.note(DaemonStarted(at=datetime.now(UTC) + timedelta(hours=1), version="1"))
    (line,) = [line for line in checked(site, *_with(site, "hospital-a")) if line[6:].startswith("clock ")]
    assert line.startswith("FAIL  clock          the clock is behind")
    assert line.endswith("[clock.wrong]")


def test_check_says_what_is_missing(site: Site) -> None:
    (site.station / "root.json").unlink()
    (site.root / "data" / "patients.csv").chmod(0o600)
    found = findings(site, "--passphrase-file", str(site.secret("alice")))
    wrong = {name for name, ok in found.items() if not ok}
    expected = {"keys", "directory root", "directory", "engine"}
    assert wrong >= expected
    assert ("data patients" in wrong) == (os.geteuid() == 0)


def test_data_that_runs_cannot_read_are_opened_to_their_group_and_not_to_the_world(site: Site) -> None:
    """What the hint says is done, and helps."""
    for path, mode in ((site.root / "data", 0o700), (site.root / "data" / "patients.csv", 0o600)):
        path.chmod(mode)
    (hint,) = (one["hint"] for one in looked(site) if one["name"] == "data patients" and not one["ok"])
    subprocess.run(hint.partition(": ")[2], shell=True, check=True)  # noqa: S602 - as a person would
    assert [one["ok"] for one in looked(site) if one["name"] == "data patients"] == [True]
    assert all(path.stat().st_mode & 0o007 == 0 for path in (site.root / "data").rglob("*"))


def looked(site: Site) -> list[dict[str, Any]]:
    typed = site.pht("--json", "station", "check", *_with(site, "hospital-a"))
    found: list[dict[str, Any]] = typed.document["checks"]
    return found


# --- the daemon, and deciding while it works ---------------------------------------------------------------------------


def test_a_train_waits_for_a_person_who_refuses_it_while_the_daemon_runs(
    site: Site, daemon: Callable[[], subprocess.Popen[str]]
) -> None:
    made = submit(site)
    process = daemon()
    journal = site.station / "state" / "journal.sqlite"

    def held() -> bool:
        if not journal.exists():
            return False
        with Journal.open(journal) as opened:
            return any(opened.visit(one).held for one in opened.arrivals())

    wait_for(held)
    assert site.refused("station", "run") == "station.busy"
    listed = site.answer("station", "ls", "--waiting")["visits"]
    assert isinstance(listed, list)
    assert [one["train"] for one in listed] == [made.id]
    shown = site.answer("station", "show", made.id[:8], "--code", "--by", "ada")
    assert shown["verified"] is True
    code = shown["code"]
    assert isinstance(code, dict)
    assert [one["path"] for one in code["files"]] == ["lib/sums.py", "main.py"]
    for_grace = ("--by", "grace")
    printed = site.answer("station", "show", made.id[:8], "--code", "main.py", *for_grace)
    assert printed["text"] == "print('hello')\n"
    assert site.refused("station", "show", made.id[:8], "--code", "../etc/passwd", *for_grace) == "file.missing"
    assert site.refused("station", "approve", "ffff") == "visit.unknown"
    no = ("station", "refuse", made.id[:8], "--reason", "not this one", "--by", "grace")
    assert site.refused(*no) == "input.invalid"  # it cannot be taken back, and there is no terminal to ask on
    site.answer(*no, "--yes")
    wait_for(lambda: bool(site.depot.receipts_of(PartyId("alice"), made.id, range(3))))
    (receipt,) = site.depot.receipts_of(PartyId("alice"), made.id, range(3))
    assert receipt.kind is ReceiptKind.REFUSAL
    envelope = open_letter(site.depot.read_receipt(PartyId("alice"), receipt), [MAIL]).envelope
    assert read_refusal(envelope.payload).outcome is Outcome.REFUSED
    assert b"not this one" not in envelope.payload
    wait_for(lambda: site.depot.arrivals(PartyId("hospital-a")) == ())
    assert site.refused("station", "approve", made.id[:8]) == "visit.nothing-to-decide"
    health = json.loads((site.station / "state" / "health.json").read_text())
    assert health["process"] == process.pid
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert {json.loads(line)["message"] for line in logged.splitlines()} >= {"started", "recorded", "stopped"}
    assert list((site.station / "state" / "workrooms").iterdir()) == []
    assert [one.purpose for one in uses_of_the_key(site) if "show" in one.purpose] == [
        f"show ada the code of {made.id}",
        f"show grace the code of {made.id}",
        f"show grace the code of {made.id}",
    ]
    verified = site.answer("station", "audit", "verify")
    site.answer("station", "audit", "export", "exported")
    assert site.answer("station", "audit", "verify", "exported")["head"] == verified["head"]
    edit(site.root / "exported" / "journal.jsonl", "grace", "alice")
    assert site.refused("station", "audit", "verify", "exported") == "journal.damaged"


def uses_of_the_key(site: Site) -> list[KeyUsed]:
    with Journal.open(site.station / "state" / "journal.sqlite") as journal:
        return [event for event in journal.station_events() if isinstance(event, KeyUsed)]


def test_show_tells_the_whole_manifest(site: Site) -> None:
    """Whoever approves decides on what is shown: nothing that the owner signed is left out."""
    made = submit(site)
    site.answer("station", "once", *_with(site, "hospital-a"))
    shown = site.answer("station", "show", made.id[:8])
    signed = json.loads(made.envelope.payload)["predicate"]
    assert shown["manifest"] == {name: value for name, value in signed.items() if name != "letterKey"}
    assert made.manifest.letter_key not in json.dumps(shown)
    text = site.told("station", "show", made.id[:8])
    for need in made.manifest.data:
        assert need.description in text
    schemas = [one.schema for one in made.manifest.outputs if one.schema is not None]
    assert schemas
    for schema in schemas:
        assert dump_json(schema).decode() in text


def test_what_a_run_printed_is_not_shown_without_a_record(site: Site) -> None:
    made = submit(site)
    site.answer("station", "once", *_with(site, "hospital-a"))
    words = ("station", "show", made.id[:8], "--output", "--by", "grace", *_with(site, "hospital-a"))
    assert site.refused(*words) == "file.missing"
    assert uses_of_the_key(site)[-1].purpose == f"show grace what {made.id} printed"


# --- the daemon and its settings --------------------------------------------------------------------------------------


def the_daemon(site: Site) -> tuple[bool, str]:
    (found,) = (one for one in looked(site) if one["name"] == "daemon")
    return found["ok"], found["detail"]


def test_check_tells_whether_a_daemon_runs_and_with_which_settings(
    site: Site, daemon: Callable[[], subprocess.Popen[str]]
) -> None:
    assert the_daemon(site) == (True, "none runs here now")
    settings = site.station / "station.yaml"
    assert f"passphrase_file: '{site.secret('hospital-a')}'" in settings.read_text()
    running = daemon()
    wait_for((site.station / "state" / "health.json").exists)
    ok, detail = the_daemon(site)
    assert ok
    assert detail.startswith(f"process {running.pid}, last turn ")
    settings.write_text(settings.read_text() + "# changed since\n")
    ok, detail = the_daemon(site)
    assert not ok
    assert "[station.daemon-behind]" in detail
    running.terminate()
    running.communicate()
    assert the_daemon(site) == (True, "none runs here now")


# --- the audit -------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An auditor's machine, on which there is an export and nothing else."""
    elsewhere = tmp_path_factory.mktemp("auditor")
    submit(site)
    site.answer("station", "once", *_with(site, "hospital-a"))
    words = ("--by", "grace", *_with(site, "hospital-a"))
    done = site.answer("station", "audit", "export", str(elsewhere / "export"), *words)
    assert (done["heads"], done["proven"]) == (2, int(str(done["records"])) - 1)
    assert uses_of_the_key(site)[-1].purpose == "sign the journal's head for grace"
    return Auditor(elsewhere)


class Auditor(Site):
    """Has no station."""

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.root)}


def test_an_auditor_verifies_an_export_with_nothing_else(site: Site, exported: Site) -> None:
    spelled = spell(open_keys(site, "hospital-a").key_set.fingerprint)
    found = exported.answer("station", "audit", "verify", "export")
    assert (found["station"], found["keys"], found["spelled"]) == ("hospital-a", "export", spelled)
    assert found["proven"] == int(str(found["records"])) - 1
    text = exported.told("station", "audit", "verify", "export")
    assert spelled in text
    assert "compare it" in text
    assert "compare it" not in exported.told("station", "audit", "verify", "export", "--fingerprint", spelled)
    wrong = spell(open_keys(site, "alice").key_set.fingerprint)
    assert exported.refused("station", "audit", "verify", "export", "--fingerprint", wrong) == "key.not-trusted"
    card = str(site.station / "hospital-a.card.json")
    assert exported.answer("station", "audit", "verify", "export", "--card", card)["keys"] == "card"
    assert exported.refused("station", "audit", "verify") == "file.missing"
    assert exported.refused("station", "audit", "verify", "export", "-s", "nowhere") == "file.missing"


def test_a_journal_of_before_a_rotation_is_in_order_with_the_earlier_keys(site: Site, exported: Site) -> None:
    """Named as `keys.earlier`; away from the station, as long as one head is by keys that are known there."""
    (site.station / "keys").rename(site.station / "keys-before")
    quick_keys(site, "hospital-a", site.station / "keys")
    assert site.refused("station", "audit", "verify") == "signature.missing"
    settings = site.station / "station.yaml"
    edit(settings, "  folder: keys\n", "  folder: keys\n  earlier: [keys-before]\n")
    assert site.answer("station", "audit", "verify")["otherHeads"] == 0
    train = str(site.answer("station", "ls")["visits"][0]["train"])
    assert site.answer("station", "show", train, "--code", "main.py", *_with(site, "hospital-a"))["path"] == "main.py"
    site.answer("station", "audit", "export", str(exported.root / "later"), *_with(site, "hospital-a"))
    assert exported.answer("station", "audit", "verify", "later")["otherHeads"] == 0
    after, before_it = (spell(read_folder(site.station / one).key_set.fingerprint) for one in ("keys", "keys-before"))
    verify = ("station", "audit", "verify", "later", "--fingerprint")
    assert exported.answer(*verify, after)["otherHeads"] == 2
    told = exported.answer(*verify, before_it, "--fingerprint", after)
    assert (told["otherHeads"], told["spelled"], told["earlier"]) == (0, after, [before_it])
    assert exported.refused(*verify, before_it) == "key.not-trusted"
    assert exported.refused(*verify, after, "--fingerprint", "0" * 32) == "key.not-trusted"
    site.answer("keys", "card", str(site.station / "keys"), "-o", "new.card.json", *_with(site, "hospital-a"))
    card = str(site.root / "new.card.json")
    found = exported.answer("station", "audit", "verify", "later", "--card", card)
    assert (found["otherHeads"], found["proven"]) == (2, int(str(found["records"])) - 1)


def test_an_export_with_damaged_public_keys_is_not_begun(site: Site) -> None:
    site.answer("station", "once", *_with(site, "hospital-a"))
    public = site.station / "keys" / "public.json"
    whole = public.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"{}"):
        public.write_bytes(damaged)
        assert site.refused("station", "audit", "export", "out") == "key.not-a-key-file"
        assert not (site.root / "out").exists()
    public.write_bytes(whole)
    site.answer("station", "audit", "export", "out")
    assert (site.root / "out" / "public.json").read_bytes() == whole


def test_of_all_its_keys_a_station_opens_those_that_the_train_names(site: Site) -> None:
    made = submit(site)
    site.answer("station", "once", *_with(site, "hospital-a"))
    earlier = open_keys(site, "hospital-a").key_set.fingerprint
    (site.station / "keys").rename(site.station / "keys-before")
    quick_keys(site, "hospital-a", site.station / "keys")
    edit(site.station / "station.yaml", "  folder: keys\n", "  folder: keys\n  earlier: [keys-before]\n")
    with counted() as stretchings:
        site.answer("station", "show", made.id, "--code", "main.py", "--by", "grace", *_with(site, "hospital-a"))
    assert stretchings.number == 1
    used = [one for one in uses_of_the_key(site) if "grace" in one.purpose]
    assert [one.key_set for one in used] == [earlier]
    site.answer("station", "refuse", made.id, "--reason", "no", "--yes")
    with counted() as stretchings:
        site.answer("station", "once", *_with(site, "hospital-a"))
    assert stretchings.number == 2  # whoever knows what may come next has them all
    with counted() as stretchings:
        site.answer("station", "answer", made.id, "--text", "in June", "--by", "grace", *_with(site, "hospital-a"))
    assert stretchings.number == 1
    used = [one for one in uses_of_the_key(site) if "answer the owner" in one.purpose]
    assert [one.key_set for one in used] == [earlier]


def test_an_auditor_finds_a_tail_that_was_cut_off(exported: Site) -> None:
    path = exported.root / "export" / "journal.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    assert exported.refused("station", "audit", "verify", "export") == "journal.truncated"


def test_an_auditor_with_the_card_finds_an_export_with_somebody_elses_keys(site: Site, exported: Site) -> None:
    """A journal written anew, its head signed with keys made for it, in the same name: only the fingerprint tells."""
    forger, folder = generate([Scheme.ED25519]), exported.root / "export"
    for path in folder.glob("head-*.json"):
        path.unlink()
    lines = (folder / "journal.jsonl").read_text().splitlines()[:2]
    (folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))
    head = Head(sequence=2, hash=Digest(json.loads(lines[-1])["hash"]))
    forged = sign_head(head, station=PartyId("hospital-a"), signers=forger.signers, now=NOW)
    (folder / "head-2.json").write_bytes(forged.to_bytes())
    public = json.loads((folder / "public.json").read_text())
    public |= {"signing": [key.pem for key in forger.key_set.signing], "sealing": forger.key_set.sealing}
    (folder / "public.json").write_text(json.dumps(public))
    found = exported.answer("station", "audit", "verify", "export")
    assert found["spelled"] == spell(forger.key_set.fingerprint)
    card = str(site.station / "hospital-a.card.json")
    assert exported.refused("station", "audit", "verify", "export", "--card", card) == "signature.missing"
    ours = spell(open_keys(site, "hospital-a").key_set.fingerprint)
    assert exported.refused("station", "audit", "verify", "export", "--fingerprint", ours) == "key.not-trusted"


def test_an_export_cannot_bring_earlier_keys_of_its_own_making(site: Site, exported: Site) -> None:
    """The station's real keys, and beside them a forger's as "earlier" ones: only what was read out counts."""
    forger, folder = generate([Scheme.ED25519]), exported.root / "export"
    for path in folder.glob("head-*.json"):
        path.unlink()
    (line, *_) = (folder / "journal.jsonl").read_text().splitlines()
    (folder / "journal.jsonl").write_text(f"{line}\n")
    head = Head(sequence=1, hash=Digest(json.loads(line)["hash"]))
    forged = sign_head(head, station=PartyId("hospital-a"), signers=forger.signers, now=NOW)
    (folder / "head-1.json").write_bytes(forged.to_bytes())
    public = json.loads((folder / "public.json").read_text())
    public |= {"signing": [key.pem for key in forger.key_set.signing], "sealing": forger.key_set.sealing}
    (folder / "earlier-1").mkdir()
    (folder / "earlier-1" / "public.json").write_text(json.dumps(public))
    text = exported.told("station", "audit", "verify", "export")
    assert spell(forger.key_set.fingerprint) in text
    assert "compare it" in text
    ours = spell(open_keys(site, "hospital-a").key_set.fingerprint)
    assert exported.refused("station", "audit", "verify", "export", "--fingerprint", ours) == "signature.missing"


def test_the_end_of_the_journal_is_signed_for_an_export_while_the_daemon_works(
    site: Site, daemon: Callable[[], subprocess.Popen[str]]
) -> None:
    submit(site)
    process = daemon()
    wait_for((site.station / "state" / "health.json").exists)
    for number in range(3):
        done = site.answer("station", "audit", "export", f"export-{number}", *_with(site, "hospital-a"))
        assert int(str(done["proven"])) > 0
        site.answer("station", "audit", "verify", f"export-{number}")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert site.answer("station", "audit", "verify")["proven"]


def test_a_daemon_that_waits_for_a_registry_s_lock_can_be_ended_and_goes_on_later(
    site: Site, daemon: Callable[[], subprocess.Popen[str]]
) -> None:
    """Whoever may read a folder that is a registry may have opened its lock, and hold it for as long as they like."""

    def visit() -> Visit:
        with Journal.open(site.station / "state" / "journal.sqlite") as journal:
            (arrival,) = journal.arrivals()
            return journal.visit(arrival)

    made = submit(site)
    site.answer("station", "once", *_with(site, "hospital-a"))
    site.answer("station", "refuse", made.id[:8], "--reason", "not this one", "--by", "grace", "--yes")
    with contextlib.ExitStack() as held:
        for lock in (site.root / "registry").rglob(".lock"):
            fcntl.flock(held.enter_context(lock.open("rb")), fcntl.LOCK_EX)
        process = daemon()
        wait_for(lambda: visit().signed is not None)
        time.sleep(1)  # it asks for the lock next
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    signed, stumbled = visit().signed, visit().stumbled
    assert stumbled is not None
    assert stumbled.code == "registry.unavailable"
    daemon()
    wait_for(lambda: visit().departed is not None)
    assert visit().signed == signed


def test_once_tells_a_person_what_it_recorded(site: Site) -> None:
    """The message is constant; what happened, to which train and why, is in the fields."""
    made = submit(site)
    typed = in_a_process(site.root, site.environment, "station", "once", *_with(site, "hospital-a"))
    assert typed.exit == 0, str(typed)
    (line,) = [line for line in typed.err.splitlines() if "station.daemon.reconcile" in line]
    assert line.startswith("WARNING station.daemon.reconcile: recorded, visit=")
    assert f'train={made.id.short} place="stop 1 of 1" step=admit event=held' in line
    assert 'reason="' in line


def test_once_does_what_can_be_done_and_ends(site: Site) -> None:
    submit(site)
    done = site.answer("station", "once", "--passphrase-file", str(site.secret("hospital-a")))
    visits = done["visits"]
    assert isinstance(visits, list)
    assert visits[0]["phase"] == "accepted"
    assert str(visits[0]["next"]).startswith("a person, for admission")


# --- bad input -------------------------------------------------------------------------------------------------------


def test_what_goes_wrong_is_told_in_one_line_with_its_code(site: Site, tmp_path: Path) -> None:
    passphrase = ("--passphrase-file", str(site.secret("hospital-a")))
    assert site.refused("station", "ls") == "visit.unknown"
    assert site.refused("station", "ls", str(tmp_path / "nowhere")) == "file.missing"
    assert site.refused("station", "run", "--passphrase-file", str(site.secret("alice"))) == "key.wrong-passphrase"
    config = site.station / "station.yaml"
    text = config.read_text()
    edit(config, "  passphrase_file:", "  # passphrase_file:")
    assert site.refused("station", "run") == "input.invalid"
    config.write_text(text + "\nnonsense: 1\n")
    assert site.refused("station", "run", *passphrase) == "config.invalid"
    config.write_text(text)
    edit(config, "party: 'hospital-a'", "party: 'hospital-b'")
    assert site.refused("station", "run", *passphrase) == "input.invalid"
    config.write_text(text)
    site.secret("hospital-a").chmod(0o644)
    assert site.refused("station", "run", *passphrase) == "key.unreadable"


def test_a_journal_that_is_none_is_refused_and_left_alone(site: Site) -> None:
    journal = site.station / "state" / "journal.sqlite"
    journal.write_bytes(b"not a database" * 100)
    journal.chmod(0o600)
    before = journal.read_bytes()
    passphrase = ("--passphrase-file", str(site.secret("hospital-a")))
    assert site.refused("station", "run", *passphrase) == "journal.damaged"
    assert journal.read_bytes() == before


def test_a_journal_with_a_changed_record_stops_the_daemon(site: Site) -> None:
    import sqlite3

    path = site.station / "state" / "journal.sqlite"
    with Journal.open(path) as journal:
        event = Noticed(at=NOW, arrival=Digest("sha256:" + "1" * 64), tag="train-x", size=1)
        journal.append(event.arrival, event, expect=0)
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER never_updated")
    database.execute("UPDATE journal SET record = replace(record, 'train-x', 'train-y')")
    database.commit()
    database.close()
    assert site.refused("station", "run", "--passphrase-file", str(site.secret("hospital-a"))) == "journal.damaged"


def test_the_directory_the_station_pins_is_the_consortiums(site: Site, tmp_path: Path) -> None:
    source = RegistryDirectory(LayoutRegistry(site.root / "registry"))
    root = (site.station / "root.json").read_bytes()
    trust = load_trust(source, tmp_path / "cache", root, datetime.now(UTC))
    assert set(trust.parties) == {PartyId("alice"), PartyId("hospital-a")}
