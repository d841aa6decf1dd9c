"""Fetch: how does a train get into the spool without filling it with unverified data?

Where several stops send to this one, what they sent lies in the mailbox in parts. The visit is that of the first; the others
are asked for by name, and the train waits until all of them are here. A part that is none is not the train's fault: who may
write to a mailbox can put anything there (attack T13).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from registry.depot import Arrival
from registry.errors import NotInRegistry, RegistryMisbehaved
from registry.taken import Taken, keep_letters
from security.directory.trust import TrustStore
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    JourneyIncomplete,
    KeyNotTrusted,
    KeyOutsideValidity,
    NotARecipient,
    Refused,
    Replayed,
)
from security.ids import TrainId
from security.statement.envelope import Verified
from security.train.journey import StateRef, check_entry, read_entry
from security.train.letters import (
    OpenedParcel,
    Parcel,
    check_entry_readers,
    check_readers,
    check_room,
    joined,
    open_parcel,
)
from security.train.manifest import CodeRef, TrainManifest, read_manifest, train_id
from security.train.verify import AcceptedTrain, check_state_size, need_valid, stop_meant, verify_manifest
from station.errors import PartsMissing
from station.house.house import House
from station.house.proofs import Proof
from station.house.trust import newest_trust
from station.steps.admit import refused_unseen
from station.steps.evidence import arrival_of, believe, opened, print_envelopes
from station.steps.gathered import news, stop_of, whole_journey
from station.steps.recall import recalled, seen_recall
from station.visit.events import Blob, Fetched
from station.visit.parts import plain
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Fetched | None:
    """Fetch the letters, open and verify them, then fetch code and state (attack T17).

    What the policy refuses by its manifest alone is fetched without them, and so is what waits for parts and was recalled: it goes
    on to ADMIT, where its owner is known and is told. None is as before: the same parts are missing.

    Raises:
        Refused: the train does not verify, or is none.
        PartsMissing: other stops have not sent their part yet.
        RegistryMisbehaved: the registry gave other bytes than it announced; that is not the train's fault.
    """
    trust = house.trust(now)
    arrivals = [arrival_of(visit, house)]
    with _its_own_fault(visit):
        takens = [house.depot.letters(arrivals[0], house.mailbox.take_manifest(visit.arrival), house.spool)]
    parcel = takens[0].parcel
    check_room(parcel)
    found = opened(parcel, house, trust, now)
    claimed = read_manifest(found.manifest.envelope.payload)
    stop = _stop(found, claimed, house)
    if len(claimed.route.before(stop)) > 1:
        manifest = verify_manifest(found.manifest.envelope, trust, at=now)  # before anything is asked for in its name
        gathered = _Gathered(manifest=manifest, stop=stop, house=house, trust=trust, now=now)
        gathered.look()
        if gathered.missing:
            if _says_otherwise(manifest, stop, found, house):
                gathered.check_first(takens[0])
                event = _fetched(parcel, found, house, now)
                wanted = refused_unseen(manifest.value.at_stop(stop), trust, house) is None
                return (
                    _with_sealed(event, parcel, visit, house, zip(arrivals, takens, strict=True)) if wanted else event
                )
            recall = seen_recall(train_id(manifest), manifest.value, house, now)
            if recall is not None:
                gathered.check_first(takens[0])
                return _fetched(parcel, found, house, now, recalled=str(recalled(recall)))
            need_valid(manifest.value, trust, now)
            _wait(visit, gathered)
            return None
        arrivals, takens = [*arrivals, *gathered.arrivals], [*takens, *gathered.takens]
        parcel = joined([one.parcel for one in takens], [one.identity for one in house.keyring])
        check_room(parcel)
        found = opened(parcel, house, trust, now)
    known, accepted = _believed(found, house, trust, now)
    check_readers(found, accepted)
    wanted = refused_unseen(accepted.manifest.value.at_stop(accepted.stop), known, house) is None
    event = _fetched(parcel, found, house, now)
    if wanted:
        event = _with_sealed(event, parcel, visit, house, zip(arrivals, takens, strict=True))
    proof = Proof(parts=event.parts.digest, envelopes=event.documents[0].digest, trust=known, accepted=accepted)
    house.proofs.note(visit.arrival, proof)
    return event


def _fetched(parcel: Parcel, found: OpenedParcel, house: House, now: datetime, *, recalled: str = "") -> Fetched:
    """Keep the letters, and what was in them."""
    kept, envelopes = keep_letters(parcel, house.spool), print_envelopes(found.parts)
    return Fetched(
        at=now,
        letters=(
            Blob(digest=kept.manifest.digest, size=len(kept.manifest.raw)),
            *(Blob(digest=one, size=len(raw)) for one, raw in kept.documents.items()),
        ),
        documents=(Blob(digest=house.spool.keep(envelopes), size=len(envelopes)),),
        sealed=(),
        recalled=recalled,
    )


def _with_sealed(
    event: Fetched, parcel: Parcel, visit: Visit, house: House, came: Iterable[tuple[Arrival, Taken]]
) -> Fetched:
    """Fetch code and states as well."""
    with _its_own_fault(visit):
        for arrival, taken in came:
            house.depot.fetch(arrival, taken, house.spool)
    sealed: tuple[CodeRef | StateRef, ...] = (parcel.code, *parcel.states)
    return replace(event, sealed=tuple(Blob(digest=one.digest, size=one.size) for one in sealed))


def take_again(visit: Visit, house: House, *, wanted: bool) -> Parcel:
    """Fetch what arrived once more, all of it, and put it together; code and states too if they are `wanted`.

    Nothing is verified: whoever asks knows the digests of what it wants.

    Raises:
        NotInRegistry: a part of it is not there any more.
        Refused, NotARecipient: what is there is not what it was.
    """
    arrivals = [arrival_of(visit, house)]
    takens = [house.depot.letters(arrivals[0])]
    parcel = takens[0].parcel
    opened = open_parcel(parcel, [one.identity for one in house.keyring])
    head = opened.manifest.envelope
    claimed, train = read_manifest(head.payload), TrainId(head.digest.hex)
    stop = _stop(opened, claimed, house)
    recalled_before = visit.fetched is not None and visit.fetched.recalled
    for sender in () if recalled_before else claimed.route.before(stop)[1:]:
        part = house.depot.part(house.party, train, stop, sender)
        if part is None:
            msg = "a part of the train is not in the mailbox any more"
            raise NotInRegistry(msg, visit=visit.arrival.short)
        arrivals.append(part)
        takens.append(house.depot.letters(part))
    if len(takens) > 1:
        parcel = joined([one.parcel for one in takens], [one.identity for one in house.keyring])
    keep_letters(parcel, house.spool)
    for arrival, taken in zip(arrivals, takens, strict=True) if wanted else ():
        house.depot.fetch(arrival, taken, house.spool)
    return parcel


@contextmanager
def _its_own_fault(visit: Visit) -> Iterator[None]:
    """Tell other bytes than were announced from a train that is refused."""
    try:
        yield
    except (DigestMismatch, BudgetExceeded) as error:
        msg = "the registry gave other bytes than it announced"
        raise RegistryMisbehaved(msg, visit=visit.arrival.short) from error


def _stop(found: OpenedParcel, claimed: TrainManifest, house: House) -> int:
    """Return which of our stops what came leads to, as far as it is believed."""
    claims = [read_entry(one.envelope.payload).stop for one in found.entries]
    stop = stop_of(claimed.route, claims, house)
    return stop_meant(claimed, len(claims), house.party) if stop is None else stop


def _believed(found: OpenedParcel, house: House, trust: TrustStore, now: datetime) -> tuple[TrustStore, AcceptedTrain]:
    parts = found.parts
    parts = replace(parts, entries=whole_journey(parts.manifest, parts.entries, house))
    try:
        return trust, believe(parts, house, trust, now)
    except (KeyNotTrusted, KeyOutsideValidity, BaseNotApproved):
        # It may have been published since we looked: a refusal is for good, and our haste is not its fault.
        known = newest_trust(house, now)
        return known, believe(parts, house, known, now)


class _Gathered:
    """The parts that other stops than the first send to one, as far as they are here."""

    def __init__(
        self, *, manifest: Verified[TrainManifest], stop: int, house: House, trust: TrustStore, now: datetime
    ) -> None:
        self._manifest, self._stop, self._house, self._trust, self._now = manifest, stop, house, trust, now
        self.arrivals: list[Arrival] = []
        self.takens: list[Taken] = []
        self.missing: list[str] = []

    def look(self) -> None:
        """Ask for the parts in their order, until one is missing: the others are asked for when it is here."""
        route = self._manifest.value.route
        for sender in route.before(self._stop)[1:]:
            party = route.stop(sender).party
            arrival = self._house.depot.part(self._house.party, train_id(self._manifest), self._stop, sender)
            if arrival is None:
                self.missing.append(party)
                return
            try:
                taken = self._house.depot.letters(arrival, here=self._house.spool)
                self._check(taken, sender)
            except (Refused, NotARecipient) as error:
                self.missing.append(f"{party} (what lies here in its place is not its part: {error.code})")
                return
            self.arrivals.append(arrival)
            self.takens.append(taken)

    @property
    def waited(self) -> PartsMissing:
        """What is waited for, and by which train."""
        msg, place = "the train waits for what another station sends", self._manifest.value.route.told(self._stop)
        train, missing = train_id(self._manifest).short, ", ".join(self.missing)
        return PartsMissing(msg, train=train, place=place, waiting_for=missing)

    def check_first(self, taken: Taken) -> None:
        """Demand of what came first what is demanded of the other parts; see `_check`."""
        self._check(taken, self._manifest.value.route.before(self._stop)[0])

    def _check(self, taken: Taken, sender: int) -> None:
        """Demand that a part is what the stop that sends it signed for: with as many entries as its way has, the state its own names, and the code.

        What is put together is verified as a whole, and refused for good. Nobody who can write to a mailbox, and takes letters
        apart that they cannot read, may bring that about.

        Raises:
            Refused, NotARecipient: it is not.
        """
        check_room(taken.parcel)
        manifest, parcel = self._manifest.value, taken.parcel
        way = {*manifest.route.ancestors(sender), sender} & news(manifest.route, self._stop)
        opened = open_parcel(parcel, [one.identity for one in self._house.keyring]).entries
        claims = [read_entry(one.envelope.payload).stop for one in opened]
        if claims != sorted(way) or len(parcel.states) != 1:
            msg = "a part of the train does not bring the entries of its way"
            raise JourneyIncomplete(msg, place=manifest.route.told(sender), entries=len(claims), expected=len(way))
        letter = opened[-1]
        entry = check_entry(self._manifest, letter.envelope, sender, self._trust, now=self._now).value
        check_entry_readers(letter, manifest, sender)
        (state,) = parcel.states
        if state.digest != entry.state_out or parcel.code != manifest.code:
            msg = "a part of a train brings another state or code than was signed for"
            raise DigestMismatch(msg, place=manifest.route.told(sender))
        check_state_size(state, manifest)


def _says_otherwise(manifest: Verified[TrainManifest], stop: int, found: OpenedParcel, house: House) -> bool:
    """Whether a part has come, alone, of a train that has been at this stop, with another statement than was taken then.

    It is kept as it is: nothing is waited for, VERIFY refuses it, and two statements of one station are evidence against it.

    Raises:
        Replayed: it is the part that was taken.
    """
    train = train_id(manifest)
    before = house.journal.accepted(train, stop)
    if before is None or before.accepted is None:
        return False
    if found.entries and found.entries[-1].envelope.digest in before.accepted.previous:
        msg = "the train has been at this stop"
        raise Replayed(msg, train=train.short, place=manifest.value.route.told(stop))
    return True


def _wait(visit: Visit, gathered: _Gathered) -> None:
    """Wait for parts: this is told once, and looked at again and again.

    Raises:
        PartsMissing: others are missing than were before.
    """
    error = gathered.waited
    before = visit.stumbled
    if before is None or (before.code, before.reason) != (error.code, plain(str(error))):
        raise error
