"""What can happen to a visit?

An event is a fact, recorded after it became true. The union is closed: `visit.replay` and the table in `plan` know every
member. No event carries plaintext, a hash of plaintext, or anything a run printed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, TypeAlias

from security.digest import Digest
from security.ids import PartyId, TrainId
from station.visit.parts import ClearedFile, FurnishedData, Spent, plain

ArrivalId: TypeAlias = Digest
"""What a visit is called: the digest of the OCI manifest that lay in the mailbox.

Not (train, stop): those are claims by whoever can write to the mailbox, and a forged arrival must not use up the visit
of the real train. That one (train, stop) is accepted once is the journal's business.
"""


class HoldFor(StrEnum):
    """What a person is asked."""

    ADMISSION = "admission"
    RELEASE = "release"
    ATTENTION = "attention"


class SignedKind(StrEnum):
    """What the one signature of a visit says: the train goes on, or it ends here."""

    ENTRY = "entry"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file in the spool, by digest and size in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """When it happened: aware, UTC, whole seconds."""

    kind: ClassVar[str]
    at: datetime

    def __post_init__(self) -> None:
        for name, value in _values(self):
            if isinstance(value, datetime):
                object.__setattr__(self, name, _whole_seconds(value))
            elif type(value) is str:
                object.__setattr__(self, name, plain(value))


# --- Events of a visit, in the order of a quiet day ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Fact):
    """Something lies in our mailbox that was not there before. `size` is that of its OCI manifest, in bytes."""

    kind = "noticed"
    arrival: ArrivalId
    tag: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(Fact):
    """A train is in the spool: its `letters`, and code and state, which are `sealed`.

    The first of the `letters` is the OCI manifest that has or names them; what it only names follows. `documents` is one
    file with the signed envelopes that were in them, a line each: the manifest's, then those of the entries.

    Where several stops send to one and the owner has `recalled` the train, with this reason, it is what came first, and the rest is
    not waited for.
    """

    kind = "fetched"
    letters: tuple[Blob, ...]
    documents: tuple[Blob, ...]
    sealed: tuple[Blob, ...]
    recalled: str = ""

    @property
    def parts(self) -> Blob:
        """The OCI manifest, which says what there is."""
        return self.letters[0]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All of them."""
        return self.letters + self.documents + self.sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Fact):
    """The train was verified. From here on its owner is known, and is owed an answer.

    `manifest` and `previous` are digests of signed bytes (the train manifest; the journey entries before this stop, or
    the manifest where the train begins), `states` those of the sealed states received. `place` is the stop in words, as its
    route tells it; `name` is what the owner calls the train.
    """

    kind = "accepted"
    train: TrainId
    stop: int
    place: str
    manifest: Digest
    previous: tuple[Digest, ...]
    states: tuple[Digest, ...]
    owner: PartyId
    name: str
    directory_root: int
    directory_targets: int

    def same_parts(self, other: Accepted) -> bool:
        """Whether both deliveries carried the same signed and sealed parts, however they were wrapped."""
        mine = (self.train, self.stop, self.manifest, self.previous, self.states)
        return mine == (other.train, other.stop, other.manifest, other.previous, other.states)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Fact):
    """This station lets the train run; `by` is ``policy`` or a person. The other fields are what its run may use here."""

    kind = "admitted"
    by: str
    memory_bytes: int
    cpu_millis: int
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Boarded(Fact):
    """This station takes part in the train, or lets it depart: nothing is run for that. `by` is as in `Admitted`."""

    kind = "boarded"
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Fact):
    """Code and states lie open in the workroom. `states_in` are the digests of the sealed states that they came from."""

    kind = "opened"
    states_in: tuple[Digest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Furnished(Fact):
    """The data sets that the train asked for are where its run can read them; copies of them take up `disk_bytes`."""

    kind = "furnished"
    data: tuple[FurnishedData, ...]
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Fact):
    """A run with this name goes on, from the image with this id, in the sandbox of this profile."""

    kind = "started"
    attempt: int
    name: str
    image: str
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Fact):
    """The run came to its own end, after so many seconds of wall-clock time."""

    kind = "ended"
    exit_code: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared(Fact):
    """The gate let pass what was declared, at this cost; `by` is ``gate`` or a person.

    `finished` if the run of a combination said that the train goes home now.
    """

    kind = "cleared"
    by: str
    files: tuple[ClearedFile, ...]
    cost: tuple[Spent, ...]
    finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed(Fact):
    """The new state is in the spool, encrypted for whoever is next."""

    kind = "sealed"
    blob: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiped(Fact):
    """Workroom and container are gone. Recorded before anything is signed: what leaves no longer needs plaintext.

    `printed` is what a run that did not pass had printed, in the spool, sealed for this station alone.
    """

    kind = "wiped"
    printed: Blob | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Fact):
    """The station's one signature for this visit: `entry` is the digest of the signed bytes.

    `envelope` is in the spool, and so is the `letter` with it, which is all that leaves.
    """

    kind = "signed"
    entry: Digest
    envelope: Digest
    letter: Digest
    what: SignedKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed(Fact):
    """The next mailbox confirmed the train by this manifest digest; each of them, where several are next."""

    kind = "pushed"
    head: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptSent(Fact):
    """The owner's mailbox confirmed our receipt by this manifest digest."""

    kind = "receipt-sent"
    head: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Departed(Fact):
    """Our mailbox no longer names this arrival. The end of the visit."""

    kind = "departed"


# --- Events that are not the quiet way -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Fact):
    """Final. `code` and `reason` stay at this station; the owner learns a class of outcome at most, and what is `told`."""

    kind = "refused"
    code: str
    reason: str
    by: str
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded(Fact):
    """This station signed for this stop before: its own statement in the owner's mailbox, with this digest, shows it.

    The journal is older than that: it was restored from a backup (attack T5). Final; nothing more is signed or sent.
    """

    kind = "superseded"
    statement: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFault(Fact):
    """The analysis itself failed, ran out of a limit, or left no results. Final."""

    kind = "run-fault"
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomLost(Fact):
    """The workroom of this attempt is gone (a reboot). Everything derived from it is void; opened again."""

    kind = "room-lost"
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stumbled(Fact):
    """A step made no progress; not to be tried again before a time. `attempt` counts from 1 since the last progress.

    `reason` is for the operator, and names no more than the log does: nothing of what lies open in a workroom.
    """

    kind = "stumbled"
    step: str
    code: str
    attempt: int
    not_before: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Fact):
    """A person must decide; before a run, about this `analysis` (`security.train.analysis`)."""

    kind = "held"
    hold: HoldFor
    reason: str
    analysis: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(Fact):
    """A person said yes to what was asked; before a run, to this `analysis`."""

    kind = "approved"
    hold: HoldFor
    by: str
    note: str
    analysis: Digest | None = None


VisitEvent: TypeAlias = (
    Noticed
    | Fetched
    | Accepted
    | Admitted
    | Boarded
    | Opened
    | Furnished
    | Started
    | Ended
    | Cleared
    | Sealed
    | Wiped
    | Signed
    | Pushed
    | ReceiptSent
    | Departed
    | Refused
    | Superseded
    | RunFault
    | RoomLost
    | Stumbled
    | Held
    | Approved
)

_FOUND_OUT_AGAIN: Final = (Noticed, Fetched, Accepted, Admitted, Opened, Started, Ended, Cleared, Pushed, ReceiptSent)


def lasts(event: object) -> bool:
    """Whether an event has to be durable when it is recorded, and not only when one that lasts follows.

    The others a power cut may take back, from the end: their steps are taken again, and nothing has gone that they need. What
    came lies in the mailbox until the visit departs; that something was opened is in the journal (`KeyUsed`), and so are its
    room and data (`Furnished`) before a run begins, which is found by its name; a room is wiped after what was made in it is
    recorded (`Sealed`); and what was signed lasts before it is sent, as often as it takes.
    """
    if isinstance(event, Wiped):
        return event.printed is not None
    return not isinstance(event, _FOUND_OUT_AGAIN)


def _values(event: Fact) -> list[tuple[str, Any]]:
    return [(field.name, getattr(event, field.name)) for field in dataclasses.fields(event)]


def _whole_seconds(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        msg = "a time without a time zone"
        raise ValueError(msg)
    return moment.astimezone(UTC).replace(microsecond=0)
