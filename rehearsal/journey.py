"""How does a train go round a company, and what was seen of it at each stop?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from registry.blobs import BlobFolder
from rehearsal.company import Company, Venue
from rehearsal.errors import RehearsalStuck
from rehearsal.report import StopReport
from security.archive import Budget
from security.files import making_folder
from security.ids import PartyId, TrainId
from security.train.letters import check_readers, open_parcel
from security.train.route import Route
from security.train.seal import open_state
from security.train.verify import verify_home
from station.daemon.reconcile import reconcile
from station.errors import PartsMissing
from station.house.house import House
from station.sandbox.printed import read_printed
from station.steps.notice import notice
from station.visit.events import VisitEvent
from station.visit.plan import Ask, Over, Wait, next_step
from station.visit.state import Visit
from train_builder.follow.totals import unmask_results

OUTPUT_BYTES: Final = 64 << 10
POLL_SECONDS: Final = 0.1
_MOST_FILES: Final = 10_000

Printed: TypeAlias = dict[tuple[PartyId, int], bytes]
"""What the run of a station at a stop printed."""

Tell: TypeAlias = Callable[[PartyId, VisitEvent], None]
"""Called for every event, to show progress."""


def go_round(route: Route, company: Company, venue: Venue, tell: Tell | None = None) -> tuple[StopReport, ...]:
    """Take turns until every visit is over, and report each stop of the route that was visited.

    Raises:
        RehearsalStuck: a station waits for something that no one will fix: the engine fails, the disk is full.
    """
    printed: Printed = {}
    failed = False
    while True:
        busy, waiting, hoping = False, False, False
        for house in company.houses:
            busy |= bool(notice(house, venue.clock.now()))
            for arrival in house.journal.unfinished():
                event = reconcile(arrival, house, venue.clock.now())
                visit = house.journal.visit(arrival)
                failed |= bool(visit.refused or visit.fault)
                if _lacks_parts(visit):
                    hoping = True
                else:
                    waiting |= not isinstance(next_step(visit, venue.clock.now()), Over)
                if event is not None:
                    busy = True
                    _listen(visit, house, printed)
                    if tell is not None:
                        tell(house.party, event)
                _need_progress(visit, house, venue.clock.now())
        if not busy and not waiting and (failed or not hoping):
            return _reports(route, company, printed)
        if not busy:
            venue.clock.wait(POLL_SECONDS)


def open_results(train: TrainId, company: Company, venue: Venue, results: Path) -> Path | None:
    """Verify what came home and open it, whole, into the new folder `results`; None if nothing came."""
    arrivals = company.depot.arrivals(company.owner, train)
    if not arrivals:
        return None
    blobs = BlobFolder(venue.room / "home")
    opened = open_parcel(company.depot.take(arrivals[0], blobs), [company.secrets.identity])
    home = verify_home(opened.parts, company.trust, owner=company.owner, now=venue.clock.now())
    check_readers(opened, home)
    ((state, binding),) = zip(home.states, home.received(), strict=True)
    most = home.manifest.value.limits.output_bytes + (1 << 20)
    with making_folder(results) as new:
        with blobs.open(state.digest) as source:
            open_state(
                source,
                state,
                binding=binding,
                identities=[company.secrets.identity],
                into=new,
                budget=Budget(total_bytes=most, member_bytes=most, members=_MOST_FILES),
            )
        unmask_results(new, home.manifest.value)
    return results


def _listen(visit: Visit, house: House, printed: Printed) -> None:
    """Keep what the run printed as soon as it is over: it is wiped next."""
    if visit.accepted and visit.started and (visit.ended or visit.fault or visit.refused) and not visit.wiped:
        key = (house.party, visit.accepted.stop)
        if key not in printed:
            printed[key] = read_printed(house.workrooms.find(visit.arrival).printed, OUTPUT_BYTES)


def _lacks_parts(visit: Visit) -> bool:
    """Whether a visit waits for what other stops send: they never do if one of them failed."""
    return visit.fetched is None and visit.stumbled is not None and visit.stumbled.code == PartsMissing.code


def _need_progress(visit: Visit, house: House, now: datetime) -> None:
    todo = next_step(visit, now)
    if isinstance(todo, Ask):
        msg = "a station would ask a person"
        raise RehearsalStuck(msg, station=house.party, reason=todo.reason)
    if isinstance(todo, Wait) and visit.stumbled is not None:
        msg = "a station cannot go on"
        raise RehearsalStuck(msg, station=house.party, step=visit.stumbled.step, code=visit.stumbled.code)


def _reports(route: Route, company: Company, printed: Mapping[tuple[PartyId, int], bytes]) -> tuple[StopReport, ...]:
    found = []
    for house in company.houses:
        for visit in map(house.journal.visit, house.journal.arrivals()):
            if _lacks_parts(visit):
                continue
            ending = visit.refused or visit.fault
            stop = visit.accepted.stop if visit.accepted else 0
            found.append(
                StopReport(
                    stop=stop,
                    place=route.told(stop),
                    round=route.round(stop),
                    task=route.task(stop),
                    station=house.party,
                    passed=visit.pushed is not None,
                    code=ending.code if ending else None,
                    reason=ending.reason if ending else None,
                    seconds=visit.ended.seconds if visit.ended else None,
                    outputs=tuple((one.path, one.size) for one in visit.cleared.files) if visit.cleared else (),
                    printed=printed.get((house.party, stop), b""),
                )
            )
    return tuple(sorted(found, key=lambda one: one.stop))
