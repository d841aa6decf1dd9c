"""What does a case have at hand: a folder, an engine, a registry, and whether it is only being tried?"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from bench.figures import Figure
from tests.support.engine import Engine, given, private_engine
from tests.support.registries import RealRegistries


@dataclass(slots=False)
class Bench:
    """Everything is made when first asked for, and gone with the case. `quick` is for trying a case: small sizes, few rounds."""

    folder: Path
    quick: bool
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def engine(self) -> Engine:
        """A container engine: the one the environment names, or a private one."""
        return given() or self._undo.enter_context(private_engine())

    @cached_property
    def registries(self) -> RealRegistries:
        """Real registry processes."""
        return self._undo.enter_context(contextlib.closing(RealRegistries(self.folder / "registries")))


Measure: TypeAlias = Callable[[Bench], Iterable[Figure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured together. `id` is the one in the documents."""

    id: str
    title: str
    measure: Measure


@contextlib.contextmanager
def prepared(*, quick: bool) -> Iterator[Bench]:
    """Prepare what a case needs, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="pht-bench.") as folder, contextlib.ExitStack() as undo:
        bench = Bench(Path(folder), quick, undo)
        (bench.folder / "registries").mkdir()
        yield bench
