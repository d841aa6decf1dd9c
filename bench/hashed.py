"""How many bytes go through SHA-256 while a state passes a stop? Counted in a process of its own.

Nothing of the project is imported before the counter is in place.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

_real: Final = hashlib.sha256
_seen: Final = [0]


class _Counting:
    """A hash that counts what it is given."""

    digest_size, block_size, name = 32, 64, "sha256"

    def __init__(self, data: Buffer = b"", *, inner: hashlib._Hash | None = None, **_: object) -> None:
        self._inner = _real() if inner is None else inner
        if inner is None:
            self.update(data)

    def update(self, data: Buffer, /) -> None:
        """Count, and go on."""
        _seen[0] += memoryview(data).nbytes
        self._inner.update(data)

    def copy(self) -> _Counting:
        """Return one that goes on from here."""
        return _Counting(inner=self._inner.copy())

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def passes(size: str) -> float:
    """Return how often a state of `size` bytes is hashed at its second stop."""
    setattr(hashlib, "sha256", _Counting)  # noqa: B010 - what it is declared as is a function
    from bench.large import line, write_random  # noqa: PLC0415 - see above
    from tests.support.registries import RealRegistries  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "registries").mkdir()
        registries = RealRegistries(Path(name) / "registries")
        made = line(
            Path(name) / "line",
            registries,
            stations=2,
            make=lambda state: write_random(state / "state.bin", int(size)),
        )
        first, second = made.stations
        made.stop(first)
        before = _seen[0]
        made.stop(second)
        registries.close()
        made.here.close()
    return (_seen[0] - before) / int(size)
