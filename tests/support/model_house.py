"""A station as a model: the real journal, table and fold over a world of effects that can be cut off at every point.

Signing and sealing give other bytes each time, as ECDSA and age do, so that doing either twice shows. A run changes the
state it finds, so that running twice on one room, or on what an earlier attempt left, shows as well.
"""

from __future__ import annotations

import copy
import enum
import itertools
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import datetime

from security.digest import Digest, digest_of
from security.ids import PartyId, TrainId
from station.journal.journal import Journal
from station.journal.sqlite import SqliteLog
from station.visit import plan
from station.visit.events import (
    Accepted,
    Admitted,
    Blob,
    Cleared,
    Departed,
    Ended,
    Fetched,
    Furnished,
    Held,
    HoldFor,
    Noticed,
    Opened,
    Pushed,
    ReceiptSent,
    Refused,
    RunFault,
    Sealed,
    Signed,
    SignedKind,
    Started,
    Superseded,
    VisitEvent,
    Wiped,
)
from station.visit.parts import ClearedFile, FurnishedData
from station.visit.plan import Ask, Do, Next, Over, Phase, Step, Wait, next_step, phase_of
from station.visit.state import Visit
from tests.support.visits import NOW

ARRIVED = b"an oci manifest"
CODE = b"sealed code"
STATE_IN = b"sealed state in"
PLAINTEXT = "in"
ARRIVAL = digest_of(ARRIVED)


class CrashError(BaseException):
    """The process is gone. Not an `Exception`, so that nothing takes it for an error to be handled."""


class Story(enum.Enum):
    """What kind of train it is."""

    GOOD = "good"
    FORGED = "forged"
    UNWANTED = "unwanted"
    FAILING = "failing"
    HELD = "held"
    FORGOTTEN = "forgotten"  # passed once, in a life that the journal, restored from a backup, does not remember
    FORGOTTEN_FAILING = "forgotten-failing"


class Cut(enum.Enum):
    """How the process ends."""

    KILLED = "killed"  # containers go on
    POWER = "power"  # containers are dead, the workroom was on tmpfs
    POWER_DISK = "power-disk"  # containers are dead, the workroom is still there


@dataclass
class House:
    """Everything outside the process: what is here survives a crash."""

    story: Story = Story.GOOD
    journal: Journal = field(default_factory=Journal.in_memory)
    now: datetime = NOW
    mailbox: set[Digest] = field(default_factory=lambda: {ARRIVAL})
    spool: dict[Digest, bytes] = field(default_factory=dict)
    room: list[str] | None = None
    data: list[str] | None = None
    """What the room was furnished with; None until it was."""
    containers: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    sent: list[tuple[bytes, ...]] = field(default_factory=list)
    receipts: list[bytes] = field(default_factory=list)
    signatures: int = 0
    fuse: int | None = None
    points: int = 0
    draw: itertools.count[int] = field(default_factory=itertools.count)
    watched: list[House] | None = None
    """The world as it was at each point, if somebody wants to know: what a crash there would have left."""

    # --- The world

    def point(self) -> None:
        """Between two effects: here the process may end."""
        self.points += 1
        if self.watched is not None:
            self.watched.append(self.copy())
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse == 0:
                self.fuse = None
                raise CrashError

    def after(self, cut: Cut) -> None:
        """What a crash does to the world."""
        self.journal = Journal(self.journal._log)  # a new process has read nothing yet
        if cut is Cut.KILLED:
            return
        self.containers = {name: "interrupted" if one == "running" else one for name, one in self.containers.items()}
        if cut is Cut.POWER:
            self.room = self.data = None

    def copy(self) -> House:
        """Return another world in which everything is as it is here."""
        return replace(
            self,
            journal=_copied(self.journal),
            mailbox=set(self.mailbox),
            spool=dict(self.spool),
            room=None if self.room is None else list(self.room),
            data=None if self.data is None else list(self.data),
            containers=dict(self.containers),
            sent=list(self.sent),
            receipts=list(self.receipts),
            draw=copy.copy(self.draw),
            watched=None,
        )

    def survives(self) -> tuple[object, ...]:
        """Return what a process that begins here finds, to compare it."""
        disk = (self.journal.head(), self.mailbox, self.spool, self.room, self.data, self.containers)
        return (*disk, self.now, self.runs, self.sent, self.receipts, self.signatures, repr(self.draw))

    def crashes(self, cut: Cut) -> list[House]:
        """Go on to the end, and return what each crash on the way would have left."""
        self.watched = []
        self.finish()
        for left in self.watched:
            left.after(cut)
            left.check_always()
        return self.watched

    def keep(self, data: bytes) -> Digest:
        self.point()
        self.spool[digest_of(data)] = data
        self.point()
        return digest_of(data)

    def plaintext(self) -> bool:
        return self.room is not None or self.data is not None or bool(self.containers)

    # --- The station

    def visit(self) -> Visit | None:
        return self.journal.find(ARRIVAL)

    def turn(self) -> Next:
        """One visit, one step, one event."""
        visit = self.visit()
        if visit is None:
            self.append(None, Noticed(at=self.now, arrival=ARRIVAL, tag="train-1", size=len(ARRIVED)))
            return Wait(until=self.now)
        found = next_step(visit, self.now)
        if isinstance(found, Do):
            self.append(visit, self.perform(found.step, visit))
        return found

    def append(self, visit: Visit | None, event: VisitEvent) -> None:
        assert visit is None or plan.permits(visit, event)
        self.point()
        self.journal.append(ARRIVAL, event, expect=visit.length if visit else 0)
        self.point()

    def answer(self) -> None:
        """A person says yes."""
        visit = self.visit()
        assert visit is not None
        self.append(visit, plan.approve(visit, by="grace", note="", now=self.now))

    def finish(self) -> None:
        """Go on to the end, with a person who says yes and a clock that moves."""
        while not isinstance(found := self.turn(), Over):
            if isinstance(found, Ask):
                self.answer()
            elif isinstance(found, Wait):
                self.now = max(self.now, found.until)

    def perform(self, step: Step, visit: Visit) -> VisitEvent:
        event: VisitEvent = getattr(self, f"_{step}")(visit)
        return event

    def _fetch(self, _: Visit) -> VisitEvent:
        blobs = tuple(Blob(digest=self.keep(data), size=len(data)) for data in (ARRIVED, CODE, STATE_IN))
        return Fetched(at=self.now, letters=blobs[:1], documents=(), sealed=blobs[1:])

    def _verify(self, _: Visit) -> VisitEvent:
        if self.story is Story.FORGED:
            return Refused(at=self.now, code="signature.invalid", reason="", by="station")
        return Accepted(
            at=self.now,
            train=TrainId("7" * 64),
            stop=1,
            place="stop 2 of 3",
            manifest=digest_of(b"manifest"),
            previous=(digest_of(b"entry"),),
            states=(digest_of(STATE_IN),),
            owner=PartyId("ada"),
            name="mean age",
            directory_root=1,
            directory_targets=1,
        )

    def _admit(self, visit: Visit) -> VisitEvent:
        if self.story is Story.UNWANTED:
            return Refused(at=self.now, code="policy.refused", reason="", by="policy")
        approved = visit.approved_for(HoldFor.ADMISSION, "")
        if self.story is Story.HELD and approved is None:
            return Held(at=self.now, hold=HoldFor.ADMISSION, reason="")
        by = approved.by if approved else "policy"
        return Admitted(at=self.now, by=by, memory_bytes=1, cpu_millis=1, disk_bytes=1)

    def _open(self, _: Visit) -> VisitEvent:
        assert self.spool[digest_of(STATE_IN)] == STATE_IN
        self.room, self.data = [], None
        self.point()
        self.room.append(PLAINTEXT)
        self.point()
        return Opened(at=self.now, states_in=(digest_of(STATE_IN),))

    def _furnish(self, visit: Visit) -> VisitEvent:
        if self.room is None:
            return plan.lose_room(visit, now=self.now)
        self.data = []  # emptied first: half of a copy is not the data
        self.point()
        self.data.append("first row")
        self.point()
        self.data.append("last row")
        self.point()
        return Furnished(at=self.now, data=(FurnishedData(name="patients", source="model"),), disk_bytes=0)

    def _start(self, visit: Visit) -> VisitEvent:
        name = f"pht-{ARRIVAL.short}-{visit.attempt}"
        for stale in [one for one in self.containers if one != name]:
            del self.containers[stale]
            self.point()
        if self.room is None or self.containers.get(name) == "interrupted":
            return plan.lose_room(visit, now=self.now)
        if name not in self.containers:
            self.containers[name] = "created"
            self.point()
        if self.containers[name] == "created":
            self.containers[name] = "running"
            assert self.data == ["first row", "last row"], "a run read part of the data"
            self.runs += 1
            self.room[-1] += "+1"
            self.point()
        return Started(at=self.now, attempt=visit.attempt, name=name, image="sha256:image", profile="model-v1")

    def _collect(self, visit: Visit) -> VisitEvent:
        assert visit.started is not None
        if self.room is None or self.containers.get(visit.started.name) != "running":
            return plan.lose_room(visit, now=self.now)
        if self.story in {Story.FAILING, Story.FORGOTTEN_FAILING}:
            return RunFault(at=self.now, code="run.failed", reason="")
        return Ended(at=self.now, exit_code=0, seconds=1)

    def _gate(self, visit: Visit) -> VisitEvent:
        if self.room is None:
            return plan.lose_room(visit, now=self.now)
        approved = visit.approved_for(HoldFor.RELEASE, "")
        if self.story is Story.HELD and approved is None:
            return Held(at=self.now, hold=HoldFor.RELEASE, reason="")
        files = (ClearedFile(path="result", size=len(self.room[-1])),)
        return Cleared(at=self.now, by=approved.by if approved else "gate", files=files, cost=())

    def _seal(self, visit: Visit) -> VisitEvent:
        if self.room is None:
            return plan.lose_room(visit, now=self.now)
        data = f"sealed {self.room[-1]} {next(self.draw)}".encode()
        return Sealed(at=self.now, blob=self.keep(data), size=len(data))

    def _wipe(self, _: Visit) -> VisitEvent:
        self.containers.clear()
        self.point()
        self.room = self.data = None
        self.point()
        return Wiped(at=self.now)

    def _sign(self, visit: Visit) -> VisitEvent:
        if self.story in {Story.FORGOTTEN, Story.FORGOTTEN_FAILING}:
            return Superseded(at=self.now, statement=digest_of(b"signed in another life"))
        what = SignedKind.ENTRY if phase_of(visit) is Phase.READY else SignedKind.REFUSAL
        entry = f"{what} {visit.sealed.blob if visit.sealed else None}".encode()
        envelope = self.keep(entry + b" signed %d" % next(self.draw))
        letter = self.keep(self.spool[envelope] + b" sealed %d" % next(self.draw))
        self.signatures += 1
        return Signed(at=self.now, entry=digest_of(entry), envelope=envelope, letter=letter, what=what)

    def _push(self, visit: Visit) -> VisitEvent:
        assert visit.signed is not None
        assert visit.sealed is not None
        self.point()
        parcel = (self.spool[visit.sealed.blob], self.spool[visit.signed.letter])
        self.leave(parcel)
        return Pushed(at=self.now, head=digest_of(b"".join(parcel)))

    def leave(self, parcel: tuple[bytes, ...]) -> None:
        """Something leaves the house."""
        assert not self.plaintext()
        self.sent.append(parcel)
        self.point()

    def _receipt(self, visit: Visit) -> VisitEvent:
        assert visit.signed is not None
        assert not self.plaintext()
        self.point()
        self.receipts.append(self.spool[visit.signed.letter])
        self.point()
        return ReceiptSent(at=self.now, head=digest_of(self.receipts[-1]))

    def _depart(self, _: Visit) -> VisitEvent:
        self.mailbox.discard(ARRIVAL)
        self.point()
        return Departed(at=self.now)

    # --- What must hold

    def check_always(self) -> None:
        """Hold after every crash, too."""
        visit = self.visit()
        events = visit.events if visit else ()
        signed = [event for event in events if isinstance(event, Signed)]
        assert len(signed) <= 1, "a second signature was recorded"
        assert visit is None or visit.blobs - {ARRIVAL} <= set(self.spool), "an event names what is not in the spool"
        envelopes = {self.spool[event.letter] for event in signed}
        assert {parcel[1] for parcel in self.sent} <= envelopes, "something left that was not recorded"
        assert set(self.receipts) <= envelopes, "a receipt left that was not recorded"
        assert len(set(self.sent)) <= 1, "the journey forked"
        if ARRIVAL not in self.mailbox:
            told = self.sent or self.receipts or (visit is not None and (visit.refused or visit.superseded))
            assert told, "the train is nowhere"

    def check_finished(self) -> None:
        """Hold at the end, whatever the end was."""
        self.check_always()
        assert self.journal.check() == self.journal.head()
        visit = self.visit()
        assert visit is not None
        assert phase_of(visit) is Phase.GONE
        assert not self.plaintext(), "plaintext was left"
        assert not self.mailbox
        went_on = visit.signed is not None and visit.signed.what is SignedKind.ENTRY
        sealed_state = visit.sealed.blob if went_on and visit.sealed else None
        if visit.accepted is None or visit.superseded is not None:
            assert (self.sent, self.receipts, visit.signed) == ([], [], None)
            return
        assert visit.signed is not None
        assert set(self.receipts) == {self.spool[visit.signed.letter]}
        if sealed_state is None:
            assert self.sent == []
        else:
            assert set(self.sent) == {(self.spool[sealed_state], self.spool[visit.signed.letter])}
            # Computed from what came in, by one run, whatever happened in between.
            assert self.spool[sealed_state].startswith(f"sealed {PLAINTEXT}+1 ".encode())


def _copied(journal: Journal) -> Journal:
    log = journal._log
    assert isinstance(log, SqliteLog)
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    log._database.backup(database)
    return Journal(SqliteLog(database))
