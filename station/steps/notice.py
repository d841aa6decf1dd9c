"""What lies in our mailbox that we have not seen?

Whoever may write to the mailbox decides how much lies there, and must not decide how long a train waits (attack T17). A
look resolves a bounded number of tags. A few new arrivals are begun as they come; of many, those that verify are, and the
others a few at a time: each is looked into once, and leaves a record, but none stands before a train.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from registry.depot import Arrival, Waiting, train_tag
from registry.errors import NotInRegistry, RegistryTooLong
from registry.names import Tag
from registry.oci import MAX_MANIFEST
from security.directory.trust import TrustStore
from security.errors import DiskFull, Malformed, NotARecipient, PhtError, Refused, Unavailable
from security.train.letters import open_manifest
from security.train.manifest import train_id
from security.train.verify import verify_manifest
from station.errors import JournalDamaged, JournalRaced
from station.house.house import House
from station.steps.admit import refused_unseen
from station.steps.finished import let_go
from station.steps.recall import end_recalled
from station.visit.events import ArrivalId, Noticed
from station.visit.station_events import Redelivered

FEW: Final = 16
"""Visits that may be in their first steps at once without anybody knowing yet whether they are a train."""
_MOST_DOUBTFUL: Final = 4 * FEW
"""The same, with those that wait for something: a registry that has not their blobs, a directory."""
_MOST_READ: Final = 64 << 20
"""Bytes of documents that one look reads to tell trains from others: half of it what was put off before, then the small ones first."""
_MOST_NAMED: Final = 32 << 20
"""Bytes of manifests that one look reads, of whatever size. After these it reads such as are `_LITTLE`."""
_LITTLE: Final = 64 << 10
"""Bytes of a manifest that is read whatever was read before: no larger one stands before it."""


def notice(house: House, now: datetime) -> tuple[ArrivalId, ...]:
    """Begin visits for new arrivals; return the new visits.

    What a finished visit was about is taken out of the mailbox when it lies there again (attack T6): a visit happens
    once, and the journal records the attempt.

    An arrival that cannot be read, or cannot be removed, does not keep others from being noticed. A registry that brings
    the same arrival back again and again causes one record.

    Raises:
        RegistryUnavailable, RegistryDenied, RegistryMisbehaved: the mailbox cannot be read, or one arrival in it not.
    """
    tags, others = house.depot.all_tags(house.party)
    memory, left = house.mailbox, _MOST_NAMED
    memory.recalls = others
    end_recalled(others, house, now)
    let_go(others, house, now)
    look = _Look(house, now)
    for tag in memory.choose(tags, look.accepted):
        known = memory.seen.get(tag)
        memory.looked_at(tag)
        try:
            found = house.depot.look_up(house.party, tag, most=min(MAX_MANIFEST, max(left, _LITTLE)))
        except RegistryTooLong:  # its turn comes, in another look
            memory.put_off(tag, known)
            left = 0
            continue
        except Unavailable as error:  # what was found is begun; the next look begins with others
            look.trouble = error
            break
        if found is not None:
            memory.looked_at(tag, found.arrival.digest)
            left -= len(found.stored.raw)
            look.take(found)
    begun = look.begin()
    if look.trouble is not None and not begun:
        raise look.trouble
    return begun


def notice_expected(house: House, tags: Sequence[Tag], now: datetime) -> tuple[ArrivalId, ...]:
    """Begin visits for arrivals that are asked for by name; see `notice`."""
    look, memory = _Look(house, now), house.mailbox
    for tag in tags:
        found = house.depot.look_up(house.party, tag)
        if found is not None:
            house.expected.seen(tag)
            memory.looked_at(tag, found.arrival.digest)
            look.take(found)
    begun = look.begin()
    if look.trouble is not None and not begun:
        raise look.trouble
    return begun


class _Look:
    """One look into the mailbox: what is new in it, and what came of that."""

    def __init__(self, house: House, now: datetime) -> None:
        self._house, self._now = house, now
        self._begun_after = house.journal.head().sequence
        going = house.journal.going_on()
        self.accepted = frozenset(visit.arrival for visit in going if visit.accepted is not None)
        self._known = {visit.arrival for visit in going}
        self._new: list[Waiting] = []
        self.trouble: PhtError | None = None

    def take(self, found: Waiting) -> None:
        """Put an arrival down as new; take it out of the mailbox if a visit of it is over."""
        arrival = found.arrival
        if arrival.digest in self._known:
            return
        self._known.add(arrival.digest)
        try:
            visit = self._house.journal.find(arrival.digest)
            if visit is None:
                self._new.append(found)
            elif visit.departed is not None and not self._left_meanwhile(arrival.digest):
                _take_out(arrival, self._house, self._now)
        except (JournalDamaged, DiskFull):
            raise
        except PhtError as error:
            self.trouble = self.trouble or error

    def _left_meanwhile(self, arrival: ArrivalId) -> bool:
        """Whether a visit, begun by another look beside this one, has departed since this look began: it was seen before that."""
        journal = self._house.journal
        return arrival in journal.finished(after=self._begun_after, until=journal.head().sequence)

    def begin(self) -> tuple[ArrivalId, ...]:
        """Begin what is a train, and of what may be one as many as there is room for."""
        if not self._new:
            return ()
        memory, room = self._house.mailbox, self._room()
        trains, others = ((), self._new) if len(self._new) <= room else self._told_apart()
        begun = [found.arrival.digest for found in trains if self._begun(found)]
        for found in others[:room]:
            if self._begun(found):
                memory.doubt(found.arrival.digest)
                begun.append(found.arrival.digest)
        return tuple(begun)

    def _room(self) -> int:
        """Return how many more visits may be begun of which nothing is known."""
        journal, memory = self._house.journal, self._house.mailbox
        visits = [journal.visit(arrival) for arrival in memory.still_doubtful(journal.unfinished())]
        unknown = [visit for visit in visits if visit.accepted is None]
        return max(0, min(FEW - sum(not visit.stumbles for visit in unknown), _MOST_DOUBTFUL - len(unknown)))

    def _told_apart(self) -> tuple[Sequence[Waiting], Sequence[Waiting]]:
        """Tell trains for this station, and such as it may admit, from everything else; each is read once."""
        memory, left = self._house.mailbox, _MOST_READ
        trains: list[Waiting] = []
        others: list[Waiting] = []
        try:
            trust = self._house.trust(self._now)
        except PhtError:  # nobody can be told from anybody, and no visit gets further than its first step
            return (), self._new
        memory.judge_with(trust.version)
        others += [found for found in self._new if found.arrival.digest in memory.junk]
        sized = [(self._size(found), found) for found in self._new if found.arrival.digest not in memory.junk]
        for size, found in self._in_turn(sized):
            if size > left:
                memory.put_off(found.arrival.tag)
                continue
            left -= size
            try:
                good = _is_train(found, self._house, trust, self._now)
            except (Refused, NotARecipient, NotInRegistry):
                good = False
            except PhtError as error:  # nothing was learnt of it
                self.trouble = self.trouble or error
                others.append(found)
                continue
            if good:
                trains.append(found)
            else:
                memory.note_junk(found.arrival.digest)
                others.append(found)
        return trains, others

    def _in_turn(self, sized: Sequence[tuple[int, Waiting]]) -> list[tuple[int, Waiting]]:
        """Return what was put off before, as much as half a look reads, and then the others, the small ones first."""
        first, others, left = list[tuple[int, Waiting]](), list[tuple[int, Waiting]](), _MOST_READ // 2
        for size, found in sized:
            if found.arrival.tag in self._house.mailbox.in_turn and size <= left:
                left -= size
                first.append((size, found))
            else:
                others.append((size, found))
        return first + sorted(others, key=lambda one: one[0])

    def _size(self, found: Waiting) -> int:
        """Return the bytes that it takes to tell what this is; of what shows that it is no train, none."""
        try:
            return self._house.depot.claim_size(found)
        except Malformed:
            return 0

    def _begun(self, found: Waiting) -> bool:
        arrival = found.arrival
        noticed = Noticed(at=self._now, arrival=arrival.digest, tag=arrival.tag, size=len(found.stored.raw))
        self._house.mailbox.hold_manifest(found.stored)  # first: it may be fetched as soon as it is recorded
        try:
            self._house.journal.append(arrival.digest, noticed, expect=0)
        except (JournalDamaged, DiskFull):
            raise
        except JournalRaced:  # another look, beside this one, has begun it
            return False
        except PhtError as error:
            self.trouble = self.trouble or error
            return False
        return True


def _is_train(found: Waiting, house: House, trust: TrustStore, now: datetime) -> bool:
    """Return whether an owner signed this train for us.

    Cheap, and not the verification: that comes with the visit.

    Raises:
        Refused, NotInRegistry: nobody whose signature counts did.
    """
    raw = house.depot.claimed_manifest(found, house.spool)
    letter = open_manifest(raw, [keys.identity for keys in house.keyring])
    manifest = verify_manifest(letter.envelope, trust, at=now)
    train = train_id(manifest)
    named = {train_tag(train, house.party, stop) for stop in manifest.value.route.of(house.party)}
    return found.arrival.tag in named and refused_unseen(manifest.value, trust, house) is None


def _take_out(arrival: Arrival, house: House, now: datetime) -> None:
    if not house.journal.was_redelivered(arrival.digest):
        house.journal.note(Redelivered(at=now, arrival=arrival.digest, tag=arrival.tag))
    house.depot.remove(arrival)
