"""Valid events and visits, to be replayed, recorded and spoiled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from security.digest import Digest, digest_of
from security.ids import PartyId, TrainId
from station.visit.events import (
    Accepted,
    Admitted,
    Approved,
    Blob,
    Boarded,
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
    RoomLost,
    RunFault,
    Sealed,
    Signed,
    SignedKind,
    Started,
    Stumbled,
    Superseded,
    VisitEvent,
    Wiped,
)
from station.visit.parts import ClearedFile, FurnishedData, Spent
from station.visit.station_events import Answered, DaemonStarted, DaemonStopped, Event, HeadSigned, KeyUsed, Redelivered

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TRAIN = TrainId("7" * 64)


def digest(word: str) -> Digest:
    return digest_of(word.encode())


ARRIVAL = digest("arrival")

NOTICED = Noticed(at=NOW, arrival=ARRIVAL, tag="train-1", size=700)
FETCHED = Fetched(
    at=NOW,
    letters=(Blob(digest=digest("letter"), size=30),),
    documents=(Blob(digest=digest("manifest"), size=10),),
    sealed=(Blob(digest=digest("code"), size=20),),
)
ACCEPTED = Accepted(
    at=NOW,
    train=TRAIN,
    stop=1,
    place="stop 2 of 3",
    manifest=digest("signed manifest"),
    previous=(digest("previous entry"),),
    states=(digest("state in"),),
    owner=PartyId("ada"),
    name="mean age",
    directory_root=1,
    directory_targets=4,
)
BOARDED = Boarded(at=NOW, by="policy")
ADMITTED = Admitted(at=NOW, by="policy", memory_bytes=1 << 28, cpu_millis=1000, disk_bytes=1 << 20)
OPENED = Opened(at=NOW, states_in=(digest("state in"),))
FURNISHED = Furnished(at=NOW, data=(FurnishedData(name="patients", source="folder"),), disk_bytes=0)
STARTED = Started(at=NOW, attempt=1, name="pht-arrival-1", image="sha256:image", profile="docker-runc-v1")
ENDED = Ended(at=NOW, exit_code=0, seconds=12)
CLEARED = Cleared(
    at=NOW, by="gate", files=(ClearedFile(path="result.json", size=17),), cost=(Spent(budget="bits", amount=52),)
)
SEALED = Sealed(at=NOW, blob=digest("state out"), size=16384)
WIPED = Wiped(at=NOW)
SIGNED = Signed(
    at=NOW, entry=digest("entry"), envelope=digest("envelope"), letter=digest("our letter"), what=SignedKind.ENTRY
)
WIPED_OF_A_FAILED_RUN = Wiped(at=NOW, printed=Blob(digest=digest("printed"), size=300))
REFUSAL = Signed(
    at=NOW, entry=digest("refusal"), envelope=digest("envelope"), letter=digest("our letter"), what=SignedKind.REFUSAL
)
PUSHED = Pushed(at=NOW, head=digest("head"))
RECEIPT = ReceiptSent(at=NOW, head=digest("receipt"))
DEPARTED = Departed(at=NOW)
REFUSED = Refused(at=NOW, code="policy.refused", reason="not today", by="grace")
SUPERSEDED = Superseded(at=NOW, statement=digest("signed in another life"))
FAULT = RunFault(at=NOW, code="run.failed", reason="exit status 1")
LOST = RoomLost(at=NOW, attempt=1)
HELD = Held(at=NOW, hold=HoldFor.ADMISSION, reason="a first train of this owner")
APPROVED = Approved(at=NOW, hold=HoldFor.ADMISSION, by="grace", note="called them")
STUMBLED = Stumbled(at=NOW, step="fetch", code="registry.unavailable", attempt=1, not_before=NOW + timedelta(seconds=1))

QUIET_DAY: tuple[VisitEvent, ...] = (
    NOTICED,
    FETCHED,
    ACCEPTED,
    ADMITTED,
    OPENED,
    FURNISHED,
    STARTED,
    ENDED,
    CLEARED,
    SEALED,
    WIPED,
    SIGNED,
    PUSHED,
    RECEIPT,
    DEPARTED,
)
STATION_EVENTS: tuple[Event, ...] = (
    DaemonStarted(at=NOW, version="1.0"),
    DaemonStopped(at=NOW),
    Redelivered(at=NOW, arrival=ARRIVAL, tag="train-2"),
    KeyUsed(at=NOW, key_set=digest("key set"), purpose="sign"),
    Answered(at=NOW, arrival=digest("an arrival"), by="grace", text="call us", statement=digest("an answer")),
    HeadSigned(at=NOW, sequence=3, head=digest("head"), envelope=digest("envelope")),
)
ONE_OF_EACH: tuple[Event, ...] = (
    *QUIET_DAY,
    BOARDED,
    WIPED_OF_A_FAILED_RUN,
    REFUSAL,
    REFUSED,
    SUPERSEDED,
    FAULT,
    LOST,
    HELD,
    APPROVED,
    STUMBLED,
    *STATION_EVENTS,
)
