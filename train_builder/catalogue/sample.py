"""What could the rows of a data set look like, going by its description alone?

A synthetic twin: every cell is drawn from the published range or words, each by itself. It knows no patient, and says
nothing about how columns go together; what it is for is to see that code runs and what the gate says.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from security.catalogue import CatalogueEntry
from security.encoding import dump_pretty
from security.errors import InvalidInput
from security.files import making_folder, told, write_file
from security.forms.record import Record
from security.tables.column import Column, ColumnType

TABLE: Final = "table.csv"
SCHEMA: Final = "schema.json"
_COLUMN: Final = Record(Column)
_FIRST_DAY: Final = date(2015, 1, 1)
_DAYS: Final = 4000
_MISSING: Final = 0.05
_ROWS_A_PATIENT: Final = 1.5


def write_twin(entry: CatalogueEntry, folder: Path, *, rows: int, seed: str) -> None:
    """Write a table of so many rows, and its schema, into a new folder; the same for the same seed.

    Raises:
        InvalidInput: the data set is a folder whose files nothing is said about.
        FileExists: there is something there.
    """
    if entry.columns is None:
        msg = "this data set is a folder, and has no columns to draw from"
        raise InvalidInput(msg, data=entry.name, hint="make sample files yourself")
    with making_folder(folder) as new:
        with told(new / TABLE), (new / TABLE).open("x", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow([column.name for column in entry.columns])
            writer.writerows(_rows(entry, entry.columns, rows, random.Random(seed)))
        described = {"columns": [_COLUMN.write(one) for one in entry.columns], "patient": entry.patient}
        write_file(new / SCHEMA, dump_pretty(described), mode=0o644)


def _rows(entry: CatalogueEntry, columns: tuple[Column, ...], rows: int, chance: random.Random) -> Iterator[list[str]]:
    patients = max(1, int(rows / _ROWS_A_PATIENT))
    for number in range(rows):
        patient = number if number < patients else chance.randrange(patients)
        yield [
            f"synthetic-{patient}" if column.name == entry.patient else _cell(column, chance, number)
            for column in columns
        ]


def _cell(column: Column, chance: random.Random, number: int) -> str:
    if column.type is ColumnType.IDENTIFIER:
        return f"{column.name}-{number}"
    return "" if chance.random() < _MISSING else _DRAWN[column.type](column, chance)


def _whole(column: Column, chance: random.Random) -> str:
    least, most = _range(column)
    return str(chance.randint(math.ceil(least), max(math.ceil(least), math.floor(most))))


def _range(column: Column) -> tuple[float, float]:
    least = float(column.least) if column.least is not None else None
    most = float(column.most) if column.most is not None else None
    if least is None:
        least = 0.0 if most is None or most >= 0 else most - 100
    return least, most if most is not None else least + 100


_DRAWN: Final[Mapping[ColumnType, Callable[[Column, random.Random], str]]] = {
    ColumnType.INTEGER: _whole,
    ColumnType.NUMBER: lambda column, chance: repr(round(chance.uniform(*_range(column)), 3)),
    ColumnType.BOOLEAN: lambda _, chance: chance.choice(("true", "false")),
    ColumnType.CATEGORY: lambda column, chance: chance.choice(column.values or ("a", "b")),
    ColumnType.DATE: lambda _, chance: str(_FIRST_DAY + timedelta(days=chance.randrange(_DAYS))),
    ColumnType.TEXT: lambda _, chance: f"text {chance.randrange(100)}",
    ColumnType.FILE: lambda _, chance: f"{chance.randrange(100)}.bin",
}
