"""How are code and state sealed, and was what was opened meant for this train, this stop and these parties?

A sealed file is an age v1 file around a normalised, padded archive (`security.archive`) whose first member, META.json,
says what it was made for. It is checked before anything else in the archive is used: a seal that opens but was made
for another train, stop, sender or recipient is refused (attacks T7, T8).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from security.age import AgeReader, Unwrapper, decrypt, encrypt, parse_recipient
from security.archive import MAX_MEMBERS, META_LIMIT, Budget, Member, Unpacked, content_of, pack, unpack
from security.digest import BUFFER, CheckedReader, Digest, checked, hashing
from security.encoding import Fields, parse_json
from security.errors import CodeAltered, DigestMismatch, NotARecipient, SealBroken, SealForeign, SealRecipients
from security.forms.document import Document
from security.forms.form import Number, Text
from security.forms.many import Many
from security.forms.record import Inline, Record
from security.ids import PartyId, TrainId
from security.streams import Sink
from security.train.journey import StateRef
from security.train.manifest import NONCES, CodeRef, TrainManifest
from security.train.route import LONGEST, MAX_STOPS
from security.ustar import BLOCK

META_VERSION: Final = 1
CODE_BUDGET: Final = Budget(total_bytes=4 << 30, member_bytes=2 << 30, members=20_000)
"""For code: vendored wheels are allowed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBinding:
    """What a sealed code belongs to.

    The manifest names the digest of the sealed code, so the code cannot name the manifest; it names the owner and the
    manifest's nonce. Every station refuses another owner's manifest that refers to this blob.
    """

    owner: PartyId
    nonce: Annotated[str, Text(most=32, pattern=NONCES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBinding:
    """What a sealed state belongs to: sent from `stop`, by `sender`, to `recipients` and nobody else.

    ``previous`` is what the sender's journey entry names: the digests of the signed bytes of the entries before it (of
    the manifest, where a train begins).
    """

    train: TrainId
    stop: Annotated[int, Number(most=LONGEST - 1)]
    sender: PartyId
    recipients: Annotated[tuple[PartyId, ...], Many(least=1, most=MAX_STOPS)]
    previous: Annotated[tuple[Digest, ...], Many(least=1, most=MAX_STOPS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedCode:
    """A sealed code, and the digest of its content, which appears only inside the seal."""

    ref: CodeRef
    content: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedState:
    """A sealed state, and the digest of its content, which is told to nobody: a small count is guessed from it."""

    ref: StateRef
    content: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeMeta:
    """What META.json says of a sealed code: what it belongs to, and the digest of its content."""

    binding: Annotated[CodeBinding, Inline()]
    content: Digest


CODE_META: Final = Document(
    record=Record(CodeMeta, version=META_VERSION, kind="code"),
    name="meta-code",
    title="META.json, the first member of a sealed code",
    where="META.json",
    limit=META_LIMIT,
)
STATE_META: Final = Document(
    record=Record(StateBinding, version=META_VERSION, kind="state"),
    name="meta-state",
    title="META.json, the first member of a sealed state",
    where="META.json",
    limit=META_LIMIT,
)


def code_recipients(manifest_stations: Sequence[str], owner: str) -> tuple[str, ...]:
    """Return who reads the code: each station of the route once, and the owner."""
    return tuple(dict.fromkeys((*manifest_stations, owner)))


def seal_code(sink: Sink, members: Sequence[Member], *, binding: CodeBinding, recipients: Sequence[str]) -> SealedCode:
    """Seal the code for its readers (age recipients), reading each member twice."""
    content = content_of(members)
    meta = CODE_META.compact(CodeMeta(binding=binding, content=content))
    digest, size, _ = _seal(sink, members, meta=meta, recipients=recipients)
    return SealedCode(ref=CodeRef(digest=digest, size=size), content=content)


def seal_state(
    sink: BinaryIO, members: Sequence[Member], *, binding: StateBinding, recipients: Sequence[str]
) -> SealedState:
    """Seal a state for the parties that receive it next (age recipients)."""
    digest, size, content = _seal(sink, members, meta=STATE_META.compact(binding), recipients=recipients)
    return SealedState(ref=StateRef(digest=digest, size=size), content=content)


def open_code(
    source: BinaryIO,
    *,
    manifest: TrainManifest,
    identities: Sequence[Unwrapper],
    into: Path,
    budget: Budget,
    stop: int = 0,
) -> Digest:
    """Open the sealed code into an empty folder; return the digest of its content, for admission policies and people.

    At which `stop` we are says which of its recipients we probably are: they are in the order of the route.

    Raises:
        DigestMismatch: the blob is not the one the manifest names.
        SealRecipients: it has more or fewer recipients than there are parties on the route and its owner (attack T9).
        SealForeign: it was sealed for another manifest.
        CodeAltered: the content is not what its owner sealed.
        SealBroken, NotARecipient, ArchiveRejected, BudgetExceeded
    """
    stated: list[Digest] = []

    def check(meta: bytes) -> None:
        _need_kind(meta, "code")
        claimed = CODE_META.parse(meta)
        if claimed.binding != CodeBinding(owner=manifest.owner.party, nonce=manifest.nonce):
            msg = "code was sealed for another train"
            raise SealForeign(msg, sealed_by=claimed.binding.owner)
        stated.append(claimed.content)

    readers = len({*manifest.route.parties, manifest.owner.party})
    reader = checked(source, manifest.code.digest, manifest.code.size)
    hasher = hashlib.sha256()
    _open(
        reader,
        identities=identities,
        readers=readers,
        into=into,
        budget=budget,
        check=check,
        ours=stop,
        witness=hasher.update,
    )
    content = Digest.of_hex(hasher.hexdigest())
    if content != stated[0]:
        msg = "code is not what its owner sealed"
        raise CodeAltered(msg)
    return content


def open_state(
    source: BinaryIO,
    ref: StateRef,
    *,
    binding: StateBinding,
    identities: Sequence[Unwrapper],
    into: Path,
    budget: Budget,
) -> Unpacked:
    """Open a sealed state into an empty folder.

    Raises:
        DigestMismatch: the blob is not the one the last journey entry names.
        SealRecipients: others can read it, too (attack T9).
        SealForeign: it was made for another train, stop, sender or recipient (attacks T7, T8).
        SealBroken, NotARecipient, ArchiveRejected, BudgetExceeded
    """

    def check(meta: bytes) -> None:
        fields = _need_kind(meta, "state")
        for name, expected in STATE_META.record.write(binding).items():
            found = fields.take(name)
            if type(found) is not type(expected) or found != expected:  # `true` is 1 to Python
                msg = "state was sealed for another train, stop or party"
                raise SealForeign(msg, differs_in=name)
        fields.end()

    reader = checked(source, ref.digest, ref.size)
    return _open(reader, identities=identities, readers=len(binding.recipients), into=into, budget=budget, check=check)


def seal_note(note: bytes, recipient: str) -> bytes:
    """Seal a few bytes for one party, to keep them from everyone else. Bound to nothing: never for sending."""
    sealed = io.BytesIO()
    with encrypt(sealed, [parse_recipient(recipient)]) as plain:
        plain.write(note)
    return sealed.getvalue()


def open_note(source: BinaryIO, identities: Sequence[Unwrapper]) -> bytes:
    """Open what `seal_note` sealed.

    Raises:
        NotARecipient: sealed for other keys.
        SealBroken: it was changed since.
    """
    with decrypt(source, identities) as plain:
        return plain.read()


def most_sealed(content: int) -> int:
    """Return the most bytes a sealed state can have whose files hold `content` bytes together."""
    packed = content + META_LIMIT + (MAX_MEMBERS + 4) * 2 * BLOCK
    packed += packed // 8  # the padding, which is 12 % at most
    return packed + packed // 2048 + (1 << 16)  # a tag of 16 bytes for each 64 KiB, and the header


def _seal(
    sink: Sink, members: Sequence[Member], *, meta: bytes, recipients: Sequence[str]
) -> tuple[Digest, int, Digest]:
    hashed = hashing(sink)
    with encrypt(hashed, [parse_recipient(one) for one in recipients]) as sealed:
        packed = pack(sealed, meta, members)
    return hashed.digest, hashed.size, packed.content


def _open(
    source: CheckedReader,
    *,
    identities: Sequence[Unwrapper],
    readers: int,
    into: Path,
    budget: Budget,
    check: Callable[[bytes], None],
    ours: int = 0,
    witness: Callable[[memoryview], object] | None = None,
) -> Unpacked:
    try:
        with decrypt(source, identities, ours=ours) as plain:
            _need_recipients(plain, readers)
            unpacked = unpack(plain, into=into, budget=budget, check_meta=check, witness=witness)
    except (NotARecipient, SealBroken):
        while source.read(BUFFER):  # a file damaged on its way is "damaged", not "for another recipient"
            pass
        raise
    if not source.complete:
        msg = "data follows the end of the sealed file"
        raise DigestMismatch(msg)
    return unpacked


def _need_recipients(plain: AgeReader, readers: int) -> None:
    if len(plain.stanzas) != readers:
        msg = "the recipients of the sealed file are not those of the route"
        raise SealRecipients(msg, expected=readers, found=len(plain.stanzas))


def _need_kind(raw: bytes, kind: str) -> Fields:
    """Refuse what was sealed as something else before looking at its other fields."""
    document = parse_json(raw, limit=META_LIMIT)
    fields = Fields(document, "META.json")
    if fields.number("version", least=1) != META_VERSION or fields.text("kind", most=20) != kind:
        msg = "sealed file is of another kind or version"
        raise SealForeign(msg, expected=kind)
    return Fields(document, "META.json")
