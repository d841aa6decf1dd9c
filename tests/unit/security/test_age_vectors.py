"""Every file of the age test kit gives exactly the verdict it states, and releases exactly what it states."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from security.age import PassphraseIdentity, Unwrapper, dearmor, decrypt, parse_identity
from security.errors import ArmorInvalid, HeaderInvalid, HeaderTampered, NotARecipient, PayloadBroken, PhtError
from security.streams import Source
from tests.support import nodeage

VECTORS: Final = Path(__file__).resolve().parents[3].parent / "shared" / "vectors" / "age"
NAMES: Final = sorted(path.name for path in VECTORS.glob("*"))
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


def test_the_whole_test_kit_gives_the_expected_verdicts() -> None:
    kit = nodeage.test_kit()
    assert len(kit) >= 140
    wrong = {}
    for name, raw in kit.items():
        vector = parse(raw)
        error, released = judged(vector, 1 << 20)
        if error is not vector.expect or vector.payload not in {None, released}:
            wrong[name] = (error, vector.expect)
    assert wrong == {}


@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["large-reads", "small-reads"])
@pytest.mark.parametrize("name", NAMES)
def test_vector(name: str, piece: int) -> None:
    """The same kit, as far as it lies beside this checkout (``../shared/vectors``); absent elsewhere."""
    vector = parse((VECTORS / name).read_bytes())
    error, released = judged(vector, piece)
    assert error is vector.expect
    if vector.payload is not None:
        assert released == vector.payload
