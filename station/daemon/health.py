"""Is a daemon working here, when did it last report, and with which settings did it start?"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from security.digest import Digest
from security.encoding import Fields, dump_pretty, parse_json, print_time
from security.errors import PhtError
from security.files import read_file, write_file
from security.ids import PartyId
from station.visit.plan import phase_of
from station.visit.state import Visit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a daemon last said: `settings` is the digest of its station.yaml, `trouble` are codes of what is in its way."""

    process: int
    turn: datetime
    settings: Digest | None
    trouble: tuple[str, ...]


def say(
    path: Path,
    party: PartyId,
    visits: Collection[Visit],
    troubles: Collection[PhtError],
    *,
    now: datetime,
    version: str,
    settings: Digest | None,
) -> None:
    """Write for monitoring: that the daemon is alive, since when, and what keeps it or a visit from working."""
    codes = {visit.stumbled.code for visit in visits if visit.stumbled} | {one.code for one in troubles}
    told = {
        "party": party,
        "process": os.getpid(),
        "version": version,
        "turn": print_time(now),
        "settings": settings,
        "visits": dict(sorted(Counter(phase_of(visit).value for visit in visits).items())),
        "waiting_for_a_person": sum(visit.held is not None for visit in visits),
        "trouble": sorted(codes),
    }
    try:
        write_file(path, dump_pretty(told), mode=0o644, durable=False)  # a daemon that works says it again at once
    except PhtError as error:  # a full disk must not end the daemon: it goes on when there is room
        log.warning("cannot write the health file", extra={"code": error.code, "reason": str(error)})


def read_health(path: Path) -> Health:
    """Read what `say` left.

    Raises:
        FileMissing: no daemon has written it yet.
        MalformedJson, MalformedStatement: it is something else.
    """
    fields = Fields(parse_json(read_file(path, limit=1 << 20)), path.name)
    settings = fields.take("settings")
    return Health(
        process=fields.number("process", least=1),
        turn=fields.time("turn"),
        settings=Digest(settings) if isinstance(settings, str) else None,
        trouble=fields.texts("trouble"),
    )
