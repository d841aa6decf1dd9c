"""Which trains and stations may a shell offer for the word that is being typed?

What is here already is offered: nothing is fetched, and what cannot be read is left to the command itself to explain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

from security.errors import PhtError
from train_builder.cli.options import HOME, HOME_VARIABLE, PATH, usual_home
from train_builder.desk.destinations import seen_stations
from train_builder.desk.trains import list_trains
from train_builder.home import Home, open_home

_LATEST: Final = "latest"


def complete_train(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the owner's trains, the newest first."""
    home = _home(context)
    try:
        trains = list_trains(home) if home is not None else ()
    except (PhtError, OSError):
        return []
    named = [CompletionItem(one.train.short, help=f"{one.name}, {one.state}") for one in reversed(trains)]
    latest = [CompletionItem(_LATEST, help="the newest")] if trains else []
    return [one for one in (*latest, *named) if one.value.startswith(begun)]


def complete_route(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the stations of the directory as it was fetched last, for the last of the names that are being typed."""
    before, _, last = begun.rpartition(",")
    chosen = before.split(",")
    home = _home(context)
    try:
        known = seen_stations(home) if home is not None else ()
    except (PhtError, OSError):
        return []
    start = f"{before}," if before else ""
    return [
        CompletionItem(f"{start}{one.party}", help=one.title)
        for one in known
        if one.party.startswith(last) and one.party not in chosen
    ]


def _home(context: click.Context) -> Home | None:
    """Open the home that the words typed so far name, or else the variable, or else the usual one."""
    option = click.Option(["--home"], type=PATH, envvar=HOME_VARIABLE)
    try:
        named: Path | str | None = context.params.get(HOME) or option.value_from_envvar(context)
        return open_home(usual_home() if named is None else Path(named))
    except (PhtError, OSError):
        return None
