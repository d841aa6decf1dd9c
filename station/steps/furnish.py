"""Furnish: are the data sets that the train asks for where its run can read them?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from security.encoding import dump_json, parse_json
from security.errors import FileMissing, MalformedJson
from security.files import read_file, write_note
from security.train.manifest import DataNeed
from station.data.port import Asked, DataSet, Reader
from station.errors import PolicyRefused, RoomMissing
from station.house.house import House
from station.house.workroom import Workroom
from station.sandbox.folder import hand_over
from station.sandbox.order import run_user
from station.steps.evidence import verified
from station.visit.events import Furnished
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Furnished:
    """Ask each source for what the train wants of it, and note in the room where it is.

    Raises:
        RoomMissing: the workroom is gone.
        PolicyRefused: a data set is no longer offered here.
        DataSourceUnavailable, DataClosed, DataUnfit: a data set cannot be read, or not by a run; the train waits.
        CohortTooSmall: the train asks for fewer patients than it may see.
    """
    accepted = verified(visit, house, house.trust(now), now)
    needs = accepted.manifest.value.at_stop(accepted.stop).data
    uid, gid = run_user(os.geteuid(), os.getegid())
    reader = Reader(uid=uid, gid=gid) if house.sandbox.sealed else None
    places: dict[str, Path] = {}
    furnished = []
    for need in needs:
        source = offered(need.name, house).source
        into = house.workrooms.room_for(need.name, visit.arrival)
        with house.workrooms.scratch(visit.arrival) as scratch:
            delivered = source.furnish(Asked(need=need, train=accepted.train, reader=reader), into, scratch)
        places[need.name] = delivered.folder
        hand_over(into, uid, gid)
        furnished.append(delivered.record)
    note = dump_json({name: str(place) for name, place in places.items()})
    write_note(house.workrooms.find(visit.arrival).furnished, note)
    return Furnished(at=now, data=tuple(furnished))


def furnished_in(room: Workroom, needs: Sequence[DataNeed], house: House) -> Mapping[str, Path]:
    """Return where the data sets of a furnished room are.

    Raises:
        PolicyRefused: a data set is no longer offered here.
        RoomMissing: the room does not say; the train is opened and furnished again.
    """
    try:
        noted = parse_json(read_file(room.furnished))
    except (FileMissing, MalformedJson):
        noted = None
    places: dict[str, Path] = {}
    for need in needs:
        offered(need.name, house)
        place = noted.get(need.name) if isinstance(noted, dict) else None
        if not isinstance(place, str):
            msg = "the workroom does not say where a data set is"
            raise RoomMissing(msg, data=need.name)
        places[need.name] = Path(place)
    return places


def offered(name: str, house: House) -> DataSet:
    """Return a data set of this station.

    Raises:
        PolicyRefused: there is none of this name.
    """
    found = house.data.get(name)
    if found is None:
        msg = "this station has no such data set"
        raise PolicyRefused(msg, data=name)
    return found
