"""Every file of the age test kit gives exactly the verdict it states, and releases exactly what it states."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from security.age import PassphraseIdentity, Unwrapper, dearmor, decrypt, parse_identity
from security.errors import ArmorInvalid, HeaderInvalid, HeaderTampered, NotARecipient, PayloadBroken, PhtError
from security.streams import Source
from tests.support import nodeage

VERDICTS: Final[dict[str, type[PhtError] | None]] = {
    "success": None,
    "no match": NotARecipient,
    "HMAC failure": HeaderTampered,
    "header failure": HeaderInvalid,
    "payload failure": PayloadBroken,
    "armor failure": ArmorInvalid,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    expect: type[PhtError] | None
    payload: str | None
    identities: Sequence[Unwrapper]
    armored: bool
    file: bytes

    def source(self) -> Source:
        return dearmor(io.BytesIO(self.file)) if self.armored else io.BytesIO(self.file)


def parse(raw: bytes) -> Vector:
    head, _, file = raw.partition(b"\n\n")
    lines = [line.split(": ", 1) for line in head.decode().splitlines()]
    fields = {key: value for key, value in lines}  # noqa: C416 - pairs of unknown length do not type-check as a dict
    if "compressed" in fields:
        file = zlib.decompress(file)
    return Vector(
        expect=VERDICTS[fields["expect"]],
        payload=fields.get("payload"),
        identities=[
            parse_identity(value) if key == "identity" else PassphraseIdentity(value.encode())
            for key, value in lines
            if key in {"identity", "passphrase"}
        ],
        armored=fields.get("armored") == "yes",
        file=file,
    )


def judged(vector: Vector, piece: int) -> tuple[type[PhtError] | None, str]:
    """Return what became of a file: the error, if any, and the SHA-256 of what was released."""
    released = hashlib.sha256()
    try:
        reader = decrypt(vector.source(), vector.identities)
        while data := reader.read(piece):
            released.update(data)
    except PhtError as refusal:
        return type(refusal), released.hexdigest()
    return None, released.hexdigest()


@pytest.fixture(scope="module")
def kit() -> dict[str, Vector]:
    return {name: parse(raw) for name, raw in nodeage.test_kit().items()}


def test_the_kit_is_whole(kit: dict[str, Vector]) -> None:
    assert len(kit) >= 143
    assert {vector.expect for vector in kit.values()} == set(VERDICTS.values())


@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["large-reads", "small-reads"])
def test_the_whole_test_kit_gives_the_expected_verdicts(kit: dict[str, Vector], piece: int) -> None:
    wrong = {}
    for name, vector in kit.items():
        error, released = judged(vector, piece)
        if error is not vector.expect or vector.payload not in {None, released}:
            wrong[name] = (error, vector.expect)
    assert wrong == {}
