"""Which trains and data sets of a station may a shell offer for the word that is being typed?"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from console.prompts import clock
from security.errors import PhtError
from station.desk.opening import station_at
from station.desk.visits import VisitSummary, list_visits


def complete_train(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the trains that `pht station ls` lists, the newest first."""
    return _offer(context, begun, waiting=False)


def complete_waiting(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the trains that wait for a person."""
    return _offer(context, begun, waiting=True)


def complete_data(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the data sets of ``station.yaml``."""
    try:
        known = station_at(_folder(context)).data
    except (PhtError, OSError):  # see `_offer`
        return []
    return [CompletionItem(name) for name in known if name.startswith(begun)]


def _offer(context: click.Context, begun: str, *, waiting: bool) -> list[CompletionItem]:
    try:
        listed = list_visits(station_at(_folder(context)), clock.now(), waiting=waiting)
    except (PhtError, OSError):  # a shell has no place for a message; the command itself says what is wrong
        return []
    named = {_name(one): one for one in reversed(listed.visits)}
    return [CompletionItem(name, help=_help(one)) for name, one in named.items() if name.startswith(begun)]


def _folder(context: click.Context) -> Path:
    return Path(context.params.get("folder") or Path())


def _name(visit: VisitSummary) -> str:
    return visit.visit.short if visit.train is None else visit.train.short


def _help(visit: VisitSummary) -> str:
    return f"{visit.name or 'not verified'}, {visit.phase.value}"
