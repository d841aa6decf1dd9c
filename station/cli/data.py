"""How does an operator offer data, check them, and make them known?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock, passphrase_option, sure
from console.visible import visible
from security.encoding import Json
from security.errors import FileExists, InvalidInput
from security.files import write_file
from security.tables.column import Column
from station.cli.complete import complete_data
from station.cli.options import PATH, station_option, unlocker
from station.data.tables.compare import Compared
from station.data.tables.examine import Examination, Flaw
from station.data.tables.kind import Kind
from station.data.tables.kinds import KINDS
from station.data.tables.omop import OmopKind, omop_query
from station.desk.data import (
    Examined,
    add_data,
    catalogue_of,
    describe_data,
    examine_data,
    print_column,
    print_entry,
    propose_data,
    publish_data,
)
from station.desk.opening import station_at
from station.errors import DataUnfit
from station.house.config import DataEntry, config_schema

_SETTING: Final = "setting_"  # apart from the other options: a source may have a folder, and so has a station


@click.group("data")
def station_data() -> None:
    """Offer data sets to trains: add, check and publish them.

    \b
    pht station data add heart --source files --folder /srv/heart
    pht station data check heart         every cell against its description
    pht station data describe heart      what it has now, and where station.yaml differs
    pht station data ls
    pht station data publish             make known what is marked 'catalogue: true' in station.yaml
    """


@station_data.command("ls")
@station_option
def data_ls(*, folder: Path) -> Answer:
    """List the data sets: where they are, and what trains can ask for."""
    config = station_at(folder)
    lines = [_line(name, one) for name, one in config.data.items()]
    text = "\n".join(lines) or "no data sets; 'pht station data add' adds one"
    return Answer(text=text, data={"data": [_document(name, one) for name, one in config.data.items()]})


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _source_options(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Add an option for each setting that a kind of source has, with its meaning in ``station.yaml``."""
    said = config_schema()["properties"]["data"]["additionalProperties"]["properties"]
    for setting, about in reversed(said.items()):
        kinds = [kind.name for kind in KINDS.values() if setting in kind.settings]
        if kinds and about.get("type") != "object":
            usual = f"  [default: {about['default']}]" if "default" in about else ""
            command = click.option(
                _option(setting),
                f"{_SETTING}{setting}",
                type=PATH if "$ref" in about else int if about["type"] == "integer" else str,
                help=f"Of {', '.join(kinds)}: {about['description']}.{usual}",
            )(command)
    return command


@station_data.command("add")
@click.argument("name")
@click.option(
    "--source", type=click.Choice(list(KINDS)), default=next(iter(KINDS)), show_default=True, help="Where the rows are."
)
@_source_options
@click.option("--print", "only_print", is_flag=True, help="Print the entry instead of writing it into station.yaml.")
@station_option
def data_add(*, name: str, source: str, only_print: bool, folder: Path, **settings: str | int | Path | None) -> Answer:
    """Look at a table, propose its columns, and add it as NAME to station.yaml.

    Trains can ask for what station.yaml then says: correct the types, add units and codes, and remove the columns that are
    nobody's. The daemon offers it after its next start.

    \b
    pht station data add heart --folder /srv/heart --files 'visits-*.parquet'
    pht station data add lab --source sql --database postgresql://reader@db.example/clinic --table public.lab
    pht station data add pressure --source fhir --server https://fhir.example/r4 --search 'Observation?code=8480-6'
    """
    config = station_at(folder)
    entry: dict[str, str | int] = {"source": source}
    for option, value in settings.items():
        if value is not None:
            entry[option.removeprefix(_SETTING)] = str(value.absolute()) if isinstance(value, Path) else value
    _need_settings(name, KINDS[source], entry)
    with working("looking at every row"):
        proposal = propose_data(name, entry, config.file.parent)
    text = print_entry(name, entry, proposal)
    if not only_print:
        add_data(config.file, name, text)
    done = "" if only_print else f"\nadded to {config.file}: correct it, then: pht station data check {name}"
    return Answer(
        text=text.rstrip() + done,
        data={
            "data": name,
            "columns": [_column(one.column) for one in proposal.columns],
            "patient": proposal.patient,
            "file": None if only_print else str(config.file),
        },
    )


@station_data.command("omop")
@click.argument("kind", type=click.Choice([one.value for one in OmopKind]))
@click.option(
    "--concept", "concepts", type=int, multiple=True, help="A concept, with all below it; several are one table."
)
@click.option("--schema", help="The schema of the model's tables, such as cdm.")
@click.option("-o", "--output", "into", type=PATH, required=True, help="The file to write the query to.")
def data_omop(*, kind: str, concepts: tuple[int, ...], schema: str | None, into: Path) -> Answer:
    """Write the query of a ready-made data set over an OMOP database (Common Data Model 5.4).

    A row for each condition, drug exposure, measurement or visit of the concepts that are named, all below them included, with
    the patient's sex and age; or for each person. PostgreSQL only.

    \b
    pht station data omop condition --concept 201826 --schema cdm -o diabetes.sql
    pht station data add diabetes --source sql --database postgresql://reader@db.example/omop --query-file diabetes.sql
    """
    query = omop_query(OmopKind(kind), concepts, schema)
    if into.exists():
        msg = "there is a file of this name already"
        raise FileExists(msg, path=into)
    write_file(into, query.encode())
    return Answer(text=f"{query}\nwrote {into}: name it as --query-file", data={"query": query, "file": str(into)})


@station_data.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_data)
@station_option
def data_check(*, names: tuple[str, ...], folder: Path) -> Answer:
    """Check data sets, all unless some are named: their sources, and every cell against its column's type."""
    config = station_at(folder)
    with working("reading every row"):
        found = [examine_data(config, name) for name in names or tuple(config.data)]
    wrong = [one.name for one in found if not one.ok]
    msg = "a data set is not as station.yaml describes it"
    return Answer(
        text="\n".join(line for one in found for line in _lines(one)),
        data={"ok": not wrong, "data": [_examined(one) for one in found]},
        error=DataUnfit(msg, data=", ".join(wrong)) if wrong else None,
    )


@station_data.command("describe")
@click.argument("name", shell_complete=complete_data)
@station_option
def data_describe(*, name: str, folder: Path) -> Answer:
    """Propose the columns of a data set anew, and mark where station.yaml says something else.

    It changes nothing: a column that is not there is printed as station.yaml would have it, to be copied. Words of a category
    are shown only if each is said of many patients.
    """
    config = station_at(folder)
    with working("looking at every row"):
        found = describe_data(config, name)
    differing = [one for one in found if one.differs]
    said = "station.yaml says what the data have" if not differing else f"{len(differing)} columns differ"
    return Answer(
        text="\n".join([*(line for one in found for line in _described(one)), said]),
        data={
            "data": name,
            "same": not differing,
            "columns": [
                {
                    "from": one.origin,
                    "described": None if one.described is None else _column(one.described),
                    "found": None if one.found is None else _column(one.found),
                    "differs": list(one.differs),
                }
                for one in found
            ],
        },
    )


@station_data.command("publish")
@passphrase_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@station_option
def data_publish(*, folder: Path, yes: bool, passphrase_file: Path | None) -> Answer:
    """Sign the catalogue of the data sets that are marked 'catalogue: true', and publish it in the registry.

    Everybody who may read the registry sees it: names, descriptions, columns, and how many patients there are in coarse
    bands. It replaces what was published before; with nothing marked, an empty one does.
    """
    config = station_at(folder)
    with working("reading every row"):
        catalogue = catalogue_of(config, clock.now())
    shown = [
        f"  {one.name}: {len(one.columns or ())} columns, patients {one.patients or 'not told'}"
        for one in catalogue.data
    ]
    sure("\n".join([f"{config.party} makes known:", *(shown or ["  nothing"])]), yes=yes)
    publish_data(config, catalogue, unlocker(config, passphrase_file))
    return Answer(
        text=f"published {len(catalogue.data)} data sets of {config.party}",
        data={"station": config.party, "data": [one.name for one in catalogue.data]},
    )


def _need_settings(name: str, kind: Kind, entry: Mapping[str, str | int]) -> None:
    """Refuse what `parse_config` would refuse when the source was read, in the words of the command line."""
    given = set(entry) - {"source"}
    needs = [_option(one) for one in kind.needs]
    if kind.either:
        needs.append(" or ".join(map(_option, kind.either)))
    right = given >= set(kind.needs) and (not kind.either or len(given & set(kind.either)) == 1)
    if not right or not given <= set(kind.settings):
        msg = "a kind of source has options of its own"
        may = ", ".join(map(_option, kind.may)) or "nothing else"
        raise InvalidInput(msg, data=name, source=kind.name, needs=", ".join(needs), may=may)
    for one, other in (kind.together or {}).items():
        if one in given and other not in given:
            msg = "an option of a source wants another beside it"
            raise InvalidInput(msg, data=name, option=_option(one), wants=_option(other))


def _line(name: str, entry: DataEntry) -> str:
    kind = entry.source.kind
    what = "a folder, whole" if entry.table is None else f"{len(entry.table.columns)} columns"
    known = ", in the catalogue" if entry.known else ""
    return f"{name}  {kind}  {what}{known}" + (f"  {visible(entry.description)}" if entry.description else "")


def _document(name: str, entry: DataEntry) -> Json:
    columns: list[Json] | None = None if entry.table is None else [_column(one.column) for one in entry.table.columns]
    owners: list[Json] | None = None if entry.owners is None else list[Json](sorted(entry.owners))
    return {
        "name": name,
        "description": entry.description,
        "columns": columns,
        "catalogue": entry.known,
        "owners": owners,
    }


def _column(column: Column) -> Json:
    return {"name": column.name, "type": column.type.value, "values": list(column.values or ())}


def _lines(found: Examined) -> list[str]:
    lines = [f"{'ok  ' if one.ok else 'NOT '} {one.name}: {one.detail}" for one in found.results]
    lines += [f"       {one.hint}" for one in found.results if one.hint and not one.ok]
    if found.found is None:
        return lines
    told = found.found
    lines.append(f"     {told.rows} rows, {told.patients} patients, {told.without_patient} rows without a patient")
    if found.listed is not None:
        lines.append(
            f"     {told.withdrawn} of {found.listed} who are listed as having withdrawn are there, and left out"
        )
    lines += [f"     {found.name}.{one}: no row has a value; is 'from' right?" for one in told.empty]
    return lines + [f"NOT  {found.name}.{_flaw(one)}" for one in told.flaws]


def _flaw(flaw: Flaw) -> str:
    if flaw.absent:
        return f"{flaw.column}: no such column in the source"
    parts = [f"{flaw.bad} cells are not of its type, the first in row {flaw.first_row}"] if flaw.bad else []
    parts += [f"{flaw.outside} cells are outside its range"] if flaw.outside else []
    return f"{flaw.column}: {'; '.join(parts)}"


def _described(one: Compared) -> list[str]:
    here = one.described or one.found
    assert here is not None  # noqa: S101 - one of them is there
    types = " / ".join("-" if side is None else side.type.value for side in (one.described, one.found))
    lines = [f"{'DIFF' if one.differs else 'ok  '} {here.name}  {types}", *(f"       {why}" for why in one.differs)]
    return lines if one.found is None or one.described else [*lines, f"       {print_column(one.found, one.origin)}"]


def _examined(one: Examined) -> Json:
    return {
        "name": one.name,
        "ok": one.ok,
        "results": [{"name": r.name, "ok": r.ok, "detail": r.detail, "hint": r.hint} for r in one.results],
        "found": None if one.found is None else {**_numbers(one.found), "listed": one.listed},
    }


def _numbers(found: Examination) -> dict[str, Json]:
    return {
        "rows": found.rows,
        "patients": found.patients,
        "without_patient": found.without_patient,
        "empty": list(found.empty),
        "withdrawn": found.withdrawn,
        "flaws": [
            {"column": one.column, "absent": one.absent, "bad": one.bad, "row": one.first_row, "outside": one.outside}
            for one in found.flaws
        ],
    }
