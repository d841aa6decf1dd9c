"""Key files on a real file system, and what other people's tools make of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pyrage  # type: ignore[import-untyped] # it has no annotations
import pytest

from security.digest import digest_of
from security.errors import FileExists, FileMissing, InvalidInput, KeyUnreadable
from security.ids import PartyId, Role
from security.keys.errors import KeyDamaged, NotAKeyFile, WrongPassphrase
from security.keys.keyset import Scheme, Secrets, generate
from security.keys.store import (
    KeyFolder,
    check_passphrase,
    create_folder,
    export_folder,
    import_folder,
    lock,
    open_folder,
    prove,
    read_folder,
    read_passphrase,
    unlock,
)
from tests.support import nodeage
from tests.support.directories import PASSPHRASE, QUICK, clock

STATION = frozenset({Role.STATION})


def create(folder: Path, secrets: Secrets | None = None, passphrase: bytes = PASSPHRASE) -> KeyFolder:
    return create_folder(
        folder,
        secrets or generate([Scheme.ED25519, Scheme.P256, Scheme.ML_DSA_65]),
        party=PartyId("hospital-a"),
        title="Hospital A",
        roles=STATION,
        passphrase=passphrase,
        now=clock(),
        log_n=QUICK,
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_keys_come_back_as_they_were_made(tmp_path: Path) -> None:
    secrets = generate([Scheme.ED25519, Scheme.P256, Scheme.ML_DSA_65])
    made = create(tmp_path / "home" / "keys", secrets)
    assert (made.party, made.title, made.roles, made.key_set) == ("hospital-a", "Hospital A", STATION, secrets.key_set)
    opened = open_folder(tmp_path / "home" / "keys", PASSPHRASE)
    assert opened.key_set == secrets.key_set
    assert opened.identity.secret_text() == secrets.identity.secret_text()
    prove(opened)


def test_private_files_are_private(tmp_path: Path) -> None:
    create(tmp_path / "keys")
    assert mode(tmp_path / "keys") == 0o700
    assert {path.name: mode(path) for path in (tmp_path / "keys").iterdir()} == {
        "keys.age": 0o600,
        "public.json": 0o644,
    }
    together = b"".join(path.read_bytes() for path in (tmp_path / "keys").iterdir())
    assert b"PRIVATE" not in together
    assert b"AGE-SECRET-KEY" not in together


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    before = create(tmp_path / "keys")
    with pytest.raises(FileExists):
        create(tmp_path / "keys")
    assert read_folder(tmp_path / "keys") == before
    assert [path.name for path in tmp_path.iterdir()] == ["keys"], "nothing half-made is left"


def test_an_interrupted_creation_leaves_no_keys(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        create(tmp_path / "keys", passphrase=b"short")
    (tmp_path / "file").touch()
    with pytest.raises(FileMissing):
        create(tmp_path / "file" / "keys")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    create(tmp_path / "keys")
    prove(open_folder(tmp_path / "keys", PASSPHRASE))


def test_a_wrong_passphrase_is_told_from_damage(tmp_path: Path) -> None:
    create(tmp_path / "keys")
    with pytest.raises(WrongPassphrase) as caught:
        open_folder(tmp_path / "keys", PASSPHRASE + b"!")
    assert caught.value.code == "key.wrong-passphrase"
    path = tmp_path / "keys" / "keys.age"
    good = path.read_bytes()
    wrapped = good.index(b"\n", good.index(b"-> scrypt")) + 5  # the wrapped file key: also what a wrong passphrase hits
    for at in (0, wrapped, len(good) // 2, len(good) - 1):
        private(path, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(KeyDamaged) as damaged:
            open_folder(tmp_path / "keys", PASSPHRASE)
        assert damaged.value.code == "key.damaged"
    private(path, good[:-1])
    with pytest.raises(KeyDamaged):
        open_folder(tmp_path / "keys", PASSPHRASE)
    private(path, good)
    open_folder(tmp_path / "keys", PASSPHRASE)


def test_what_is_no_key_file_is_told_so(tmp_path: Path) -> None:
    to_a_key = pyrage.encrypt(b"x", [pyrage.x25519.Identity.generate().to_public()])
    for content in (b"", b"hello", b"age-encryption.org/v1\n", to_a_key):
        with pytest.raises(NotAKeyFile) as caught:
            unlock(private(tmp_path / "key.age", content), PASSPHRASE)
        assert caught.value.code == "key.not-a-key-file"


def test_a_key_file_with_something_else_inside_is_told_so(tmp_path: Path) -> None:
    made = create(tmp_path / "keys")
    path = tmp_path / "keys" / "keys.age"
    whole = unlock(path, PASSPHRASE)
    identity = next(line for line in whole.splitlines(keepends=True) if line.startswith(b"AGE-SECRET-KEY"))
    for content in (
        b"not keys",
        b"# a comment only\n",
        b"AGE-SECRET-KEY-1QQQQ\n",
        identity,  # and nothing to sign with
        whole.replace(identity, b""),  # and nothing to unseal with
        whole + identity,
        whole + b"# more\n",
        whole + "# ü\n".encode(),
        whole.replace(b"# -----BEGIN", b"-----BEGIN"),
        whole.replace(b"# -----END", b"# # -----END"),
    ):
        private(path, lock(content, PASSPHRASE, log_n=QUICK))
        with pytest.raises(NotAKeyFile):
            open_folder(made.folder, PASSPHRASE)


def test_folders_are_not_mixed_up(tmp_path: Path) -> None:
    create(tmp_path / "one")
    create(tmp_path / "two")
    shutil.copy(tmp_path / "two" / "keys.age", tmp_path / "one" / "keys.age")
    with pytest.raises(KeyDamaged):
        open_folder(tmp_path / "one", PASSPHRASE)


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o660, 0o700 | 0o010])
def test_key_files_open_to_others_are_refused(tmp_path: Path, rights: int) -> None:
    create(tmp_path / "keys")
    (tmp_path / "keys" / "keys.age").chmod(rights)
    with pytest.raises(KeyUnreadable) as caught:
        open_folder(tmp_path / "keys", PASSPHRASE)
    assert caught.value.hint is not None
    assert "chmod 600" in caught.value.hint


def test_symlinks_fifos_and_folders_are_refused(tmp_path: Path) -> None:
    create(tmp_path / "keys")
    path = tmp_path / "keys" / "keys.age"
    path.rename(tmp_path / "elsewhere.age")
    path.symlink_to(tmp_path / "elsewhere.age")
    with pytest.raises(KeyUnreadable):
        open_folder(tmp_path / "keys", PASSPHRASE)
    path.unlink()
    os.mkfifo(path, mode=0o600)
    with pytest.raises(KeyUnreadable):
        open_folder(tmp_path / "keys", PASSPHRASE)
    path.unlink()
    path.mkdir()
    with pytest.raises(KeyUnreadable):
        open_folder(tmp_path / "keys", PASSPHRASE)


def test_key_files_of_another_user_are_refused(tmp_path: Path) -> None:
    made = private(tmp_path / "key.age", lock(b"x", PASSPHRASE, log_n=QUICK))
    tmp_path.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(made, 12345, 12345)
        with pytest.raises(KeyUnreadable):
            unlock(made, PASSPHRASE)
    else:
        with pytest.raises((KeyUnreadable, FileMissing)):
            unlock(Path("/etc/shadow"), PASSPHRASE)


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileMissing) as caught:
        open_folder(tmp_path / "nowhere", PASSPHRASE)
    assert caught.value.hint is not None
    assert "pht keys new" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{}", b'{"type": "pht-keys-v1"}', b"[]"])
def test_a_spoiled_public_file_is_told_so(tmp_path: Path, content: bytes) -> None:
    create(tmp_path / "keys")
    (tmp_path / "keys" / "public.json").write_bytes(content)
    with pytest.raises(NotAKeyFile):
        read_folder(tmp_path / "keys")


# --- Passphrases -----------------------------------------------------------------------------------------------------


def test_short_passphrases_protect_nothing_new() -> None:
    assert check_passphrase("ümläüte sind".encode()) == "ümläüte sind".encode()
    for passphrase in (b"", b"elevenchars", "é".encode() * 6, b"\xff" * 20):
        with pytest.raises(InvalidInput):
            check_passphrase(passphrase)
        with pytest.raises(InvalidInput):
            lock(b"x", passphrase, log_n=QUICK)


def test_a_passphrase_file_has_one_line_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    for content in (PASSPHRASE, PASSPHRASE + b"\n", PASSPHRASE + b"\r\n"):
        assert read_passphrase(private(path, content)) == PASSPHRASE
    for content in (b"", b"\n", b"one line\nanother\n"):
        with pytest.raises(KeyUnreadable):
            read_passphrase(private(path, content))
    private(path, PASSPHRASE).chmod(0o644)
    with pytest.raises(KeyUnreadable):
        read_passphrase(path)


# --- Other people's tools --------------------------------------------------------------------------------------------


def test_another_age_reads_our_key_files(tmp_path: Path) -> None:
    secrets = generate([Scheme.ED25519])
    create(tmp_path / "keys", secrets)
    lines = pyrage.passphrase.decrypt((tmp_path / "keys" / "keys.age").read_bytes(), PASSPHRASE.decode()).splitlines()
    assert [line for line in lines if not line.startswith(b"#")] == [secrets.identity.secret_text().encode()]
    (tmp_path / "plain").write_bytes(b"".join(line + b"\n" for line in lines))
    command = f"sed -n 's/^# //p' {tmp_path}/plain | openssl pkey -pubout"  # as docs/design.md says
    done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    assert done.stdout == secrets.signers[0].public.pem


def test_a_key_file_locked_by_another_age_opens(tmp_path: Path) -> None:
    create(tmp_path / "keys")
    path = tmp_path / "keys" / "keys.age"
    plain = pyrage.passphrase.decrypt(path.read_bytes(), PASSPHRASE.decode())
    private(path, nodeage.lock("a new passphrase", plain, log_n=QUICK))
    assert unlock(path, b"a new passphrase") == plain


def openssl_key(path: Path, *kind: str) -> Path:
    subprocess.run(["openssl", "genpkey", "-algorithm", *kind, "-out", str(path)], check=True, capture_output=True)
    path.chmod(0o600)
    return path


def test_keys_of_openssl_and_age_are_imported_and_stock_age_opens_with_the_result(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    made = import_folder(
        tmp_path / "keys",
        signing=[
            openssl_key(tmp_path / "ed.pem", "ed25519"),
            openssl_key(tmp_path / "ec.pem", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ],
        sealing=private(tmp_path / "identity.txt", f"# made by age-keygen\n{identity}\n".encode()),
        party=PartyId("alice"),
        title="Alice",
        roles=frozenset({Role.OWNER}),
        passphrase=PASSPHRASE,
        now=clock(),
        log_n=QUICK,
    )
    assert {key.scheme for key in made.key_set.signing} == {Scheme.ED25519, Scheme.P256}
    assert made.key_set.sealing == str(identity.to_public())
    prove(open_folder(tmp_path / "keys", PASSPHRASE))

    (tmp_path / "sealed").write_bytes(pyrage.encrypt(b"for alice\n", [identity.to_public()]))
    command = f"age -d -o {tmp_path}/opened -i {tmp_path}/keys/keys.age {tmp_path}/sealed"
    subprocess.run(
        ["script", "-qec", command, "/dev/null"], input=PASSPHRASE + b"\n", check=True, capture_output=True, timeout=60
    )
    assert (tmp_path / "opened").read_bytes() == b"for alice\n"


def test_keys_of_other_kinds_are_not_imported(tmp_path: Path) -> None:
    identity = private(tmp_path / "identity.txt", f"{pyrage.x25519.Identity.generate()}\n".encode())
    rsa = openssl_key(tmp_path / "rsa.pem", "RSA")
    empty = private(tmp_path / "empty.pem", b"")
    for signing, sealing in ((rsa, identity), (empty, identity), (identity, identity), (rsa, empty)):
        with pytest.raises(KeyUnreadable):
            import_folder(
                tmp_path / "keys",
                signing=[signing],
                sealing=sealing,
                party=PartyId("alice"),
                title="Alice",
                roles=STATION,
                passphrase=PASSPHRASE,
                now=clock(),
                log_n=QUICK,
            )
    assert not (tmp_path / "keys").exists()


def test_exported_keys_sign_what_openssl_verifies(tmp_path: Path) -> None:
    made = create(tmp_path / "keys")
    files = export_folder(tmp_path / "keys", PASSPHRASE, into=tmp_path / "plain")
    assert len(files) == 4
    assert {mode(path) for path in files} == {0o600}
    (tmp_path / "message").write_bytes(b"a message")
    signers = {signer.public.scheme: signer for signer in open_folder(tmp_path / "keys", PASSPHRASE).signers}
    for scheme, options in ((Scheme.ED25519, ["-rawin"]), (Scheme.P256, ["-rawin", "-digest", "sha256"])):
        (tmp_path / "signature").write_bytes(signers[scheme].sign(b"a message"))
        (tmp_path / "public.pem").write_text(signers[scheme].public.pem)
        files_of = ["-inkey", "public.pem", "-in", "message", "-sigfile", "signature"]
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", *options, *files_of],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
        assert "Verified Successfully" in done.stdout
    again = import_folder(
        tmp_path / "again",
        signing=files[:-1],
        sealing=files[-1],
        party=made.party,
        title=made.title,
        roles=made.roles,
        passphrase=PASSPHRASE,
        now=clock(),
        log_n=QUICK,
    )
    assert again.key_set == made.key_set
    with pytest.raises(FileExists):
        export_folder(tmp_path / "keys", PASSPHRASE, into=tmp_path / "plain")


def test_the_recorded_digest_is_that_of_the_file(tmp_path: Path) -> None:
    made = create(tmp_path / "keys")
    assert made.locked == digest_of((tmp_path / "keys" / "keys.age").read_bytes())
