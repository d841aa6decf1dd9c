"""How is a table read that lies in files of a folder of this machine: CSV, TSV, Parquet?

The engine reads them where they are. All files that match make one table, and have the same columns.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from security.encoding import print_time
from security.files import told
from station.check import CheckResult
from station.data.tables.engine import opened
from station.data.tables.kind import Kind, spelling_of
from station.data.tables.scan import columns_of, header_of, kinds_in
from station.data.tables.source import PLAIN, Form, Found, InFolder, Spelling, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

ANY_CSV: Final = "*.csv"
_PARQUET: Final = b"PAR1"
_PATTERN: Final = frozenset("*?[")
FORMS: Final = {".csv": Form.CSV, ".tsv": Form.CSV, ".parquet": Form.PARQUET}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource(InFolder):
    """The table of the data set `name`, in the files of `folder` that match `pattern`."""

    pattern: str
    spelling: Spelling = PLAIN

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "files"

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            found = self._staged({})
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        return (CheckResult(name=what, ok=True, detail=f"{self.folder}: {found.version}"),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`."""
        staged = self._staged({})
        with opened([self.folder], scratch=None, about=self.name) as engine:
            return tuple(Found(name=name, type=kind) for name, kind in kinds_in(engine, staged).items())

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        del into  # nothing is copied
        return self._staged({one.column.name: one.origin for one in wanted.columns})

    def _staged(self, names: dict[str, str]) -> Staged:
        paths = self._paths()
        forms = {FORMS.get(path.suffix.lower()) for path in paths}
        form = forms.pop()
        if forms or form is None:
            msg = "the files of a table must all be CSV, TSV or Parquet"
            raise DataUnfit(msg, data=self.name, pattern=self.pattern)
        spelling = self.spelling
        if form is Form.CSV:
            self._need_one_header(paths)
        else:
            self._need_one_footer(paths)
        seen = facts(paths)
        return Staged(
            form=form,
            paths=paths,
            names=names,
            version=version_of(seen),
            spelling=spelling,
            unchanged=lambda: facts(paths) == seen,
        )

    def _paths(self) -> tuple[Path, ...]:
        if not self.folder.is_dir():
            msg = "the folder of a data set is not there"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder)
        with told(self.folder):
            found = tuple(path for path in sorted(self.folder.glob(self.pattern)) if path.is_file())
        if not found:
            msg = "no file of a data set is there"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder, pattern=self.pattern)
        for path in found:
            if _PATTERN & set(str(path)):  # the engine would take it for one, and read a1.csv instead of a[1].csv
                msg = "the path of a file of a table has '*', '?' or '[' in it"
                raise DataUnfit(msg, data=self.name, file=path, hint="rename the file, or the folder")
        return found

    def _need_one_header(self, paths: Sequence[Path]) -> None:
        first = header_of(paths[0], self.spelling)
        for path in paths[1:]:
            if header_of(path, self.spelling) != first:
                raise self._different(path, paths[0])

    def _need_one_footer(self, paths: Sequence[Path]) -> None:
        for path in paths:
            with told(path), path.open("rb") as file:
                begin = file.read(len(_PARQUET))
                file.seek(-min(len(_PARQUET), path.stat().st_size), os.SEEK_END)
                if (begin, file.read()) != (_PARQUET, _PARQUET):
                    msg = "a file of a table is not Parquet, or not all of it is there"
                    raise DataUnfit(msg, data=self.name, file=path)
        if len(paths) == 1:
            return
        with opened([path.parent for path in paths], scratch=None, about=self.name) as engine:
            first = columns_of(engine, paths[0])
            for path in paths[1:]:
                if columns_of(engine, path) != first:
                    raise self._different(path, paths[0])

    def _different(self, path: Path, first: Path) -> DataUnfit:
        msg = "the files of a table do not have the same columns"
        return DataUnfit(msg, data=self.name, file=path, first=first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What tells one state of a file from another."""

    inode: int
    size: int
    changed: int  # nanoseconds


def facts(paths: Sequence[Path]) -> tuple[Facts, ...]:
    """Return what the file system says of files now."""
    with told(paths[0]):
        seen = [path.stat() for path in paths]
    return tuple(Facts(inode=one.st_ino, size=one.st_size, changed=one.st_mtime_ns) for one in seen)


def version_of(seen: Sequence[Facts]) -> str:
    """Return what people call this state of some files."""
    newest = datetime.fromtimestamp(max(one.changed for one in seen) // 10**9, tz=UTC)
    return f"{len(seen)} {'file' if len(seen) == 1 else 'files'}, newest of {print_time(newest)}"


def _source(name: str, home: Path, value: Mapping[str, Any]) -> FilesSource:
    pattern = value.get("files", ANY_CSV)
    return FilesSource(name=name, folder=home / value["folder"], pattern=pattern, spelling=spelling_of(value, pattern))


KIND: Final = Kind(name="files", read=_source, needs=("folder",), may=("files", "spelling"))
