"""What can happen at a station, outside any visit?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from security.digest import Digest
from station.visit.events import ArrivalId, Fact, VisitEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted(Fact):
    """A daemon took the state folder."""

    kind = "daemon-started"
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStopped(Fact):
    """A daemon left in good order."""

    kind = "daemon-stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivered(Fact):
    """An arrival we already have a visit for was found again, perhaps under another tag; it was taken out."""

    kind = "redelivered"
    arrival: ArrivalId
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsed(Fact):
    """The key set with this fingerprint signed or opened something."""

    kind = "key-used"
    key_set: Digest
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSigned(Fact):
    """The head of the journal was signed as it was after record `sequence`; `envelope` is in the spool."""

    kind = "head-signed"
    sequence: int
    head: Digest
    envelope: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Fact):
    """A person told the owner of a train that ended here more about why: this `text`, in a statement with this digest."""

    kind = "answered"
    arrival: ArrivalId
    by: str
    text: str
    statement: Digest


StationEvent: TypeAlias = DaemonStarted | DaemonStopped | Redelivered | KeyUsed | HeadSigned | Answered
Event: TypeAlias = VisitEvent | StationEvent
