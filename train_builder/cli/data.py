"""How does a scientist see which data are where?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock
from security.encoding import Json, print_time
from security.forms.record import Record
from security.forms.words import printable
from security.tables.column import Column
from train_builder.catalogue.compare import Compared
from train_builder.catalogue.read import Offer
from train_builder.cli.options import PATH, home_option
from train_builder.desk.data import DataSetShown, all_data, data_shown, sample_data
from train_builder.desk.reach import depot_of, trust_of
from train_builder.home import open_home

_COLUMN = Record(Column)


@click.group("data")
def data() -> None:
    """See which data are where, and try an analysis on synthetic ones.

    \b
    pht data ls                                    what every station says it has
    pht data show heart                            its columns, beside each other, with every difference
    pht data sample heart -o my-train/samples      synthetic rows for each station: pht train rehearse my-train
    """


@data.command("ls")
@home_option
def data_ls(*, home_path: Path) -> Answer:
    """List the data sets that stations have published, verified by their signatures."""
    found = _offers(home_path)
    names = sorted({entry.name for one in found if one.catalogue for entry in one.catalogue.data})
    lines = [f"{name}: {', '.join(_where(one, name) for one in found if one.entry(name))}" for name in names]
    lines += [f"{one.station}: {one.doubt}" for one in found if one.doubt]
    quiet = [str(one.station) for one in found if one.catalogue is None and one.doubt is None]
    lines += [f"nothing published by {', '.join(quiet)}"] if quiet else []
    return Answer(
        text="\n".join(map(printable, lines)) or "no stations yet",
        data={"stations": [_offer(one) for one in found]},
    )


@data.command("show")
@click.argument("name")
@home_option
def data_show(*, name: str, home_path: Path) -> Answer:
    """Show the columns of the data set NAME at every station that has it, and mark where they differ."""
    shown = data_shown(_offers(home_path), name)
    return Answer(text="\n".join(map(printable, _lines(shown))), data=_document(shown))


@data.command("sample")
@click.argument("name")
@click.option("-o", "--output", "into", type=PATH, required=True, help="A folder, such as the 'samples' of a train.")
@click.option("--rows", type=click.IntRange(1, 10_000_000), default=200, show_default=True, help="Rows a station.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another number, other rows.")
@home_option
def data_sample(*, name: str, into: Path, rows: int, seed: int, home_path: Path) -> Answer:
    """Draw synthetic rows of the data set NAME for each station, from what is published of it alone.

    Every cell is drawn by itself from the published range or words: the rows show that an analysis runs, not what it finds.
    """
    made = sample_data(data_shown(_offers(home_path), name), into, rows=rows, seed=seed)
    return Answer(
        text="\n".join([*(f"made {folder}" for folder in made), "next: pht train rehearse, with these as its samples"]),
        data={"folders": [str(folder) for folder in made], "rows": rows},
    )


def _offers(home_path: Path) -> tuple[Offer, ...]:
    home, now = open_home(home_path), clock.now()
    return all_data(depot_of(home).registry, trust_of(home, now), now)


def _where(offer: Offer, name: str) -> str:
    entry = offer.entry(name)
    if entry is None or entry.columns is None:
        return f"{offer.station} (a folder)"
    return f"{offer.station} ({len(entry.columns)} columns, patients {entry.patients or 'not told'})"


def _lines(shown: DataSetShown) -> list[str]:
    lines = [shown.name]
    for party, entry in shown.entries.items():
        what = "a folder, whole" if entry.columns is None else f"patients {entry.patients or 'not told'}"
        least = f", a selection has at least {entry.least_patients}" if entry.least_patients else ""
        lines.append(f"  {party}: {what}{least}" + (f"; {entry.description}" if entry.description else ""))
    return lines + [line for one in shown.columns for line in _column_lines(one)]


def _column_lines(one: Compared) -> list[str]:
    there = [column for column in one.at.values() if column is not None]
    marks = [f"differs in {', '.join(one.differ)}"] if one.differ else []
    marks += [f"not at {', '.join(one.missing)}"] if one.missing else []
    line = f"  {one.name}" + (f"  <- {'; '.join(marks)}" if marks else f"  {_said(there[0])}")
    return [
        line,
        *(f"    {party}: {_said(column)}" for party, column in one.at.items() if marks and column is not None),
    ]


def _said(column: Column) -> str:
    parts = [column.type.value]
    parts += [f"in {column.measure}"] if column.measure else []
    parts += [f"coded {column.coding}"] if column.coding else []
    parts += [f"one of {', '.join(column.values)}"] if column.values else []
    parts += [f"from {column.least or '-'} to {column.most or '-'}"] if column.least or column.most else []
    parts += [f"({column.description})"] if column.description else []
    return " ".join(parts)


def _offer(one: Offer) -> Json:
    found = one.catalogue
    return {
        "station": one.station,
        "made_at": None if found is None else print_time(found.made_at),
        "code": one.doubt.code if one.doubt else None,
        "data": [entry.name for entry in found.data] if found else [],
    }


def _document(shown: DataSetShown) -> dict[str, Json]:
    columns: list[Json] = [
        {
            "name": one.name,
            "differ": list(one.differ),
            "missing": list(map(str, one.missing)),
            "at": {party: None if column is None else _COLUMN.write(column) for party, column in one.at.items()},
        }
        for one in shown.columns
    ]
    stations: dict[str, Json] = {
        party: {"patients": entry.patients, "least_patients": entry.least_patients, "description": entry.description}
        for party, entry in shown.entries.items()
    }
    return {"data": shown.name, "stations": stations, "columns": columns}
