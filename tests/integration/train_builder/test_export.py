"""A journey that is checked without our software: by openssl and sha256sum, by in-toto, by age."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from security.age import X25519Identity
from security.ids import PartyId
from security.keys.keyset import Scheme, Secrets, SoftwareSigner
from security.train.manifest import read_manifest
from tests.support.owners import OwnerWorld
from tests.support.trains import consortium
from train_builder.errors import FolderNotEmpty
from train_builder.proof.export import export_journey
from train_builder.proof.proof import prove

NOT_CHECKED = 3
SCHEMES = {"hospital-b": [Scheme.P256], "hospital-c": [Scheme.ED25519, Scheme.P256]}


def exported(here: OwnerWorld, into: Path) -> Path:
    train = here.journey()
    found = here.bring_home(train)
    export_journey(prove(found.accepted, here.world.trust), found.parts, here.home().blobs, {}, into)
    return into


@pytest.fixture
def journey(tmp_path: Path) -> Path:
    return exported(OwnerWorld(tmp_path / "world", world=consortium(schemes=SCHEMES)), tmp_path / "journey")


def verify(journey: Path, *, in_toto: bool = False) -> subprocess.CompletedProcess[str]:
    plain = "/usr/local/bin:/usr/bin:/bin"
    path = f"{Path(sys.executable).parent}:{plain}" if in_toto else plain
    return subprocess.run(
        ["sh", str(journey / "verify.sh")], capture_output=True, text=True, check=False, env={"PATH": path}
    )


def resum(journey: Path) -> None:
    """Make the checksums right again, as whoever forges a journey would."""
    names = [line.split("  ", 1)[1] for line in (journey / "SHA256SUMS").read_text().splitlines()]
    sums = subprocess.run(["sha256sum", *names], cwd=journey, capture_output=True, text=True, check=True).stdout
    (journey / "SHA256SUMS").write_text(sums)


def test_one_entry_verifies_with_openssl_alone(journey: Path) -> None:
    """Issue item 4: the very command of the README, without our script."""
    key_set = (journey / "keys" / "hospital-a" / "key-set.txt").read_text()
    key = key_set.split("sign ed25519 ")[1].split("\n")[0]
    (command,) = [
        line.strip()
        for line in (journey / "README.txt").read_text().splitlines()
        if "pkeyutl" in line and f"entry-1/{key}" in line
    ]
    done = subprocess.run(["sh", "-c", command], cwd=journey, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Signature Verified Successfully" in done.stdout
    entry = journey / "entry-1" / "pae.bin"
    entry.write_bytes(entry.read_bytes().replace(b'"attempt":1', b'"attempt":2'))
    done = subprocess.run(["sh", "-c", command], cwd=journey, capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_every_command_of_the_readme_works(journey: Path) -> None:
    commands = [
        line.strip()
        for line in (journey / "README.txt").read_text().splitlines()
        if line.strip().startswith(("openssl ", "sha256sum "))
    ]
    assert len(commands) == 5 + 4 + 4 + 1  # signatures, key sets, statements, sealed files
    for command in commands:
        subprocess.run(["sh", "-c", command], cwd=journey, capture_output=True, check=True)


def test_the_script_checks_a_whole_journey(journey: Path) -> None:
    done = verify(journey)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert "ok      entry-2: stop 2 of 3, at hospital-b" in told
    assert "ok      the journey is the whole route: 3 entries" in told
    assert sum("signed by hospital-c" in line for line in told) == 2


def test_in_toto_agrees(journey: Path) -> None:
    done = verify(journey, in_toto=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok      entry-3: in-toto finds 2 good signature(s) of hospital-c" in done.stdout
    assert "ok      manifest: in-toto finds 1 good signature(s) of alice" in done.stdout


def test_signatures_this_openssl_does_not_know_are_said_to_be_unchecked(tmp_path: Path) -> None:
    schemes = {"hospital-b": [Scheme.ED25519, Scheme.ML_DSA_65]}
    here = OwnerWorld(tmp_path / "world", world=consortium(schemes=schemes))
    done = verify(exported(here, tmp_path / "journey"))
    known = subprocess.run(
        ["openssl", "list", "-signature-algorithms"], capture_output=True, text=True, check=True
    ).stdout
    if "ML-DSA-65" in known.upper():
        assert done.returncode == 0
        assert "ok      entry-2: signed by hospital-b (ml-dsa-65)" in done.stdout
    else:
        assert done.returncode == NOT_CHECKED
        assert "SKIPPED entry-2: ml-dsa-65 signature of hospital-b needs openssl 3.5" in done.stdout


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("entry-2/payload.json", b'"attempt":1', b'"attempt":2'),
        ("entry-2/pae.bin", b'"attempt":1', b'"attempt":2'),
        ("manifest/payload.json", b'"main.py"', b'"evil.py"'),
        ("witnesses.txt", b"entry-2 hospital-b\n", b""),
        ("witnesses.txt", b"entry-3 hospital-c\n", b""),
        ("witnesses.txt", b"entry-2 hospital-b", b"entry-2 hospital-a"),
        ("keys/hospital-a/key-set.txt", b"seal age", b"seal Age"),
        ("blobs/state.age", b"age-encryption.org", b"age-encryption.orh"),
    ],
)
def test_the_script_refuses_what_was_changed(journey: Path, name: str, old: bytes, new: bytes) -> None:
    path = journey / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    assert verify(journey).returncode == 1
    resum(journey)
    done = verify(journey)
    assert done.returncode == 1
    assert "FAILED" in done.stdout


def test_the_script_refuses_a_strangers_key_in_place_of_a_stations(journey: Path) -> None:
    stranger = SoftwareSigner.generate(Scheme.ED25519)
    folder = journey / "keys" / "hospital-a"
    text = (folder / "key-set.txt").read_text()
    old = text.split("sign ed25519 ")[1].split("\n")[0]
    (folder / "key-set.txt").write_text(text.replace(old, stranger.public.key_id))
    (folder / f"{stranger.public.key_id}.pem").write_text(stranger.public.pem)
    signature = stranger.sign((journey / "entry-1" / "pae.bin").read_bytes())
    (journey / "entry-1" / f"{stranger.public.key_id}.sig").write_bytes(signature)
    resum(journey)
    done = verify(journey)
    assert done.returncode == 1
    assert "FAILED  manifest: does not say" in done.stdout


def test_stock_age_and_tar_open_the_results(tmp_path: Path) -> None:
    """An X25519 owner, for Debian's age does not know hybrid keys yet."""
    world = consortium()
    alice = PartyId("alice")
    for party, keys in world.secrets.items():  # age tools do not mix hybrid recipients with others
        world.secrets[party] = Secrets(signers=keys.signers, identity=X25519Identity.generate())
    here = OwnerWorld(tmp_path / "world", world=world)
    journey = exported(here, tmp_path / "journey")
    identity = tmp_path / "identity.txt"
    identity.write_text(world.secrets[alice].identity.secret_text() + "\n")
    age = shutil.which("age", path=f"/usr/bin:/usr/local/bin:{os.defpath}")
    assert age is not None, "the tests need age: apt-get install age"
    with (tmp_path / "state.tar").open("wb") as out:
        subprocess.run([age, "-d", "-i", str(identity), str(journey / "blobs" / "state.age")], stdout=out, check=True)
    with tarfile.open(tmp_path / "state.tar") as tar:
        assert tar.getnames() == ["META.json", "sums.json"]
        member = tar.extractfile("META.json")
        assert member is not None
        assert json.loads(member.read())["recipients"] == ["alice"]


def test_nothing_secret_is_exported(tmp_path: Path) -> None:
    here = OwnerWorld(tmp_path / "world", world=consortium(schemes=SCHEMES))
    journey = exported(here, tmp_path / "journey")
    secret = here.secrets("alice").identity.secret_text().encode()
    for path in journey.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data
            assert b"PRIVATE KEY" not in data
    assert read_manifest((journey / "manifest" / "payload.json").read_bytes()).name == "sums"


def test_a_full_folder_is_not_exported_into(tmp_path: Path) -> None:
    (tmp_path / "journey").mkdir()
    (tmp_path / "journey" / "mine").write_text("mine")
    with pytest.raises(FolderNotEmpty):
        exported(OwnerWorld(tmp_path / "world"), tmp_path / "journey")
