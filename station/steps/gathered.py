"""What does this station know of a train's journey from its earlier stops here, and what need not be sent to it again?

A train that comes back brings the entries since it was last here. The others are in the spool, where the visits of its earlier stops
left them; together they are the whole journey, and it is verified as a whole. So a round costs what the first round cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from security.errors import JourneyForeignEntry, JourneyUnlinked, PhtError
from security.ids import TrainId
from security.statement.envelope import Envelope, parse_envelope
from security.train.journey import read_entry
from security.train.letters import MAX_ENTRY, MAX_ENTRY_LETTER
from security.train.manifest import read_manifest
from security.train.route import Route
from station.errors import SpoolDamaged
from station.house.house import House
from station.visit.events import SignedKind
from station.visit.state import Visit


def whole_journey(head: Envelope, entries: Sequence[Envelope], house: House) -> tuple[Envelope, ...]:
    """Return the entries of a journey that came with a train, with those before them that this station has; in their order.

    Nothing in them is believed: whether they are what they must be is verified afterwards.

    Raises:
        MalformedStatement: there is something other than journey entries.
        JourneyUnlinked: an entry is another than the one this station knows about the same stop.
        SpoolDamaged: what an earlier visit left is not there any more as it was.
    """
    manifest, train = read_manifest(head.payload), TrainId(head.digest.hex)
    stop = stop_of(manifest.route, [read_entry(one.payload).stop for one in entries], house)
    known: dict[int, Envelope] = {}
    for one in () if stop is None else _stops_before(manifest.route, stop, house):
        known |= house.proofs.left(train, one, partial(_left_at, train, one, house))
    if not known:
        return tuple(entries)
    for envelope in entries:
        about = read_entry(envelope.payload).stop
        if known.get(about, envelope).digest != envelope.digest and manifest.route.stop(about).party != house.party:
            msg = "journey entry is another than the one this station knows about that stop"
            raise JourneyUnlinked(msg, train=train.short, place=manifest.route.told(about))
        known[about] = envelope  # an entry in our own name that is not ours is told to the owner: see `admit`
    return tuple(known[one] for one in sorted(known))


def stop_of(route: Route, claims: Sequence[int], house: House) -> int | None:
    """Return which of our stops entries about these stops lead to, as far as they are believed; None if to none.

    Raises:
        JourneyForeignEntry: the route has no such stop.
    """
    if not claims:
        return None
    if max(claims) >= len(route):
        msg = "journey entry is about a stop that the route does not have"
        raise JourneyForeignEntry(msg, place=route.told(max(claims)))
    ours = set(route.of(house.party))
    return next((one for one in route.after(max(claims)) if one in ours), None)


def letters_here(
    visit: Visit, route: Route, held: Mapping[int, bytes], wanted: Collection[int], house: House
) -> Mapping[int, bytes]:
    """Return the letters with the entries of a journey about the `wanted` stops, and maybe others, by stop.

    Those that are not `held` are read from the newest stop here back, as far as needed: what goes on to a next stop is with the last.

    Raises:
        SpoolDamaged: what a visit left is not there any more as it was.
    """
    accepted = visit.accepted
    if accepted is None:
        msg = "nothing was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    found = dict(held)
    before = iter(reversed(_stops_before(route, accepted.stop, house)))
    while not found.keys() >= set(wanted) and (stop := next(before, None)) is not None:
        earlier = _over(accepted.train, stop, house)
        if earlier is not None and earlier.signed is not None:
            letter = house.spool.document(earlier.signed.letter, limit=MAX_ENTRY_LETTER)
            found = {**letters_of(earlier, _came_in(earlier, house), house), stop: letter, **found}
    return found


def letters_of(visit: Visit, letters: Sequence[bytes], house: House) -> Mapping[int, bytes]:
    """Return the letters that came with an arrival, by the stop that each is about."""
    envelopes = came_with(visit, house)[1:]
    return {read_entry(one.payload).stop: letter for one, letter in zip(envelopes, letters, strict=True)}


def _came_in(visit: Visit, house: House) -> Sequence[bytes]:
    try:
        return () if visit.fetched is None else house.depot.load(visit.fetched.parts.digest, house.spool).entries
    except PhtError as error:
        raise _left_nothing(visit) from error


def news(route: Route, stop: int) -> frozenset[int]:
    """Return the stops whose entries have to be sent to a stop, or home: its party has the others from its last stop.

    What came before that stop is known there. What it signed then is sent back to it, a pass above all: that nobody signs in its
    name is for it to see. Once it has boarded, an entry that hangs on its own says as much: it names that by its digest.
    """
    way = frozenset(route.ancestors(stop))
    if stop == route.home:
        return way
    party = route.stop(stop).party
    mine = [one for one in route.of(party) if one in way]
    if not mine:
        return way
    last, known = mine[-1], frozenset(route.ancestors(mine[-1]))
    sent_back = route.boarding(party) in {None, last} or last in route.before(stop)
    return way - (known if sent_back else known | {last})


def has_boarded(route: Route, stop: int) -> bool:
    """Whether the party of a stop has manifest and code already: it boarded the train, and that has departed."""
    return stop != route.home and route.leg(stop) is not None and route.boarding(route.stop(stop).party) is not None


def came_with(visit: Visit, house: House) -> tuple[Envelope, ...]:
    """Return the envelopes that came with an arrival, from the spool: the manifest's first."""
    if visit.fetched is None:
        msg = "nothing was fetched"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    (blob,) = visit.fetched.documents
    return tuple(parse_envelope(line) for line in house.spool.document(blob.digest, limit=blob.size).split(b"\n"))


def envelopes_of(visit: Visit, house: House) -> Iterator[Envelope]:
    """Yield the entries that came with a visit that is over, and the one that it signed."""
    try:
        yield from came_with(visit, house)[1:]
        if visit.signed is not None:
            yield parse_envelope(house.spool.document(visit.signed.envelope, limit=MAX_ENTRY))
    except PhtError as error:
        raise _left_nothing(visit) from error


def _left_nothing(visit: Visit) -> SpoolDamaged:
    msg = "what an earlier visit of this train left is no longer in the spool"
    return SpoolDamaged(msg, visit=visit.arrival.short)


def _left_at(train: TrainId, stop: int, house: House) -> Mapping[int, Envelope] | None:
    visit = _over(train, stop, house)
    return None if visit is None else {read_entry(one.payload).stop: one for one in envelopes_of(visit, house)}


def _over(train: TrainId, stop: int, house: House) -> Visit | None:
    """Return the visit of a stop of ours that has passed."""
    visit = house.journal.accepted(train, stop)
    passed = visit is not None and visit.signed is not None and visit.signed.what is SignedKind.ENTRY
    return visit if passed else None


def _stops_before(route: Route, stop: int, house: House) -> tuple[int, ...]:
    """Return our stops on the way to one, in their order."""
    way = frozenset(route.ancestors(stop))
    return tuple(one for one in route.of(house.party) if one in way)
