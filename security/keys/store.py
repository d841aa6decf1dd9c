"""Where do a party's private keys lie, and who can open them?

A key folder holds two files, made once and together::

    public.json     party, title, roles and the public keys: not secret
    keys.age        the private keys, in an age passphrase file: stock ``age -d -i keys.age`` accepts it

Inside is an age identity file. Its comments, which age passes over, hold the signing keys (PKCS#8, PEM, one after the
other): ``age -d keys.age | sed -n 's/^# //p' | openssl pkey``. One file, so that a passphrase is stretched once.

`cryptography` could encrypt PKCS#8 itself, but with 2 048 rounds of PBKDF2, which cannot be tuned; age uses scrypt.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from security.age import (
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    decrypt,
    encrypt,
    parse_identity,
    parse_recipient,
    read_header,
)
from security.digest import Digest, digest_of
from security.encoding import print_time
from security.errors import (
    FileMissing,
    HeaderInvalid,
    InvalidInput,
    KeyUnreadable,
    Malformed,
    NotARecipient,
    PhtError,
    SealBroken,
)
from security.files import expect_new, making_folder, read_file, read_private, write_file
from security.forms.document import Document
from security.forms.record import Inline, Record, Spelled
from security.ids import PartyId, Role
from security.keys.errors import KeyDamaged, NotAKeyFile, WrongPassphrase
from security.keys.form import TITLE, Roles, Title
from security.keys.keyset import MAX_SIGNING_KEYS, KeySet, Secrets, SoftwareSigner

PUBLIC: Final = "public.json"
PRIVATE: Final = "keys.age"
LEAST_PASSPHRASE: Final = 12
_KEY_FILE_LIMIT: Final = 64 << 10
_COMMENT: Final = "# "
_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n]+-----END [A-Z ]+-----\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFolder:
    """The public side of a key folder. ``locked`` is the digest of the private file as it was written."""

    folder: Path
    party: PartyId
    title: str
    roles: frozenset[Role]
    key_set: KeySet
    locked: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Public:
    """What the public file of a key folder says."""

    party: PartyId
    title: Title
    roles: Roles
    key_set: Annotated[KeySet, Inline()]
    locked: Annotated[Digest, Spelled(PRIVATE)]


_PUBLIC: Final = Document(
    record=Record(_Public, type="pht-keys-v1"),
    name="keys",
    title="The public file of a key folder",
    where=PUBLIC,
    limit=_KEY_FILE_LIMIT,
)


def check_passphrase(passphrase: bytes) -> bytes:
    """Return `passphrase` if it may protect a new key.

    Raises:
        InvalidInput: shorter than twelve characters, or not UTF-8 text.
    """
    try:
        long_enough = len(passphrase.decode("utf-8")) >= LEAST_PASSPHRASE
    except UnicodeDecodeError:
        msg = "the passphrase is not UTF-8 text"
        raise InvalidInput(msg) from None  # the cause holds the passphrase
    if not long_enough:
        msg = "the passphrase is too short"
        raise InvalidInput(msg, least=LEAST_PASSPHRASE, hint="take five random words")
    return passphrase


def read_passphrase(path: Path) -> bytes:
    """Read a passphrase from the first line of a private file.

    Raises:
        KeyUnreadable: others can read the file, it belongs to another user, or it does not hold exactly one line.
    """
    line, *rest = read_private(path, limit=4096).split(b"\n")
    if not line or any(rest):
        msg = "passphrase file does not hold exactly one line"
        raise KeyUnreadable(msg, path=path, hint="a passphrase file holds one line, the passphrase, and nothing else")
    return line.removesuffix(b"\r")


def lock(plaintext: bytes, passphrase: bytes, *, log_n: int = 18) -> bytes:
    """Wrap key material in an age passphrase file; `log_n` is scrypt's work factor, 18 takes about a second.

    Raises:
        InvalidInput: the passphrase is too short.
    """
    sink = io.BytesIO()
    with encrypt(sink, [PassphraseRecipient(check_passphrase(passphrase), log_n=log_n)]) as writer:
        writer.write(plaintext)
    return sink.getvalue()


def unlock(path: Path, passphrase: bytes, *, written: Digest | None = None) -> bytes:
    """Open a key file. `written` is its digest when it was made: it distinguishes damage from a wrong passphrase.

    Raises:
        FileMissing: there is no such file.
        KeyUnreadable: others can read it, it belongs to another user, or it is not a regular file.
        NotAKeyFile: it is not an age passphrase file.
        KeyDamaged: it is one, but was changed.
        WrongPassphrase: it is whole, and this is not its passphrase.
    """
    raw = read_private(path, limit=_KEY_FILE_LIMIT)
    changed = written is not None and digest_of(raw) != written
    try:
        if [stanza.kind for stanza in read_header(io.BytesIO(raw)).stanzas] != ["scrypt"]:
            raise _not_a_key_file(path)
        with decrypt(io.BytesIO(raw), [PassphraseIdentity(passphrase)]) as reader:
            return reader.read()
    except NotARecipient as error:
        if changed:
            raise _damaged(path) from error
        msg = "wrong passphrase"
        raise WrongPassphrase(msg, path=path) from error
    except HeaderInvalid as error:
        raise (_damaged(path) if changed else _not_a_key_file(path)) from error
    except SealBroken as error:
        raise _damaged(path) from error


def create_folder(
    folder: Path,
    secrets: Secrets,
    *,
    party: PartyId,
    title: str,
    roles: frozenset[Role],
    passphrase: bytes,
    now: datetime,
    log_n: int = 18,
) -> KeyFolder:
    """Write a new key folder, whole or not at all.

    Raises:
        FileExists: `folder` is not empty. Keys are never overwritten.
        InvalidInput: the passphrase is too short, the title not one line, or a key is not in software.
    """
    if not roles or not TITLE.accepts(title):
        msg = "a party has at least one role, and a title of one line and 1 to 200 characters"
        raise InvalidInput(msg)
    expect_new(folder)
    locked = lock(_print_private(secrets, now), passphrase, log_n=log_n)
    public = _Public(
        party=party, title=title, roles=frozenset(roles), key_set=secrets.key_set, locked=digest_of(locked)
    )
    with making_folder(folder) as new:
        write_file(new / PRIVATE, locked, replace=False)
        write_file(new / PUBLIC, _PUBLIC.pretty(public), mode=0o644, replace=False)
    return read_folder(folder)


def read_folder(folder: Path) -> KeyFolder:
    """Read the public side of a key folder; needs no passphrase.

    Raises:
        FileMissing: there is no key folder.
        NotAKeyFile: its ``public.json`` is malformed.
    """
    path = folder / PUBLIC
    if not path.exists():
        msg = "not a key folder"
        raise FileMissing(msg, path=folder, hint=f"make one: pht keys new {folder} --party NAME --role ROLE")
    try:
        public = _PUBLIC.parse(read_file(path, limit=_KEY_FILE_LIMIT))
    except Malformed as error:
        msg = "not the public file of a key folder"
        raise NotAKeyFile(msg, path=path, reason=str(error)) from error
    return KeyFolder(
        folder=folder,
        party=public.party,
        title=public.title,
        roles=public.roles,
        key_set=public.key_set,
        locked=public.locked,
    )


def open_folder(folder: Path, passphrase: bytes) -> Secrets:
    """Open a party's private keys: the passphrase is stretched once.

    Raises:
        WrongPassphrase, KeyDamaged, NotAKeyFile, KeyUnreadable, FileMissing: see `unlock`.
    """
    public, path = read_folder(folder), folder / PRIVATE
    secrets = parse_private(unlock(path, passphrase, written=public.locked), path)
    if secrets.key_set != public.key_set:
        msg = "the private keys do not match public.json"
        raise KeyDamaged(msg, path=folder, hint="restore the whole folder from one backup")
    return secrets


def prove(secrets: Secrets) -> None:
    """Use every key once: sign and verify, seal and open.

    Raises:
        SignatureInvalid, SealBroken, NotARecipient: a private key does not match its public one.
    """
    probe = b"a key folder is being checked"
    for signer in secrets.signers:
        signer.public.verify(probe, signer.sign(probe))
    sealed = io.BytesIO()
    with encrypt(sealed, [parse_recipient(secrets.key_set.sealing)]) as writer:
        writer.write(probe)
    sealed.seek(0)
    with decrypt(sealed, [secrets.identity]) as reader:
        reader.read()


def parse_signers(data: bytes, path: Path) -> tuple[SoftwareSigner, ...]:
    """Parse PKCS#8 private keys in PEM, one after the other. `path` is for messages.

    Raises:
        NotAKeyFile: there are none, more than four, or other data between them.
        KeyUnreadable: a key of a kind that this software does not support.
    """
    blocks = _PEM.findall(data)
    if b"".join(blocks) != data or not 1 <= len(blocks) <= MAX_SIGNING_KEYS:
        msg = "does not hold one to four PEM keys and nothing else"
        raise NotAKeyFile(msg, path=path)
    return tuple(SoftwareSigner.of_pkcs8(block) for block in blocks)


def parse_private(data: bytes, path: Path) -> Secrets:
    """Parse what is inside a private file: an age identity, and signing keys in the comments. `path` is for messages.

    Raises:
        NotAKeyFile: it does not hold exactly one identity, or not one to four PEM keys.
        KeyUnreadable: a key of a kind that this software does not support.
    """
    identity = parse_identity_file(data, path)
    comments = [line.removeprefix(_COMMENT) for line in data.decode("ascii").splitlines() if line.startswith(_COMMENT)]
    begun = next((at for at, line in enumerate(comments) if line.startswith("-----BEGIN ")), len(comments))
    signing = "".join(f"{line}\n" for line in comments[begun:]).encode()
    return Secrets(signers=parse_signers(signing, path), identity=identity)


def parse_identity_file(data: bytes, path: Path) -> Identity:
    """Parse an age identity file (age's own format: comments, and one identity on a line). `path` is for messages.

    Raises:
        NotAKeyFile: it does not hold exactly one identity.
    """
    try:
        lines = [line for line in data.decode("ascii").splitlines() if line and not line.startswith("#")]
        (text,) = lines
        return parse_identity(text)
    except (ValueError, PhtError):
        msg = "does not hold exactly one age identity"
        raise NotAKeyFile(msg, path=path) from None  # the cause may hold the file


def import_folder(
    folder: Path,
    *,
    signing: Sequence[Path],
    sealing: Path,
    party: PartyId,
    title: str,
    roles: frozenset[Role],
    passphrase: bytes,
    now: datetime,
    log_n: int = 18,
) -> KeyFolder:
    """Make a key folder from unencrypted PKCS#8 files and an age identity file, all private to this user.

    Raises:
        NotAKeyFile, KeyUnreadable, FileMissing: a file is not such a key.
    """
    signers = [signer for path in signing for signer in parse_signers(_pem_file(path), path)]
    identity = parse_identity_file(read_private(sealing), sealing)
    secrets = Secrets(signers=tuple(signers), identity=identity)
    return create_folder(
        folder, secrets, party=party, title=title, roles=roles, passphrase=passphrase, now=now, log_n=log_n
    )


def export_folder(folder: Path, passphrase: bytes, *, into: Path) -> tuple[Path, ...]:
    """Write the private keys in the clear, for another tool or a smart card: one PKCS#8 file each, and the identity.

    Raises:
        FileExists: `into` exists already.
    """
    expect_new(into)
    secrets = open_folder(folder, passphrase)
    names = []
    with making_folder(into) as new:
        for signer in secrets.signers:
            one = _exportable(signer)
            names.append(f"{one.public.scheme.value}-{one.public.key_id[:8]}.pem")
            write_file(new / names[-1], one.to_pkcs8())
        names.append("identity.txt")
        write_file(new / names[-1], f"{secrets.identity.secret_text()}\n".encode())
    return tuple(into / name for name in names)


def _print_private(secrets: Secrets, now: datetime) -> bytes:
    signing = b"".join(_exportable(signer).to_pkcs8() for signer in secrets.signers).decode("ascii")
    lines = [
        f"{_COMMENT}created: {print_time(now)}",
        f"{_COMMENT}public key: {secrets.key_set.sealing}",
        secrets.identity.secret_text(),
        *(f"{_COMMENT}{line}" for line in signing.splitlines()),
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _pem_file(path: Path) -> bytes:
    data = read_private(path, limit=_KEY_FILE_LIMIT).replace(b"\r\n", b"\n")
    return data if data.endswith(b"\n") else data + b"\n"


def _exportable(signer: object) -> SoftwareSigner:
    if not isinstance(signer, SoftwareSigner):
        msg = "the key is not a software key"
        raise InvalidInput(msg)
    return signer


def _not_a_key_file(path: Path) -> PhtError:
    msg = "not an age passphrase file"
    return NotAKeyFile(msg, path=path)


def _damaged(path: Path) -> PhtError:
    msg = "key file has changed since it was written"
    return KeyDamaged(msg, path=path, hint="restore it from your backup")
