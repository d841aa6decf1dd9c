"""Furnish: are the data sets that the train asks for where its run can read them?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

from security.encoding import dump_json, parse_json
from security.errors import FileMissing, MalformedJson
from security.files import read_file, told, write_note
from security.train.manifest import DataNeed
from security.train.verify import AcceptedTrain
from station.admission.policy import MISSING
from station.data.port import Asked, DataSet, Reader
from station.errors import DataSourceUnavailable, PolicyRefused, RoomMissing
from station.house.house import House
from station.house.workroom import Workroom
from station.sandbox.folder import hand_over
from station.sandbox.order import run_user
from station.steps.evidence import verified
from station.visit.events import Furnished, Held, HoldFor
from station.visit.state import Visit

_MEBI: Final = 1 << 20


def perform(visit: Visit, house: House, now: datetime) -> Furnished:
    """Ask each source for what the train wants of it, and note in the room where it is. Of a part, nothing is left.

    Raises:
        RoomMissing: the workroom is gone.
        PolicyRefused: a data set is no longer offered here.
        DataSourceUnavailable, DataClosed, DataUnfit: a data set cannot be read, or not by a run, or files of it have gone; the train waits.
        CohortTooSmall: the train asks for fewer patients than it may see.
        DataCrowded, DataTooLarge, DiskFull: copies do not fit onto the disk. What was copied is removed, and the train waits.
    """
    accepted = verified(visit, house, house.trust(now), now)
    needs = accepted.manifest.value.at_stop(accepted.stop).data
    uid, gid = run_user(os.geteuid(), os.getegid())
    reader = Reader(uid=uid, gid=gid) if house.sandbox.sealed else None
    places: dict[str, Path] = {}
    furnished = []
    copied = 0
    owner = accepted.manifest.value.owner.party
    with ExitStack() as undone, house.copies.copying(visit, owner, house.journal.going_on) as space:
        for need in needs:
            undone.callback(house.workrooms.room_for, need.name, visit.arrival)
        for need in needs:
            source = offered(need.name, house).source
            if (gone := source.missing(need)) and not _told_of_missing(visit, accepted, house):
                msg = "files that the train expects are not there any more"
                hint = "is the disk with the data set mounted?"
                raise DataSourceUnavailable(msg, data=need.name, missing=", ".join(gone)[:200], hint=hint)
            into = house.workrooms.room_for(need.name, visit.arrival)
            with house.workrooms.scratch(visit.arrival) as scratch:
                asked = Asked(need=need, train=accepted.train, reader=reader, space=space)
                delivered = source.furnish(asked, into, scratch)
            copied += _size(into)
            space.keep(copied)
            places[need.name] = delivered.folder
            hand_over(into, uid, gid)
            furnished.append(delivered.record)
        undone.pop_all()
    note = dump_json({name: str(place) for name, place in places.items()})
    write_note(house.workrooms.find(visit.arrival).furnished, note)
    return Furnished(at=now, data=tuple(furnished), disk_bytes=copied)


def _told_of_missing(visit: Visit, accepted: AcceptedTrain, house: House) -> bool:
    """Whether a person let the train in who was told that files are missing: when it came, or when it boarded."""
    boarding = accepted.manifest.value.route.boarding(house.party)
    boarded = None if boarding is None else house.journal.accepted(accepted.train, boarding)
    asked = [one for each in (visit, boarded) if each is not None for one in each.events if isinstance(one, Held)]
    return any(one.hold is HoldFor.ADMISSION and MISSING in one.reason for one in asked)


def _size(folder: Path) -> int:
    """Return how many bytes there are in a folder: whole mebibytes, as the exact number is nobody's business later."""
    with told(folder):
        found = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return -(-found // _MEBI) * _MEBI


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
