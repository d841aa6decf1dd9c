"""Which steps wait for what, so that those that wait for one thing do not hold up those that wait for another?

A lane has its own workers. Watching runs has a lane to itself: a limit that is broken is seen within a second, whatever
hangs elsewhere. So have the places that hold data, the registry, and what needs only this machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from station.visit.plan import Step


class Lane(StrEnum):
    """What a step may have to wait for."""

    ENGINE = "engine"
    MACHINE = "machine"
    REGISTRY = "registry"
    SOURCE = "source"


LANES: Final[Mapping[Step, Lane]] = MappingProxyType(
    {
        Step.FETCH: Lane.REGISTRY,
        Step.VERIFY: Lane.REGISTRY,  # it asks the owner's mailbox whether this stop was signed for before
        Step.ADMIT: Lane.MACHINE,
        Step.OPEN: Lane.MACHINE,
        Step.FURNISH: Lane.SOURCE,
        Step.START: Lane.REGISTRY,  # the base image may have to be fetched
        Step.COLLECT: Lane.ENGINE,
        Step.GATE: Lane.MACHINE,
        Step.SEAL: Lane.MACHINE,  # what it asks of the directory has an end (`FreshTrust`): it must not queue behind the registry
        Step.WIPE: Lane.MACHINE,
        Step.SIGN: Lane.REGISTRY,  # as for verify
        Step.PUSH: Lane.REGISTRY,
        Step.RECEIPT: Lane.REGISTRY,
        Step.DEPART: Lane.REGISTRY,
    }
)

WORKERS: Final[Mapping[Lane, int]] = MappingProxyType(
    {
        Lane.ENGINE: 2,
        Lane.MACHINE: max(2, len(os.sched_getaffinity(0))),
        Lane.REGISTRY: 8,
        Lane.SOURCE: 2,
    }
)
"""How many steps of a lane go on at once."""
