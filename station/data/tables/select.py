"""What of a table does a train get, and what is written down about it?

From what a source has staged, the engine makes a view of public names and declared types, takes the rows that the train's
`where` is true for, leaves out who withdrew, counts patients, and delivers: numbers for identifiers, another order, one
spelling. A cell that is not of its column's type stops all of it; a train never runs on part of the data.
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
from station.data.tables.cell import Cell, cell_of
from station.data.tables.engine import CellRejected, Engine, named, opened, quoted
from station.data.tables.scan import first_bad, kinds_in, scan
from station.data.tables.secret import DIGITS, DataSecret
from station.data.tables.source import Described, Staged
from station.data.tables.where import sql_of
from station.errors import CohortTooSmall, DataUnfit

TABLE: Final = "table.csv"
PARQUET: Final = "table.parquet"
FILES: Final = "files"
"""The folder of the files that cells name."""
_PATIENT: Final = "#patient"
_WITHDREW: Final = "#withdrew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is wanted of a table: `delivered` columns in their order, for rows that satisfy `where`, for `train`.

    `patient` is the column that tells patients apart, of `every` column. `withdrawn` are their identifiers in a file, one a
    line. With fewer patients than `least`, nothing is delivered.
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


def select(staged: Staged, selection: Selection, *, into: Path, scratch: Path, secret: DataSecret) -> Selected:
    """Deliver what is selected into the folder `into`; `scratch` is an empty folder for what does not fit into memory.

    Raises:
        DataUnfit: a column is not there, or a cell is not of its type; the message says which row, to the operator only.
        CohortTooSmall: fewer patients than the least.
    """
    cohort = scratch / "cohort"
    reads = {path.parent for path in staged.paths} | ({selection.withdrawn.parent} if selection.withdrawn else set())
    with opened([*sorted(reads), into], scratch=scratch, about=selection.data) as engine:
        _choose(engine, staged, selection)
        rows, patients, withdrawn = _counted(engine)
        if patients < max(selection.least, 1):
            msg = "fewer patients than this station lets an analysis see"
            raise CohortTooSmall(msg, data=selection.data)
        _deliver(engine, staged, selection, into, secret)
        _keep_cohort(engine, cohort, secret)
    return Selected(
        rows=rows,
        patients=patients,
        withdrawn=withdrawn,
        cohort=secret.digest(_digest(cohort)),
        cohort_file=cohort,
        table=secret.digest(_content(into)),
    )


def _choose(engine: Engine, staged: Staged, selection: Selection) -> None:
    """Make the table of the chosen rows, with the patient as text, and whether they withdrew."""
    cells = tuple(_cells(engine, staged, selection))
    parameters: list[object] = []
    withdrew = "FALSE"
    patient = f"CAST({named(selection.patient)} AS VARCHAR)"
    if selection.withdrawn is not None:
        parameters.append(str(selection.withdrawn))
        listed = "SELECT trim(line) FROM read_csv(?, columns = {'line': 'VARCHAR'}, header = false, delim = '\n', quote = '')"
        withdrew = f"{patient} IN ({listed})"
    delivered = "".join(f"{named(name)}, " for name in selection.delivered)
    where = "TRUE" if selection.where is None else sql_of(selection.where, parameters)
    statement = (
        f"CREATE TEMP TABLE chosen AS SELECT {delivered}{patient} AS {named(_PATIENT)}, {withdrew} AS {named(_WITHDREW)}"
        f" FROM (SELECT {', '.join(cell.strict for cell in cells)} FROM {scan(staged)})"
        f" WHERE {where} AND {named(selection.patient)} IS NOT NULL"
    )
    try:
        engine.run(statement, parameters)
    except CellRejected as error:
        row = first_bad(engine, staged, next(cell for cell in cells if cell.name == error.column))
        msg = "a cell is not of the type that station.yaml says"
        raise DataUnfit(msg, data=selection.data, column=error.column, row=row) from None


def _cells(engine: Engine, staged: Staged, selection: Selection) -> Iterator[Cell]:
    kinds = kinds_in(engine, staged)
    for one in needed(selection):
        place = staged.names.get(one.column.name, one.column.name)
        if place not in kinds:
            msg = "a column that station.yaml names is not there"
            raise DataUnfit(msg, data=selection.data, column=one.column.name, wanted=place)
        yield cell_of(one, place, kinds[place], staged.spelling)


def _counted(engine: Engine) -> tuple[int, int, int]:
    """Return how many rows are delivered, of how many patients, and how many patients are left out."""
    withdrew, patient = named(_WITHDREW), named(_PATIENT)
    (found,) = engine.rows(
        f"SELECT count(*) FILTER (NOT {withdrew}), count(DISTINCT {patient}) FILTER (NOT {withdrew}),"
        f" count(DISTINCT {patient}) FILTER ({withdrew}) FROM chosen"
    )
    rows, patients, withdrawn = found
    return rows, patients, withdrawn


def _deliver(engine: Engine, staged: Staged, selection: Selection, into: Path, secret: DataSecret) -> None:
    """Write the table: numbers for identifiers, and an order that follows from the train's key and each row's content.

    Then the files that its cells name, each once, and only those.
    """
    key = secret.for_train(selection.train)
    suffix = staged.carry.suffix if staged.carry else ""
    types = {one.column.name: one.column.type for one in selection.every}
    shown = [f"{_shown(types[name], quoted(key), name, suffix)} AS {named(name)}" for name in selection.delivered]
    order = ", ".join(named(name) for name in selection.delivered)
    rows = f"FROM chosen WHERE NOT {named(_WITHDREW)}"
    query = f"SELECT {', '.join(shown)} {rows} ORDER BY hash({quoted(key)}, {order})"
    engine.run(f"COPY ({query}) TO {quoted(str(into / TABLE))} (FORMAT csv, HEADER true)")
    if selection.parquet:
        engine.run(f"COPY ({query}) TO {quoted(str(into / PARQUET))} (FORMAT parquet)")
    for name in selection.delivered:
        if types[name] is ColumnType.FILE:
            where = f"{rows} AND {named(name)} IS NOT NULL"
            shown_name = _shown(ColumnType.FILE, quoted(key), name, suffix)
            _carry(engine.rows(f"SELECT DISTINCT {named(name)}, {shown_name} {where}"), staged, selection, into, key)


def _carry(files: Sequence[tuple[str, str]], staged: Staged, selection: Selection, into: Path, key: str) -> None:
    if staged.carry is None:
        msg = "a column is said to name files, and its source has none"
        raise DataUnfit(msg, data=selection.data, hint="correct the type of the column in station.yaml")
    make_folder(into / FILES)
    for cell, name in files:
        staged.carry(cell, into / name, key)


def _shown(kind: ColumnType, key: str, name: str, suffix: str) -> str:
    match kind:
        case ColumnType.IDENTIFIER:
            return _number(key, named(name))
        case ColumnType.FILE:
            return f"{quoted(f'{FILES}/')} || {_number(key, named(name))} || {quoted(suffix)}"
        case _:
            return named(name)


def _number(key: str, value: str) -> str:
    keyed = f"left(sha256({key} || CAST({value} AS VARCHAR)), {DIGITS})"
    return f"(CASE WHEN {value} IS NULL THEN NULL ELSE CAST('0x' || {keyed} AS BIGINT) END)"


def _keep_cohort(engine: Engine, cohort: Path, secret: DataSecret) -> None:
    """Write the patients, as keyed hashes, each once and sorted, one a line."""
    key, patient = quoted(secret.for_cohorts), named(_PATIENT)
    engine.run(
        f"COPY (SELECT DISTINCT left(sha256({key} || {patient}), 32) AS patient FROM chosen"
        f" WHERE NOT {named(_WITHDREW)} ORDER BY patient) TO {quoted(str(cohort))} (FORMAT csv, HEADER false)"
    )


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
