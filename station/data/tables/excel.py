"""How is a table read that lies in workbooks of Excel in a folder of this machine?

One sheet of each workbook, the same in all, with the names of its columns in the first row. It is written down as CSV, and nothing is
guessed: what a program would have to compute, or a person to see, is an error. The library for it is an extra (`excel_book`
imports it).
"""

from __future__ import annotations

import csv
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from security.files import told
from station.check import CheckResult
from station.data.tables.files import facts, version_of
from station.data.tables.kind import Kind
from station.data.tables.source import Form, Found, InFolder, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

ANY: Final = "*.xlsx"
_ROWS: Final = 5000

Rows: TypeAlias = Generator[Sequence[str], None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcelSource(InFolder):
    """The table of the data set `name`: of each workbook in `folder` that matches `pattern` the `sheet`, or the only one."""

    pattern: str = ANY
    sheet: str | None = None

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "excel"

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            paths = self._paths()
            self._header(paths)
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        return (CheckResult(name=what, ok=True, detail=f"{self.folder}: {version_of(facts(paths))}"),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`."""
        return tuple(Found(name=name, type="cell") for name in self._header(self._paths()))

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        paths = self._paths()
        seen = facts(paths)
        path = into / "table.csv"
        with told(path), path.open("x", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(self._header(paths))
            taken = 0
            for number, row in enumerate(self._all_rows(paths)):
                writer.writerow(row)
                if number % _ROWS == 0:
                    wanted.space.take(out.tell() - taken)
                    taken = out.tell()
            wanted.space.take(out.tell() - taken)
        return Staged(
            form=Form.CSV,
            paths=(path,),
            names={one.column.name: one.origin for one in wanted.columns},
            version=version_of(seen),
            unchanged=lambda: facts(paths) == seen,
        )

    def _paths(self) -> tuple[Path, ...]:
        if not self.folder.is_dir():
            msg = "the folder of a data set is not there"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder)
        with told(self.folder):
            found = (path for path in sorted(self.folder.glob(self.pattern)) if path.is_file())
            paths = tuple(path for path in found if not path.name.startswith("~$"))  # a workbook that somebody has open
        if not paths:
            msg = "no workbook of a data set is there"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder, pattern=self.pattern)
        return paths

    def _header(self, paths: Sequence[Path]) -> Sequence[str]:
        """Return the names of the columns, the same in all workbooks."""
        headers = {}
        for path in paths:
            with closing(self._rows(path)) as rows:
                headers[path] = tuple(next(rows, ()))
        first = headers[paths[0]]
        for path, names in headers.items():
            if not names or "" in names or len(set(map(str.lower, names))) != len(names):
                msg = "the first row of a table must hold different names"
                raise DataUnfit(msg, data=self.name, file=path)
            if names != first:
                msg = "the files of a table do not have the same columns"
                raise DataUnfit(msg, data=self.name, file=path, first=paths[0])
        return first

    def _all_rows(self, paths: Sequence[Path]) -> Rows:
        for path in paths:
            with closing(self._rows(path)) as rows:
                next(rows, None)
                yield from rows

    def _rows(self, path: Path) -> Rows:
        try:
            from station.data.tables.excel_book import BookUnfit, rows_of
        except ImportError:
            msg = "the library for Excel is not installed here"
            raise DataUnfit(msg, data=self.name, hint="pip install 'pht[excel]'") from None
        try:
            yield from rows_of(path, self.sheet)
        except BookUnfit as error:
            raise DataUnfit(str(error), data=self.name, file=path, hint=error.hint, **error.where) from None


def _source(name: str, home: Path, value: Mapping[str, Any]) -> ExcelSource:
    return ExcelSource(
        name=name, folder=home / value["folder"], pattern=value.get("files", ANY), sheet=value.get("sheet")
    )


KIND: Final = Kind(name="excel", read=_source, needs=("folder",), may=("files", "sheet"))
