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

VECTORS: Final = Path(__file__).resolve().parents[3].parent / "shared" / "vectors" / "age"
NAMES: Final = sorted(path.name for path in VECTORS.glob("*")) or ["(no vectors)"]
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


def load(name: str) -> Vector:
    head, _, file = (VECTORS / name).read_bytes().partition(b"\n\n")
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


def test_the_vectors_are_there() -> None:
    assert VECTORS.is_dir(), f"the age test kit is missing: it is looked for beside the checkout, at {VECTORS}"
    assert len(NAMES) >= 87


@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["large-reads", "small-reads"])
@pytest.mark.parametrize("name", NAMES)
def test_vector(name: str, piece: int) -> None:
    vector = load(name)
    released, error = hashlib.sha256(), None
    try:
        reader = decrypt(vector.source(), vector.identities)
        while data := reader.read(piece):
            released.update(data)
    except PhtError as refusal:
        error = refusal
    assert type(error) is (vector.expect or type(None))
    if vector.payload is not None:
        assert released.hexdigest() == vector.payload
