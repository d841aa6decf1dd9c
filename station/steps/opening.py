"""Open: how do code and state come into the workroom?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from security.age import Unwrapper
from security.archive import Budget
from security.digest import Digest
from security.encoding import Json, dump_pretty
from security.errors import NotARecipient, SealRecipients
from security.files import make_folder, write_note
from security.train.journey import StateRef
from security.train.route import Task
from security.train.route_kinds import RoundsRoute
from security.train.seal import CODE_BUDGET, StateBinding, open_code, open_state
from security.train.verify import AcceptedTrain
from station.house.house import House
from station.house.workroom import Workroom
from station.steps.evidence import keys_for, pass_secrets, verified
from station.steps.keep import take_out
from station.steps.sums import add_up, check_shares, take_aside
from station.steps.wipe import containers_of
from station.visit.events import Blob, Opened
from station.visit.state import Visit
from station.visit.station_events import KeyUsed

STATE_FILES: Final = 10_000
"""Files and folders a state may hold, in and out."""
_HEADROOM: Final = 1 << 20


def perform(visit: Visit, house: House, now: datetime) -> Opened:
    """Verify again, and unseal into an emptied room.

    Raises:
        SandboxUnavailable, RunLingers: an attempt that was lost goes on, or whether it does cannot be told now.
        Refused: what is inside a seal is not for this train, stop or station, or is no plain archive.
        WorkroomNotWiped: something of an earlier attempt is left.
    """
    accepted = verified(visit, house, house.trust(now), now)
    ours = keys_for(accepted.manifest.value, accepted.stop, house).key_set.fingerprint
    house.journal.note(KeyUsed(at=now, key_set=ours, purpose=f"open {accepted.train}"))
    if visit.attempt > 1:
        for name in containers_of(visit):
            house.sandbox.remove(
                name
            )  # of attempts that were lost: they may still go on, in the room that is emptied now
    if accepted.passes:
        pass_secrets(accepted, house)  # without them nothing that comes later could be opened
    room = house.workrooms.make(visit.arrival)
    unseal_code(accepted, house, room.code)
    unseal_states(accepted, house, room)
    route = accepted.manifest.value.route
    match route.task(accepted.stop):
        case Task.COMBINE:
            add_up(accepted, room)
        case Task.CONTRIBUTE if not route.round(accepted.stop):
            check_shares(accepted, house)  # they are the same in every round
        case Task.RUN:
            check_shares(accepted, house)
            take_aside(accepted, room)
        case _:
            pass
    take_out(room, accepted, house)
    write_note(room.context, dump_pretty(context(accepted, house)), mode=0o644)
    return Opened(at=now, states_in=accepted.journey.states)


def unseal_code(accepted: AcceptedTrain, house: House, into: Path) -> Digest:
    """Unseal the code into an empty folder; return the digest of its content."""
    ref = accepted.manifest.value.code
    with house.spool.read(Blob(digest=ref.digest, size=ref.size)) as source:
        try:
            return open_code(
                source,
                manifest=accepted.manifest.value,
                identities=[keys_for(accepted.manifest.value, accepted.stop, house).identity],
                into=into,
                budget=CODE_BUDGET,
                stop=accepted.stop,
            )
        except NotARecipient as error:
            raise _not_for_us() from error


def unseal_states(accepted: AcceptedTrain, house: House, room: Workroom) -> None:
    """Unseal what came in: in a sequence into the state folder, in rounds into a folder for each party that sent it."""
    manifest = accepted.manifest.value
    for ref, binding in zip(accepted.states, accepted.received(), strict=True):
        if manifest.route.task(binding.stop) is Task.DEPART:
            continue  # it is empty
        alone = manifest.route.task(accepted.stop) is Task.RUN
        into = room.state if alone else room.incoming / binding.sender
        if not alone:
            make_folder(into)
        _unseal_state(ref, binding, accepted, house, into)


def _opens(accepted: AcceptedTrain, house: House) -> Unwrapper:
    """Return what opens the states that come to a stop: our key for this train, if it was boarded."""
    keys = keys_for(accepted.manifest.value, accepted.stop, house)
    if not accepted.passes:
        return keys.identity
    return pass_secrets(accepted, house).identity


def _unseal_state(ref: StateRef, binding: StateBinding, accepted: AcceptedTrain, house: House, into: Path) -> None:
    manifest = accepted.manifest.value
    most = manifest.limits.output_bytes + _HEADROOM
    budget = Budget(total_bytes=most, member_bytes=most, members=STATE_FILES)
    with house.spool.read(Blob(digest=ref.digest, size=ref.size)) as source:
        try:
            open_state(
                source,
                ref,
                binding=binding,
                identities=[_opens(accepted, house)],
                into=into,
                budget=budget,
            )
        except NotARecipient as error:
            raise _not_for_us() from error


def context(accepted: AcceptedTrain, house: House) -> Json:
    """Return what a run can read about itself."""
    manifest, route = accepted.manifest.value.at_stop(accepted.stop), accepted.manifest.value.route
    legs, rounds = route.legs, dict[str, Json]()
    if isinstance(legs, RoundsRoute):
        rounds = {
            "task": route.task(accepted.stop).value,
            "round": route.round(accepted.stop),
            "rounds": legs.most,
            "stations": [one.party for one in legs.stations],
            "junction": legs.junction.party,
        }
    return {
        "train": manifest.name,
        "stop": route.leg(accepted.stop),
        "stops": len(legs),
        **rounds,
        "station": house.party,
        "data": [
            {"name": need.name, "description": house.data[need.name].description or need.description}
            for need in manifest.data
        ],
    }


def _not_for_us() -> SealRecipients:
    """Name whose fault it is: the directory says which key of ours to seal for, and the sender took another."""
    msg = "sealed for others than the party the directory names"
    return SealRecipients(msg)
