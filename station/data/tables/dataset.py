"""How is a table furnished, wherever its rows are?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from security.encoding import dump_pretty
from security.files import write_file
from security.forms.record import Record
from security.tables.column import Column, column_named
from security.tables.parse import parse
from security.train.manifest import DataNeed
from station.check import CheckResult
from station.data.port import Asked, Delivered, Reader
from station.data.tables.secret import DataSecret
from station.data.tables.select import Selection, needed, select
from station.data.tables.source import Described, TableSource, Wanted
from station.errors import DataSourceUnavailable
from station.visit.parts import FurnishedData, TableRecord

SCHEMA: Final = "schema.json"
_COLUMN: Final = Record(Column)
_STEPS: Final = (1, 2, 5)

KeepCohort: TypeAlias = Callable[[Path, str], None]
"""Takes the file of a cohort and its name into the station's keeping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableData:
    """The data set `name`: described columns of a source, of which a train gets what it asks for and no more.

    `patient` is the column that tells patients apart; who is in `withdrawn`, a file with an identifier a line, is in no
    cohort; fewer than `least` patients are shown to nobody.
    """

    name: str
    source: TableSource
    columns: tuple[Described, ...]
    patient: str
    secret: Callable[[], DataSecret]
    keep: KeepCohort
    withdrawn: Path | None
    least: int

    @property
    def kind(self) -> str:
        """See `DataSource`."""
        return self.source.kind

    def check(self, reader: Reader | None) -> tuple[CheckResult, ...]:
        """See `DataSource`."""
        del reader  # a copy is given to whoever it is for
        return self.source.check()

    def missing(self, need: DataNeed) -> tuple[str, ...]:
        """See `DataSource`."""
        del need  # which columns there are is for the policy to say, from the description
        return ()

    def furnish(self, asked: Asked, into: Path, scratch: Path) -> Delivered:
        """See `DataSource`."""
        need = asked.need
        selection = Selection(
            data=self.name,
            train=asked.train,
            every=self.columns,
            delivered=need.columns or (),
            where=None if need.where is None else parse(need.where),
            patient=self.patient,
            withdrawn=self.withdrawn,
            least=self.least,
            parquet=bool(need.parquet),
        )
        stage, work = scratch / "stage", scratch / "work"
        for folder in (stage, work):
            folder.mkdir()
        staged = self.source.stage(Wanted(columns=needed(selection), where=selection.where, space=asked.space), stage)
        found = select(staged, selection, into=into, scratch=work, secret=self.secret(), space=asked.space)
        if not staged.unchanged():
            msg = "a data set changed while it was read"
            raise DataSourceUnavailable(msg, data=self.name, hint="the train waits, and it is read again")
        write_file(into / SCHEMA, dump_pretty(self._schema(selection)), mode=0o644)
        self.keep(found.cohort_file, found.cohort.hex)
        return Delivered(
            folder=into,
            record=FurnishedData(
                name=self.name,
                source=self.kind,
                table=TableRecord(
                    version=staged.version,
                    rows=band(found.rows),
                    patients=band(found.patients),
                    withdrawn=band(found.withdrawn),
                    cohort=found.cohort,
                    content=found.table,
                ),
            ),
        )

    def _schema(self, selection: Selection) -> dict[str, object]:
        described = [one.column for one in self.columns]
        shown = [column_named(described, name) for name in selection.delivered]
        return {"columns": [_COLUMN.write(one) for one in shown if one is not None]}


def band(count: int) -> str:
    """Return between which two steps of 1, 2, 5, 10, 20, … a count lies: the exact one is nobody's business later."""
    if count == 0:
        return "0"
    least, power = 1, 1
    while True:
        for step in _STEPS:
            if step * power > count:
                return f"{least}-{step * power - 1}" if step * power - 1 > least else f"{least}"
            least = step * power
        power *= 10
