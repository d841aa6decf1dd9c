"""Trains of rounds under way, made by hand: every entry valid, until a test spoils one of them.

Nothing is sealed: who verifies looks at statements and at digests, and a state is a digest here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from security.digest import digest_of
from security.directory.trust import DirectoryVersion
from security.ids import PartyId
from security.statement.envelope import Envelope, sign
from security.train.boarding import BoardingPass, PassSecrets
from security.train.journey import JourneyEntry, StateRef, TrainParts, print_entry
from security.train.route import Task
from security.train.route_kinds import BoardedRoute, RoundsRoute
from security.train.verify import AcceptedTrain, verify_home, verify_train
from tests.support.rounds import COMBINE, CONTRIBUTE, OUTPUTS, STATIONS
from tests.support.trains import NOW, Consortium, Train, train

A, B, C, JUNCTION, ALICE = map(PartyId, ("hospital-a", "hospital-b", "hospital-c", "junction", "alice"))
BOARD_A, BOARD_B, BOARD_C, BOARD_JUNCTION, DEPARTURE = range(5)
FIRST = {A: 5, B: 6, C: 7, JUNCTION: 8}
SECOND = {A: 9, B: 10, C: 11, JUNCTION: 12}
THIRD = {A: 13, B: 14, C: 15, JUNCTION: 16}
"""The stops of three hospitals and a junction that take part in rounds."""


def state(*of: object) -> StateRef:
    """Return a state that is the same for the same words."""
    return StateRef(digest=digest_of(repr(of).encode()), size=1000)


@dataclass
class Journey:
    """The entries of a train by their stops, and the states that they sent."""

    train: Train
    entries: dict[int, Envelope] = field(default_factory=dict)
    states: dict[int, StateRef] = field(default_factory=dict)
    keys: dict[PartyId, PassSecrets] = field(default_factory=dict)

    @property
    def consortium(self) -> Consortium:
        return self.train.world

    def copy(self) -> Journey:
        return replace(self, entries=dict(self.entries), states=dict(self.states), keys=dict(self.keys))

    def boarding_pass(self, party: PartyId) -> BoardingPass:
        parties = self.train.manifest.route.parties
        later = parties[parties.index(party) + 1 :]
        keys = self.keys.setdefault(party, PassSecrets.generate(self.train.manifest.recipient, later))
        return keys.pass_for({one: self.consortium.secrets[one].key_set.sealing for one in later})

    def entry(self, stop: int) -> JourneyEntry:
        """Return the entry that whoever is at a stop would sign."""
        route = self.train.manifest.route
        before, party = route.before(stop), route.stop(stop).party
        return JourneyEntry(
            train=self.train.id,
            stop=stop,
            attempt=1,
            station=party,
            previous=tuple(self.entries[one].digest for one in before) or (self.train.envelope.digest,),
            states_in=tuple(self.states[one].digest for one in before),
            state_out=state(self.train.id, stop).digest,
            base=self.train.manifest.base,
            directory=DirectoryVersion(root=1, targets=3),
            sandbox="docker-runc-v1",
            time=NOW,
            boarding=self.boarding_pass(party) if route.task(stop) is Task.BOARD else None,
        )

    def sign(self, entry: JourneyEntry, by: PartyId | None = None) -> Envelope:
        return sign(print_entry(entry), self.consortium.secrets[by or entry.station].signers)

    def pass_stop(self, stop: int, *, by: PartyId | None = None, **changes: object) -> None:
        """Do what a station does at a stop; `changes` spoil the entry before it is signed."""
        entry = replace(self.entry(stop), **changes)  # type: ignore[arg-type] # spoiled on purpose
        self.entries[stop] = self.sign(entry, by)
        self.states[stop] = StateRef(digest=entry.state_out, size=1000)

    def travel(self, stops: Iterable[int]) -> Journey:
        for stop in stops:
            self.pass_stop(stop)
        return self

    def to(self, stop: int) -> Journey:
        """Pass every stop that comes before one, unless it has been passed."""
        return self.travel(one for one in self.train.manifest.route.ancestors(stop) if one not in self.entries)

    def parts(self, stop: int) -> TrainParts:
        """Return what arrives at a stop."""
        route = self.train.manifest.route
        return self.made_of(route.ancestors(stop), route.before(stop))

    def home(self, end: int) -> TrainParts:
        """Return what comes home from a combination."""
        return self.made_of((*self.train.manifest.route.ancestors(end), end), (end,))

    def made_of(self, stops: Sequence[int], states: Sequence[int]) -> TrainParts:
        return TrainParts(
            manifest=self.train.envelope,
            entries=tuple(self.entries[one] for one in stops),
            code=self.train.manifest.code,
            states=tuple(self.states[one] for one in states),
        )

    def accepted(self, stop: int) -> AcceptedTrain:
        """Verify the train as it arrives at a stop."""
        here = self.train.manifest.route.stop(stop).party
        return verify_train(self.parts(stop), self.consortium.trust, here=here, now=NOW)

    def at_home(self, end: int) -> AcceptedTrain:
        return verify_home(self.home(end), self.consortium.trust, owner=ALICE, now=NOW)


def journey(parties: Consortium, *, most: int = 3, **changes: object) -> Journey:
    """Begin the journey of a valid train of rounds; `changes` replace fields of the manifest before it is signed."""
    rounds = RoundsRoute(stations=tuple(map(parties.stop, STATIONS)), junction=parties.stop(JUNCTION), most=most)
    fields: dict[str, object] = {"command": CONTRIBUTE, "combine": COMBINE, "outputs": OUTPUTS}
    return Journey(train=train(parties, rounds=BoardedRoute(then=rounds), **(fields | changes)))  # type: ignore[arg-type] # fields of a manifest
