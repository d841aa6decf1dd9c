"""What data does this station offer: how are they added, checked and made known?"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from registry.catalogue import publish_catalogue
from registry.places import registry_at
from security.catalogue import Catalogue, CatalogueEntry, sign_catalogue
from security.errors import InvalidInput, PhtError
from security.files import read_file, write_file
from security.tables.column import Column, ColumnType
from station.check import CheckResult
from station.data.tables.compare import Compared, compare
from station.data.tables.dataset import band
from station.data.tables.engine import Engine, opened
from station.data.tables.examine import Examination, examine
from station.data.tables.kinds import KINDS
from station.data.tables.propose import Proposal, propose
from station.data.tables.scan import whole
from station.data.tables.source import Described, Staged, TableSource, Wanted
from station.data.tables.withdrawn import withdrawn_in
from station.desk.opening import Unlock, present_keys
from station.errors import ConfigInvalid
from station.house.assembly import source_of
from station.house.config import DataEntry, StationConfig, parse_config
from station.house.places import TableTerms, rows_in

_PLACE: Final = re.compile(r"data:(?: +\{\})?(?P<comment>(?: +#.*)?)")
"""The line below which station.yaml has its data sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a check of one data set found: whether its source is in order, and, of a table, every cell.

    So many are `listed` as having withdrawn; None without a list.
    """

    name: str
    results: tuple[CheckResult, ...]
    found: Examination | None
    listed: int | None = None

    @property
    def ok(self) -> bool:
        """Whether trains can be given it as it is described."""
        return all(one.ok for one in self.results) and not (self.found and self.found.flaws)


def entry_named(config: StationConfig, name: str) -> DataEntry:
    """Return a data set of station.yaml.

    Raises:
        InvalidInput: there is none of this name.
    """
    entry = config.data.get(name)
    if entry is None:
        msg = "this station has no such data set"
        raise InvalidInput(msg, data=name, known=", ".join(sorted(config.data)) or "none", hint="'pht station data ls'")
    return entry


def examine_data(config: StationConfig, name: str) -> Examined:
    """Check a data set: its source, and every cell of a table."""
    entry = entry_named(config, name)
    results = source_of(name, entry, config).check(None)
    terms = entry.table
    if terms is None or entry.rows is None or not all(one.ok for one in results):
        return Examined(name=name, results=results, found=None)
    try:
        left_out = () if terms.withdrawn is None else withdrawn_in(terms.withdrawn, name)
        with staged(name, entry.rows, terms.columns) as (engine, rows):
            found = whole(engine, rows, lambda one: examine(engine, one, terms.columns, terms.patient, left_out))
        listed = None if terms.withdrawn is None else len(set(left_out))
        return Examined(name=name, results=results, found=found, listed=listed)
    except PhtError as error:
        failed = CheckResult(name=f"data {name}", ok=False, detail=str(error), hint=error.hint)
        return Examined(name=name, results=(*results, failed), found=None)


@contextmanager
def staged(name: str, source: TableSource, columns: Sequence[Described]) -> Iterator[tuple[Engine, Staged]]:
    """Open an engine over everything a source has, in a private folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="pht-data-") as folder:
        stage, scratch = Path(folder) / "stage", Path(folder) / "scratch"
        for one in (stage, scratch):
            one.mkdir(mode=0o700)
        rows = source.stage(Wanted(columns=tuple(columns)), stage)
        places = sorted({path.parent for path in rows.paths})
        with opened(places, scratch=scratch, about=name) as engine:
            yield engine, rows


# --- A new one -------------------------------------------------------------------------------------------------------


def propose_data(name: str, entry: Mapping[str, object], home: Path) -> Proposal:
    """Look at a source that is described like an entry of station.yaml, but for its columns, and propose those.

    Raises:
        InvalidInput: a folder that is given whole has no columns.
        DataSourceUnavailable, DataUnfit: it cannot be read.
    """
    source = rows_in(name, home, entry)
    with staged(name, source, _as_texts(one.name for one in source.columns())) as (engine, rows):
        return whole(engine, rows, lambda one: propose(engine, one))


def describe_data(config: StationConfig, name: str) -> tuple[Compared, ...]:
    """Propose the columns of a data set of station.yaml anew, and hold them against those it has there.

    Raises:
        InvalidInput: there is none of this name, or it is given as a folder, whole.
        DataSourceUnavailable, DataUnfit: it cannot be read, or has none of its columns.
    """
    entry = entry_named(config, name)
    terms, source = entry.table, entry.rows
    if terms is None or source is None:
        msg = "a folder that runs see whole has no columns"
        raise InvalidInput(msg, data=name)
    listed = [one.name for one in source.columns()]
    named = [one.origin for one in terms.columns] if KINDS[source.kind].paths else []
    texts = _as_texts(dict.fromkeys([*listed, *named]))
    with staged(name, source, texts) as (engine, rows):
        called = {one.origin: rows.names[one.column.name] for one in texts}
        places = {one.column.name: called.get(one.origin, one.origin) for one in terms.columns}
        proposal = whole(engine, rows, lambda one: propose(engine, one, places[terms.patient]))
        return compare(engine, replace(rows, names=places), proposal, terms.columns, terms.patient)


def _as_texts(origins: Iterable[str]) -> tuple[Described, ...]:
    return tuple(
        Described(column=Column(name=f"c{number}", type=ColumnType.TEXT), origin=one)
        for number, one in enumerate(origins)
    )


def print_entry(name: str, entry: Mapping[str, object], proposal: Proposal) -> str:
    """Return a data set as station.yaml has it, with comments for whoever edits it next."""
    lines = [f"  {name}:"]
    lines += [f"    {key}: {_quoted(value) if isinstance(value, str) else value}" for key, value in entry.items()]
    lines += [
        "    # description: what is in it, and from when",
        "    # catalogue: true                  # make it known to the consortium: pht station data publish",
        "    # owners: [alice]                  # if not every admitted owner may use it",
        "    # withdrawn: withdrawn.csv         # identifiers of patients who withdrew, one a line",
        f"    patient: {proposal.patient or 'CHANGE_ME'}" + " " * 8 + "# the column that tells patients apart",
        "    least_patients: 10                 # a train that asks for fewer gets nothing",
        "    columns:                           # proposed from the data: correct types and units, remove what is nobody's",
    ]
    lines += [f"      {print_column(one.column, one.origin)}" for one in proposal.columns]
    return "\n".join(lines) + "\n"


def print_column(column: Column, origin: str) -> str:
    """Return a proposed column as station.yaml has it."""
    about = [f"type: {column.type}"]
    about += [f"from: {_quoted(origin)}"] if origin != column.name else []
    about += [f"values: [{', '.join(map(_quoted, column.values))}]"] if column.values else []
    return f"{column.name}: {{{', '.join(about)}}}"


def add_data(file: Path, name: str, text: str) -> None:
    """Write a data set into station.yaml, where its data sets begin. Nothing is written unless the file is right with it.

    Raises:
        InvalidInput: there is one of this name.
        ConfigInvalid: the file would not be right; it has no line ``data:``.
    """
    before = read_file(file).decode()
    lines = before.splitlines(keepends=True)
    found = [(number, place) for number, line in enumerate(lines) if (place := _PLACE.fullmatch(line.rstrip()))]
    if not found:
        msg = "station.yaml has no line 'data:' to add to"
        hint = "let 'data:' stand alone in its line, with each data set below; or add what --print shows by hand"
        raise ConfigInvalid(msg, file=file, hint=hint)
    at, place = found[0]
    lines[at] = f"data:{place['comment']}\n"
    after = "".join([*lines[: at + 1], text, *lines[at + 1 :]]).encode()
    if name in parse_config(before.encode(), file=file).data:
        msg = "there is a data set of this name"
        raise InvalidInput(msg, data=name, hint="choose another name, or edit station.yaml")
    parse_config(after, file=file)
    write_file(file, after, mode=file.stat().st_mode & 0o777)


def _quoted(value: object) -> str:
    text = str(value)
    return "'" + text.replace("'", "''") + "'"


# --- Made known ------------------------------------------------------------------------------------------------------


def catalogue_of(config: StationConfig, now: datetime) -> Catalogue:
    """Return what the station would publish now: the data sets that are marked ``catalogue: true``.

    Raises:
        DataUnfit: one of them is not as it is described: what is published is true.
    """
    entries = [_entry(config, name, one) for name, one in config.data.items() if one.known]
    return Catalogue(station=config.party, made_at=now, data=tuple(entries))


def _entry(config: StationConfig, name: str, entry: DataEntry) -> CatalogueEntry:
    description = entry.description or None
    terms = entry.table
    if terms is None:
        return CatalogueEntry(name=name, description=description)
    return CatalogueEntry(
        name=name,
        description=description,
        columns=tuple(one.column for one in terms.columns),
        patient=terms.patient,
        patients=_patients(config, name, terms),
        least_patients=terms.least,
    )


def _patients(config: StationConfig, name: str, terms: TableTerms) -> str:
    examined = examine_data(config, name)
    if examined.found is None or not examined.ok:
        msg = "a data set is not as it is described, and is not made known like that"
        raise InvalidInput(msg, data=name, hint=f"pht station data check {name}")
    return band(examined.found.patients) if examined.found.patients >= terms.least else f"0-{terms.least - 1}"


def publish_data(config: StationConfig, catalogue: Catalogue, unlock: Unlock) -> None:
    """Sign a catalogue and put it into the registry."""
    secrets = present_keys(config, unlock)
    envelope = sign_catalogue(catalogue, secrets.signers)
    publish_catalogue(registry_at(config.registry, config.login), config.party, envelope.to_bytes())
