"""A source that copies what a train asks for into its workroom, as one for a bucket or a database does.

It is a port's backing like any other and passes the same contract suite.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from security.train.manifest import DataNeed
from station.check import CheckResult
from station.data.port import Asked, Delivered, Reader
from station.errors import DataSourceUnavailable
from station.visit.parts import FurnishedData


class CopyingSource:
    """The data set `name` in a store: a folder here, which can be `away`, and fail `after` so many files of a copy."""

    def __init__(self, name: str, store: Path) -> None:
        self._name, self._store = name, store
        self.away = False
        self.after: int | None = None

    @property
    def kind(self) -> str:
        return "copying"

    def check(self, reader: Reader | None) -> tuple[CheckResult, ...]:
        del reader  # a copy is given to whoever it is for
        hint = "is the store up?" if self._gone else None
        return (CheckResult(name=f"data {self._name}", ok=not self._gone, detail="a store", hint=hint),)

    def missing(self, need: DataNeed) -> tuple[str, ...]:
        self._reach()
        return tuple(pattern for pattern in need.files or () if not self._matching(pattern))

    def furnish(self, asked: Asked, into: Path, scratch: Path) -> Delivered:
        del scratch
        self._reach()
        files = sorted({path for pattern in asked.need.files or () for path in self._matching(pattern)})
        for count, path in enumerate(files):
            if count == self.after:
                self._fail()
            place = into / path.relative_to(self._store)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        return Delivered(folder=into, record=FurnishedData(name=self._name, source=self.kind))

    @property
    def _gone(self) -> bool:
        return self.away or not self._store.is_dir()

    def _reach(self) -> None:
        if self._gone:
            self._fail()

    def _fail(self) -> None:
        msg = "the store of a data set cannot be reached"
        raise DataSourceUnavailable(msg, data=self._name)

    def _matching(self, pattern: str) -> list[Path]:
        paths = [path for path in self._store.rglob("*") if path.is_file()]
        return [path for path in paths if PurePosixPath("/", path.relative_to(self._store)).match("/" + pattern)]
