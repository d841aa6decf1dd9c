"""T22, T9: sealed files that were damaged, cut, shuffled, spliced, or given another reader."""

from __future__ import annotations

import io
from typing import Final

import pytest

from security.age import HybridIdentity, Stanza, read_header
from security.age.header import MAX_HEADER, write_header
from security.errors import HeaderInvalid, HeaderTampered, NotARecipient, PayloadBroken, PhtError
from tests.support.sealing import judge, seal

CHUNK: Final = 65_536
SEALED: Final = CHUNK + 16
ME: Final = HybridIdentity.generate()
EVE: Final = HybridIdentity.generate()
PLAIN: Final = b"".join(bytes([number]) * CHUNK for number in range(4)) + b"the end"
WHOLE: Final = seal(PLAIN, ME.recipient)
OTHER: Final = seal(PLAIN, ME.recipient)
START: Final = len(WHOLE) - len(PLAIN) - 5 * 16  # of the first chunk, after header and nonce
HEADER: Final = WHOLE[: START - 16]
ONE, TWO, THREE, FOUR, LAST = (WHOLE[START + at : START + at + SEALED] for at in range(0, 5 * SEALED, SEALED))
FRONT: Final = WHOLE[:START]


def flipped(at: int) -> bytes:
    spoiled = bytearray(WHOLE)
    spoiled[at] ^= 0x80
    return bytes(spoiled)


def stanza_lines() -> bytes:
    """Return the one stanza of the file."""
    return HEADER[HEADER.index(b"\n") + 1 : HEADER.index(b"\n--- ") + 1]


DAMAGES: Final[dict[str, tuple[bytes, type[PhtError], int]]] = {
    "flip in the first chunk": (flipped(START), PayloadBroken, 0),
    "flip in a middle chunk": (flipped(START + 2 * SEALED + 9), PayloadBroken, 2),
    "flip in a tag": (flipped(START + 2 * SEALED - 1), PayloadBroken, 1),
    "flip in the last byte": (flipped(-1), PayloadBroken, 4),
    "flip in the nonce": (flipped(START - 1), PayloadBroken, 0),
    "cut between chunks": (WHOLE[: START + 3 * SEALED], PayloadBroken, 3),
    "cut in a chunk": (WHOLE[: START + 3 * SEALED + 99], PayloadBroken, 3),
    "cut before the last chunk": (WHOLE[: -len(LAST)], PayloadBroken, 4),
    "cut by a byte": (WHOLE[:-1], PayloadBroken, 4),
    "no chunks": (FRONT, PayloadBroken, 0),
    "no nonce": (HEADER, HeaderInvalid, 0),
    "a byte appended": (WHOLE + b"\0", PayloadBroken, 4),
    "a chunk appended": (WHOLE + ONE, PayloadBroken, 4),
    "the file twice": (WHOLE + WHOLE, PayloadBroken, 4),
    "chunks swapped": (FRONT + ONE + THREE + TWO + FOUR + LAST, PayloadBroken, 1),
    "a chunk dropped": (FRONT + ONE + THREE + FOUR + LAST, PayloadBroken, 1),
    "the first chunk dropped": (FRONT + TWO + THREE + FOUR + LAST, PayloadBroken, 0),
    "a chunk doubled": (FRONT + ONE + ONE + TWO + THREE + FOUR + LAST, PayloadBroken, 1),
    "the last chunk first": (FRONT + LAST + ONE + TWO + THREE + FOUR, PayloadBroken, 0),
    "a chunk of another file": (FRONT + ONE + OTHER[START + SEALED :], PayloadBroken, 1),
    "the payload of another file": (HEADER + OTHER[len(HEADER) :], PayloadBroken, 0),
    "the header of another file": (OTHER[: len(HEADER)] + WHOLE[len(HEADER) :], PayloadBroken, 0),
    "a stanza doubled": (WHOLE.replace(stanza_lines(), stanza_lines() * 2, 1), HeaderTampered, 0),
    "an unknown stanza added": (WHOLE.replace(b"-> ", b"-> eve\n\n-> ", 1), HeaderTampered, 0),
    "the mac of another file": (
        WHOLE.replace(HEADER[-44:], OTHER[len(HEADER) - 44 : len(HEADER)], 1),
        HeaderTampered,
        0,
    ),
    "no stanza": (WHOLE.replace(stanza_lines(), b"", 1), HeaderInvalid, 0),
    "another version": (WHOLE.replace(b"/v1", b"/v2", 1), HeaderInvalid, 0),
    "windows line ends": (WHOLE.replace(b"\n", b"\r\n"), HeaderInvalid, 0),
    "a header without end": (HEADER[:-44] + bytes(MAX_HEADER), HeaderInvalid, 0),
    "a stanza of another kind": (WHOLE.replace(b"mlkem768x25519", b"mlkem768x25518", 1), NotARecipient, 0),
    "nothing": (b"", HeaderInvalid, 0),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_t22_damage_is_refused_and_only_what_is_sound_is_released(damage: str) -> None:
    spoiled, expected, chunks = DAMAGES[damage]
    assert spoiled != WHOLE
    verdict = judge(spoiled, ME)
    assert type(verdict.error) is expected
    assert verdict.released == PLAIN[: chunks * CHUNK]


def test_t22_the_undamaged_file_opens() -> None:
    verdict = judge(WHOLE, ME)
    assert verdict.error is None
    assert verdict.released == PLAIN


def test_t22_damaged_and_wrong_key_are_different_answers() -> None:
    codes = {getattr(judge(file, who).error, "code", None) for file, who in ((WHOLE, EVE), (flipped(-1), ME))}
    assert codes == {"seal.not-a-recipient", "seal.payload"}


def test_t9_a_reader_added_on_the_way_is_refused() -> None:
    """Somebody who knows the file key (a reader) may add readers, but whoever only carries the file may not."""
    (stanza,) = read_header_of(WHOLE)
    guessed = bytes(16)
    forged = write_header([stanza, EVE.recipient.wrap(guessed)], guessed)
    verdict = judge(forged + WHOLE[len(HEADER) :], ME)
    assert isinstance(verdict.error, HeaderTampered)
    assert verdict.released == b""


def read_header_of(sealed: bytes) -> tuple[Stanza, ...]:
    return read_header(io.BytesIO(sealed)).stanzas
