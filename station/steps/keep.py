"""What does a run leave for the next stop of its train at this station?

Secrets of a protocol of several laps, the state of an optimiser, handles of rows. It is sealed for the key that this station made for
this train, lies beside that key, and opens for nobody once the key is destroyed. It never travels, and no gate looks at it.
"""

from __future__ import annotations

from security.archive import MAX_MEMBERS, Budget, members_of
from security.digest import digest_stream
from security.errors import ArchiveRejected, BudgetExceeded, FileMissing
from security.train.journey import StateRef
from security.train.seal import StateBinding, open_state, seal_state
from security.train.verify import AcceptedTrain
from station.errors import GateType
from station.house.house import House
from station.house.workroom import Workroom


def put_away(room: Workroom, accepted: AcceptedTrain, house: House) -> None:
    """Seal what the run left to be kept, and make it durable; what the stop before left stays, as this one may be opened again.

    What stops before that left is removed: of many rounds no more lies here than of two.

    Raises:
        GateType: there is something other than plain files.
    """
    if accepted.manifest.value.keep_bytes is None:
        return
    secrets = house.passes.find(accepted.train, [one.identity for one in house.keyring])
    try:
        members = members_of(room.keep)
        with house.passes.keeping(accepted.train, accepted.stop) as sink:
            seal_state(
                sink,
                members,
                binding=_binding(accepted, accepted.stop, house),
                recipients=[str(secrets.identity.recipient)],
            )
    except (ArchiveRejected, BudgetExceeded, FileMissing):
        msg = "what is to be kept contains something other than plain files with plain names"
        raise GateType(msg) from None  # the cause names paths, and the run chose those (attack T20)
    for stop in _earlier(accepted, house)[:-1]:
        house.passes.drop_kept(accepted.train, stop)


def take_out(room: Workroom, accepted: AcceptedTrain, house: House) -> None:
    """Put what the last stop of the same task here kept where the run finds it.

    Raises:
        SealForeign, SealBroken, NotARecipient: it is not what was kept then.
    """
    manifest, before = accepted.manifest.value, _earlier(accepted, house)
    if manifest.keep_bytes is None or not before:
        return
    path = house.passes.kept(accepted.train, before[-1])
    if not path.is_file():
        return
    secrets = house.passes.find(accepted.train, [one.identity for one in house.keyring])
    with path.open("rb") as source:
        digest, size = digest_stream(source)
        source.seek(0)
        most = manifest.keep_bytes + (1 << 20)
        open_state(
            source,
            StateRef(digest=digest, size=size),
            binding=_binding(accepted, before[-1], house),
            identities=[secrets.identity],
            into=room.keep,
            budget=Budget(total_bytes=most, member_bytes=most, members=MAX_MEMBERS),
        )


def _earlier(accepted: AcceptedTrain, house: House) -> tuple[int, ...]:
    """Return our stops of the same task before this one, in their order."""
    route, stop = accepted.manifest.value.route, accepted.stop
    return tuple(one for one in route.of(house.party) if one < stop and route.task(one) is route.task(stop))


def _binding(accepted: AcceptedTrain, stop: int, house: House) -> StateBinding:
    """Bind it to the train and the stop, and to us alone: nothing else is taken for it."""
    return StateBinding(
        train=accepted.train,
        stop=stop,
        sender=house.party,
        recipients=(house.party,),
        previous=(accepted.manifest.digest,),
    )
