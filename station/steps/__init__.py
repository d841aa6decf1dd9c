"""How is each step of a visit performed?

One module per step. A step looks at the world, changes it in a way that may be repeated, and returns the one event that
says what is true now; `reconcile` records it. It believes events only for what to do next: who may do it is verified
again from the bytes in the spool (`evidence`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from station.house.house import House
from station.steps import (
    admit,
    collect,
    depart,
    fetch,
    furnish,
    gate,
    opening,
    push,
    receipt,
    seal,
    sign,
    start,
    verify,
    wipe,
)
from station.visit.events import VisitEvent
from station.visit.plan import Step
from station.visit.state import Visit

Performer: TypeAlias = Callable[[Visit, House, datetime], VisitEvent | None]

_PERFORMERS: Final[Mapping[Step, Performer]] = {
    Step.FETCH: fetch.perform,
    Step.VERIFY: verify.perform,
    Step.ADMIT: admit.perform,
    Step.OPEN: opening.perform,
    Step.FURNISH: furnish.perform,
    Step.START: start.perform,
    Step.COLLECT: collect.perform,
    Step.GATE: gate.perform,
    Step.SEAL: seal.perform,
    Step.WIPE: wipe.perform,
    Step.SIGN: sign.perform,
    Step.PUSH: push.perform,
    Step.RECEIPT: receipt.perform,
    Step.DEPART: depart.perform,
}


def perform(step: Step, visit: Visit, house: House, now: datetime) -> VisitEvent | None:
    """Perform a step; None means that it goes on by itself and has to be looked at again later.

    Raises:
        PhtError: the step made no progress, and whose turn it is.
    """
    return _PERFORMERS[step](visit, house, now)
