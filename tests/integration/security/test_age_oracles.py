"""Three other implementations of age open what we seal, and we what they seal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyrage  # type: ignore[import-untyped] # it has no annotations
import pytest

from security.age import (
    HybridIdentity,
    PassphraseIdentity,
    PassphraseRecipient,
    X25519Identity,
    parse_identity,
    parse_recipient,
)
from tests.support import nodeage
from tests.support.agetool import age, age_on_terminal
from tests.support.sealing import open_seal, seal

SIZES = [0, 1, 65_535, 65_536, 65_537, 131_072, 3_000_000]


def text(size: int) -> bytes:
    return bytes(index * 7 % 256 for index in range(min(size, 256))) * (size // 256 + 1)


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_opens_ours(size: int) -> None:
    plain = text(size)[:size]
    theirs = pyrage.x25519.Identity.generate()
    sealed = seal(plain, parse_recipient(str(theirs.to_public())), X25519Identity.generate().recipient)
    assert pyrage.decrypt(sealed, [theirs]) == plain


@pytest.mark.parametrize("size", SIZES)
def test_we_open_pyrages(size: int) -> None:
    plain = text(size)[:size]
    ours = X25519Identity.generate()
    recipients = [pyrage.x25519.Identity.generate().to_public(), pyrage.x25519.Recipient.from_str(str(ours.recipient))]
    assert open_seal(pyrage.encrypt(plain, recipients), ours) == plain


def test_pyrage_reads_our_identities() -> None:
    ours = X25519Identity.generate()
    theirs = pyrage.x25519.Identity.from_str(ours.secret_text())
    assert str(theirs.to_public()) == str(ours.recipient)
    assert parse_identity(str(theirs)).secret_text() == ours.secret_text()


def test_passphrases_to_pyrage_and_from_npm_age_encryption() -> None:
    plain, passphrase = text(100_000), "correct horse, häst"
    sealed = seal(plain, PassphraseRecipient(passphrase.encode(), log_n=12))
    assert pyrage.passphrase.decrypt(sealed, passphrase) == plain
    locked = nodeage.lock(passphrase, plain, log_n=12)
    assert open_seal(locked, PassphraseIdentity(passphrase.encode())) == plain


@pytest.mark.parametrize("size", SIZES)
def test_the_age_program_both_ways(size: int, tmp_path: Path) -> None:
    plain, ours = text(size)[:size], X25519Identity.generate()
    key = tmp_path / "key"
    key.write_text(ours.secret_text() + "\n")
    assert age("--decrypt", "--identity", key, data=seal(plain, ours.recipient)) == plain
    assert open_seal(age("--recipient", str(ours.recipient), data=plain), ours) == plain


@pytest.mark.parametrize("log_n", [12, 1], ids=["a key file", "a common letter"])
def test_the_age_program_asks_for_our_passphrase(log_n: int, tmp_path: Path) -> None:
    plain = text(1000)
    (tmp_path / "sealed").write_bytes(seal(plain, PassphraseRecipient(b"open sesame", log_n=log_n)))
    age_on_terminal("--decrypt", "-o", tmp_path / "opened", tmp_path / "sealed", typed="open sesame\n")
    assert (tmp_path / "opened").read_bytes() == plain


def test_the_age_program_uses_our_passphrase_protected_key_file(tmp_path: Path) -> None:
    plain, ours = text(1000), X25519Identity.generate()
    key_text = ours.secret_text().encode() + b"\n"
    (tmp_path / "key").write_bytes(seal(key_text, PassphraseRecipient(b"open sesame", log_n=12)))
    (tmp_path / "sealed").write_bytes(seal(plain, ours.recipient))
    arguments: list[str | Path] = ["--decrypt", "-i", tmp_path / "key", "-o", tmp_path / "opened", tmp_path / "sealed"]
    age_on_terminal(*arguments, typed="open sesame\n")
    assert (tmp_path / "opened").read_bytes() == plain


def test_we_open_what_the_age_program_sealed_with_a_passphrase(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"a key")
    arguments: list[str | Path] = ["--passphrase", "-o", tmp_path / "sealed", tmp_path / "plain"]
    age_on_terminal(*arguments, typed="open sesame\nopen sesame\n")
    assert open_seal((tmp_path / "sealed").read_bytes(), PassphraseIdentity(b"open sesame")) == b"a key"


@pytest.mark.parametrize("size", SIZES)
def test_npm_age_encryption_opens_our_hybrid_files(size: int) -> None:
    plain, theirs = text(size)[:size], nodeage.generate()
    recipient = parse_recipient(nodeage.recipient_of(theirs))
    assert nodeage.decrypt(theirs, seal(plain, recipient, HybridIdentity.generate().recipient)) == plain


@pytest.mark.parametrize("size", SIZES)
def test_we_open_the_hybrid_files_of_npm_age_encryption(size: int) -> None:
    plain, ours = text(size)[:size], HybridIdentity.generate()
    assert open_seal(nodeage.encrypt(str(ours.recipient), plain), ours) == plain


@pytest.mark.parametrize("make", [HybridIdentity.generate, X25519Identity.generate])
def test_npm_age_encryption_reads_our_identities(make: Callable[[], HybridIdentity | X25519Identity]) -> None:
    ours = make()
    assert nodeage.recipient_of(ours.secret_text()) == str(ours.recipient)
