"""What of a table does a train get, and what is written down about it?

From what a source has staged, the engine makes a view of public names and declared types, takes the rows that the train's
`where` is true for, leaves out who withdrew, counts patients, and delivers: numbers for identifiers, another order, one
spelling. A cell that is not of its column's type stops all of it, if it is delivered or decides about a row; a train never
runs on part of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from security.digest import Digest, digest_of, digest_stream
from security.files import make_folder, told
from security.ids import TrainId
from security.tables.column import ColumnType
from security.tables.expression import Condition
from security.tables.fit import names_in
from station.data.port import UNBOUNDED, Space
from station.data.tables.cell import Cell, cell_of
from station.data.tables.engine import CellRejected, Engine, named, opened, quoted
from station.data.tables.scan import first_bad, kinds_in, scan, whole
from station.data.tables.secret import DIGITS, DataSecret
from station.data.tables.source import Described, Staged
from station.data.tables.where import sql_of
from station.data.tables.withdrawn import withdrawn_in, withdrew
from station.errors import CohortTooSmall, DataUnfit

TABLE: Final = "table.csv"
PARQUET: Final = "table.parquet"
FILES: Final = "files"
"""The folder of the files that cells name."""
COHORT: Final = "cohort"
_PATIENT: Final = "#patient"
_WITHDREW: Final = "#withdrew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is wanted of a table: `delivered` columns in their order, for rows that satisfy `where`, for `train`.

    `patient` is the column that tells patients apart, of `every` column. `withdrawn` is a file with the identifiers of those who
    are left out. With fewer patients than `least`, nothing is delivered.
    """

    data: str
    train: TrainId
    every: tuple[Described, ...]
    delivered: tuple[str, ...]
    where: Condition | None
    patient: str
    withdrawn: Path | None
    least: int
    parquet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """What was delivered. `cohort` and `table` are digests that only this station can compute; the patients are in a file."""

    rows: int
    patients: int
    withdrawn: int
    cohort: Digest
    cohort_file: Path
    table: Digest


def needed(selection: Selection) -> tuple[Described, ...]:
    """Return the columns that must be read: those delivered, those asked about, and the patient's."""
    names = {*selection.delivered, selection.patient}
    if selection.where is not None:
        names |= set(names_in(selection.where))
    return tuple(one for one in selection.every if one.column.name in names)


def select(
    staged: Staged,
    selection: Selection,
    *,
    into: Path,
    scratch: Path,
    secret: DataSecret,
    space: Space = UNBOUNDED,
) -> Selected:
    """Deliver what is selected into the folder `into`; `scratch` is an empty folder for what does not fit into memory.

    Raises:
        DataUnfit: a column is not there, or a cell is not of its type; the message says which row, to the operator only.
        CohortTooSmall: fewer patients than the least.
        DataCrowded, DataTooLarge, DiskFull: there is no space for it.
    """
    cohort = scratch / COHORT
    reads = {path.parent for path in staged.paths}
    folders = [*sorted(reads), into]
    with opened(folders, scratch=scratch, about=selection.data, any_order=True, space=space) as engine:
        cells = tuple(_cells(engine, staged, selection))
        try:
            whole(engine, staged, lambda rows: _choose(engine, rows, selection, cells, secret))
        except CellRejected as error:
            with opened(sorted(reads), scratch=scratch, about=selection.data) as in_order:
                row = first_bad(in_order, staged, next(cell for cell in cells if cell.name == error.column))
            msg = "a cell is not of the type that station.yaml says"
            raise DataUnfit(msg, data=selection.data, column=error.column, row=row) from None
        patients = engine.copy(_patients(f"NOT {named(_WITHDREW)}"), cohort, "FORMAT csv, HEADER false")
        if patients < max(selection.least, 1):
            msg = "fewer patients than this station lets an analysis see"
            raise CohortTooSmall(msg, data=selection.data)
        withdrawn = 0
        if selection.withdrawn is not None:
            ((withdrawn,),) = engine.rows(f"SELECT count(*) FROM ({_patients(named(_WITHDREW))})")
        rows = _deliver(engine, staged, selection, into, secret=secret, space=space)
    return Selected(
        rows=rows,
        patients=patients,
        withdrawn=withdrawn,
        cohort=secret.digest(_digest(cohort)),
        cohort_file=cohort,
        table=secret.digest(_content(into)),
    )


def _choose(engine: Engine, staged: Staged, selection: Selection, cells: Sequence[Cell], secret: DataSecret) -> None:
    """Make the table of the chosen rows as they are delivered, with each one's patient and whether they withdrew.

    Everything about a row is done here, while the rows are read: once, and by all of the engine's threads.
    """
    types = {one.column.name: one.column.type for one in selection.every}
    key, patient = secret.for_train(selection.train), named(selection.patient)
    shown = "".join(
        f"{_number(key, named(name)) if types[name] is ColumnType.IDENTIFIER else named(name)} AS {named(name)}, "
        for name in selection.delivered
    )
    parameters: list[object] = []
    left_out = "FALSE"
    if selection.withdrawn is not None:
        parameters.append(withdrawn_in(selection.withdrawn, selection.data))
        left_out = withdrew(patient)
    where = "TRUE" if selection.where is None else sql_of(selection.where, parameters)
    present = ", ".join(cell.present for cell in cells)
    asked = set(names_in(selection.where)) if selection.where else set()
    every_row = _strictly(f"SELECT {present} FROM {scan(staged)}", cells, asked)
    chosen = f"SELECT * FROM ({every_row}) WHERE {where} AND {patient} IS NOT NULL"
    engine.run(
        f"CREATE TEMP TABLE chosen AS SELECT {shown}{_number(secret.for_cohorts, patient)} AS {named(_PATIENT)},"
        f" {left_out} AS {named(_WITHDREW)}"
        f" FROM ({_strictly(chosen, cells, {cell.name for cell in cells} - asked)})",
        parameters,
    )


def _strictly(rows: str, cells: Sequence[Cell], which: set[str]) -> str:
    """Return the query for rows, where the cells of columns in `which` have become values."""
    taken = "".join(f", {cell.taken}" for cell in cells if cell.name in which)
    shown = ", ".join(cell.strict if cell.name in which else named(cell.name) for cell in cells)
    return f"SELECT {shown} FROM (SELECT *{taken} FROM ({rows}))"


def _cells(engine: Engine, staged: Staged, selection: Selection) -> Iterator[Cell]:
    kinds = kinds_in(engine, staged)
    for one in needed(selection):
        place = staged.names.get(one.column.name, one.column.name)
        if place not in kinds:
            msg = "a column that station.yaml names is not there"
            raise DataUnfit(msg, data=selection.data, column=one.column.name, wanted=place)
        yield cell_of(one, place, kinds[place], staged)


def _patients(where: str) -> str:
    """Return the query for patients of chosen rows: under the key of cohorts, each once and in order."""
    return f"SELECT DISTINCT {named(_PATIENT)} FROM chosen WHERE {where} ORDER BY {named(_PATIENT)}"


def _deliver(
    engine: Engine, staged: Staged, selection: Selection, into: Path, *, secret: DataSecret, space: Space
) -> int:
    """Write the table, in an order that follows from the train's key and each row's content; return the number of its rows.

    Then the files that its cells name, each once, and only those.
    """
    key = secret.for_train(selection.train)
    suffix = staged.carry.suffix if staged.carry else ""
    types = {one.column.name: one.column.type for one in selection.every}
    called = {
        name: _file(key, name, suffix) if types[name] is ColumnType.FILE else named(name)
        for name in selection.delivered
    }
    rows = f"FROM chosen WHERE NOT {named(_WITHDREW)}"
    shown = ", ".join(f"{one} AS {named(name)}" for name, one in called.items())
    query = f"SELECT {shown} {rows} ORDER BY hash({', '.join([quoted(key), *map(named, called)])})"
    count = engine.copy(query, into / TABLE, "FORMAT csv, HEADER true")
    space.take((into / TABLE).stat().st_size)
    if selection.parquet:
        engine.copy(query, into / PARQUET, "FORMAT parquet")
        space.take((into / PARQUET).stat().st_size)
    for name, one in called.items():
        if types[name] is ColumnType.FILE:
            files = engine.rows(f"SELECT DISTINCT {named(name)}, {one} {rows} AND {named(name)} IS NOT NULL")
            for path in _carried(files, staged, selection, into, key):
                space.take(path.stat().st_size)
    return count


def _carried(
    files: Sequence[tuple[str, str]], staged: Staged, selection: Selection, into: Path, key: str
) -> Iterator[Path]:
    """Copy files, and yield each that was copied."""
    if staged.carry is None:
        msg = "a column is said to name files, and its source has none"
        raise DataUnfit(msg, data=selection.data, hint="correct the type of the column in station.yaml")
    make_folder(into / FILES)
    for cell, name in files:
        staged.carry(cell, into / name, key)
        yield into / name


def _file(key: str, name: str, suffix: str) -> str:
    return f"{quoted(f'{FILES}/')} || {_number(key, named(name))} || {quoted(suffix)}"


def _number(key: str, value: str) -> str:
    """Return the number of a text under a key, as `number_of` does; of nothing, nothing."""
    return f"CAST('0x' || left(sha256({quoted(key)} || CAST({value} AS VARCHAR)), {DIGITS}) AS BIGINT)"


def _content(into: Path) -> Digest:
    """Return one digest of the table and the files it names."""
    table = _digest(into / TABLE)
    if not (into / FILES).is_dir():
        return table
    listed = "".join(f"{path.name} {_digest(path)}\n" for path in sorted((into / FILES).iterdir()))
    return digest_of(f"{table}\n{listed}".encode())


def _digest(path: Path) -> Digest:
    with told(path), path.open("rb") as source:
        return digest_stream(source)[0]
