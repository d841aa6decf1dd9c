"""Push: does the next party's mailbox hold the train as we signed it?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from registry.depot import ReceiptKind
from security.digest import digest_of
from security.train.journey import StateRef
from security.train.letters import MAX_ENTRY_LETTER
from security.train.manifest import TrainManifest
from station.errors import SpoolDamaged
from station.house.house import House
from station.steps.evidence import accepted_manifest, parcel_of
from station.steps.gathered import has_boarded, letters_here, letters_of, news
from station.visit.events import Pushed
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Pushed:
    """Send the recorded bytes on, as often as it takes: to everybody who is next, and a state is uploaded once.

    Everybody is sent what they cannot have from their own last stop of the journey, and neither manifest nor code again that they boarded with.

    Raises:
        SpoolDamaged: the spool no longer holds what was recorded; nothing else is sent instead.
    """
    manifest = accepted_manifest(visit, house)
    if visit.accepted is None or visit.sealed is None:
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    ours, parcel = StateRef(digest=visit.sealed.blob, size=visit.sealed.size), parcel_of(visit, house)
    stop, finished = visit.accepted.stop, visit.cleared is not None and visit.cleared.finished
    boarded_with = (digest_of(parcel.manifest), parcel.code.digest)
    near = dict.fromkeys(boarded_with, house.party)
    way = {*manifest.route.ancestors(stop), stop}
    wanted = {one: way & news(manifest.route, one) for one in manifest.route.onward(stop, finished=finished)}
    held = {**letters_of(visit, parcel.entries, house), stop: signed_letter(visit, house)}
    letters = letters_here(visit, manifest.route, held, frozenset().union(*wanted.values()), house)
    head = visit.arrival
    for following, stops in wanted.items():
        to = manifest.expected_at(following).party
        onward = replace(parcel, entries=tuple(letters[one] for one in sorted(stops)), states=(ours,))
        head = house.depot.send(
            onward,
            house.spool,
            to=to,
            train=visit.accepted.train,
            stop=None if following == manifest.route.home else following,
            part=None if stop in manifest.route.before(following)[:1] else stop,
            near=near,
            known=boarded_with if has_boarded(manifest.route, following) else (),
        )
        near |= dict.fromkeys((*boarded_with, ours.digest), to)
    if finished:
        _tell(visit, manifest, letters[stop], house)
    return Pushed(at=now, head=head)


def _tell(visit: Visit, manifest: TrainManifest, letter: bytes, house: House) -> None:
    """Tell the stations that a train has finished which would have come to them again; see `finished`."""
    if visit.accepted is None:
        return
    train, stop = visit.accepted.train, visit.accepted.stop
    for party in manifest.route.parties:
        if party != house.party and manifest.route.of(party)[-1] > stop:
            house.depot.send_receipt(letter, owner=party, train=train, stop=stop, kind=ReceiptKind.ENTRY)


def signed_letter(visit: Visit, house: House) -> bytes:
    """Return the letter with the visit's one signed statement, as recorded.

    Raises:
        SpoolDamaged: it is not there any more.
    """
    if visit.signed is None:
        msg = "nothing was signed"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    return house.spool.document(visit.signed.letter, limit=MAX_ENTRY_LETTER)
