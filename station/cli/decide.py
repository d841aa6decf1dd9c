"""How does an operator decide about a train, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, sure
from security.encoding import Json
from station.cli.complete import complete_train, complete_waiting
from station.cli.options import by_option, person, station_option
from station.cli.render import visit_in_short
from station.desk.decide import approval, record, refusal
from station.desk.opening import station_at
from station.house.config import StationConfig
from station.house.lock import held


@click.command("approve")
@click.argument("train", shell_complete=complete_waiting)
@station_option
@click.option("--note", default="", help="Why, for the journal.")
@by_option
def station_approve(*, train: str, folder: Path, note: str, by: str | None) -> Answer:
    """Say yes to what TRAIN waits for: to be admitted, released, or tried again."""
    config = station_at(folder)
    decision = approval(config, train, by=person(by), note=note, now=clock.now())
    record(config, decision)
    visit, event = decision.visit, decision.event
    text = f"approved for {event.hold.value}: {visit_in_short(visit)}; {_daemon(config)} goes on with it"
    told: dict[str, Json] = {"visit": visit.arrival, "approved": event.hold.value, "by": event.by}
    if event.analysis is not None:
        text, told["analysis"] = f"{text}\nanalysis {event.analysis}", event.analysis
    return Answer(text=text, data=told)


@click.command("refuse")
@click.argument("train", shell_complete=complete_train)
@station_option
@click.option("--reason", required=True, help="Why, for this station's journal. The owner is not told.")
@click.option("--tell", default="", metavar="TEXT", help="What the owner is told, on one line.")
@by_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def station_refuse(*, train: str, folder: Path, reason: str, tell: str, by: str | None, yes: bool) -> Answer:
    """Refuse TRAIN for good. The owner learns that it was refused, and what you --tell.

    Before its run, an owner to whom you --tell nothing is told what the train waited for, as 'show' does.
    """
    config = station_at(folder)
    decision = refusal(config, train, by=person(by), reason=reason, now=clock.now(), tell=tell)
    name = visit_in_short(decision.visit)
    sure(f"Refuse {name} for good?", yes=yes)
    record(config, decision)
    text = f"refused: {name}; {_daemon(config)} wipes what is here and tells the owner that it was refused"
    return Answer(text=text, data={"visit": decision.visit.arrival, "refused": True, "by": decision.event.by})


def _daemon(config: StationConfig) -> str:
    return "the daemon" if held(config.folder) else "no daemon runs here: 'pht station run' or 'once'"
