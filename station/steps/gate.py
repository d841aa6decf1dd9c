"""Gate: may what the run left behind leave the station?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from security.archive import content_of, members_of
from security.digest import Digest
from security.errors import ArchiveRejected, BudgetExceeded, FileMissing, MalformedStatement, Refused, TrainFault
from security.files import read_file, told, write_file
from security.train.route import Task
from security.train.verify import AcceptedTrain
from station.errors import GateType
from station.gate.anew import move, print_anew, put_back, stay
from station.gate.inspect import DeclaredFile, Inspected, inspect
from station.gate.port import Clear, Hold
from station.house.house import House
from station.house.trust import trust_or_at_hand
from station.house.workroom import Workroom
from station.steps.evidence import verified
from station.steps.sums import masked_pieces
from station.visit.events import Cleared, Held, HoldFor
from station.visit.parts import ClearedFile
from station.visit.state import Visit

FINISHED: Final = "finished"


def perform(visit: Visit, house: House, now: datetime) -> Cleared | Held:
    """Print anew what the run left, let the gate judge it, and a person where one of its rules wants that.

    Raises:
        GateRefused: which rule is broken; or what a person released is not what the run left.
        NoResults: nothing was left behind.
        RoomMissing: the machine went down before what was left had been judged, or took some of that with it.
    """
    accepted = verified(visit, house, trust_or_at_hand(house, now), now)
    room = house.workrooms.find(visit.arrival)
    finished = says_finished(room, accepted)
    before = judged_in(room)
    try:
        found, content = judge(visit, accepted, house)
    except (Refused, TrainFault):
        house.workrooms.need_laid_out(visit.arrival)  # or it is not the run's fault
        raise
    if content != before:
        house.workrooms.need_laid_out(visit.arrival)  # files that had not reached the disk are cut short, or empty
    write_file(room.judged, content.encode())
    match found.verdict:
        case Clear(cost=cost):
            return Cleared(at=now, by="gate", files=cleared_files(found.files), cost=cost, finished=finished)
        case Hold(reason=reason, cost=cost):
            approval = visit.approved_for(HoldFor.RELEASE, reason)
            if approval is None:
                return Held(at=now, hold=HoldFor.RELEASE, reason=reason)
            if content != before:
                msg = "the state is not what was shown to the person who released it"
                raise GateType(msg)
            return Cleared(at=now, by=approval.by, files=cleared_files(found.files), cost=cost, finished=finished)


def says_finished(room: Workroom, accepted: AcceptedTrain) -> bool:
    """Take the file by which the run of a combination says that the train goes home out of its state, if it left it.

    It says that by being there: it is empty, and is no part of the results.
    """
    left = room.state / FINISHED
    if accepted.manifest.value.route.task(accepted.stop) is not Task.COMBINE:
        return False
    with told(room.path):
        if left.is_file() and not left.is_symlink() and not left.stat().st_size:
            left.rename(room.finished)
        return room.finished.exists()


def judge(visit: Visit, accepted: AcceptedTrain, house: House) -> tuple[Inspected, Digest]:
    """Print anew, and have judged, what the run left; return also the digest of what was judged.

    What lies printed as it was noted is not printed again: a person was shown it. A room sees one run, so it is of that.

    Raises:
        GateRefused, NoResults: see `perform`.
    """
    room, manifest = house.workrooms.find(visit.arrival), accepted.manifest.value.at_stop(accepted.stop)
    noted = judged_in(room)
    if noted is None or _content(room) != noted:
        print_outputs(visit, accepted, house)
    found, content = inspect(room.outgoing, manifest, house.gate), _content(room)
    if content is None:
        msg = "the state changed while it was judged"
        raise GateType(msg)
    return found, content


def print_outputs(visit: Visit, accepted: AcceptedTrain, house: House) -> None:
    """Print anew what the run left; what is declared as a sum as a masked vector.

    Raises:
        GateRefused: see `print_anew`.
        SumRejected, PassGone: see `masked_pieces`.
    """
    room, manifest = house.workrooms.find(visit.arrival), accepted.manifest.value.at_stop(accepted.stop)
    put_back(room.state, manifest, room.outgoing)
    # A sealed run is over with its first process: the kernel ends the others before it tells.
    take = move if house.sandbox.sealed else stay
    print_anew(
        room.state,
        manifest,
        house.workrooms.outgoing(visit.arrival),
        lambda member, output, _: masked_pieces(member, output, accepted, house, room),
        take,
    )


def judged_in(room: Workroom) -> Digest | None:
    """Return the digest of what was judged. It lies among the plaintext only: from a digest a small count can be guessed."""
    try:
        return Digest(read_file(room.judged, limit=100).decode("ascii", "replace"))
    except (FileMissing, MalformedStatement):
        return None


def cleared_files(files: Sequence[DeclaredFile]) -> tuple[ClearedFile, ...]:
    """Return what the journal keeps of each file: its declaration and size, not its name, which may hold data."""
    return tuple(ClearedFile(path=one.declared, size=one.member.size) for one in files)


def _content(room: Workroom) -> Digest | None:
    """Return the digest of what lies printed; None if it cannot be read. The cause would name a path, which the run chose."""
    try:
        return content_of(members_of(room.outgoing))
    except (ArchiveRejected, BudgetExceeded, FileMissing):
        return None
