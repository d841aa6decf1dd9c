"""What is a train, what is in its sealed code, what waits for release, and what did its run print?

For the operator, who decides about it and looks after it. What is sealed for the station is opened for them; the journal
keeps that it was, and for whom.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from security.archive import members_of
from security.digest import Digest
from security.encoding import Json
from security.errors import FileExists, FileMissing, InvalidInput, PhtError
from security.files import make_folder, told
from security.keys.keyset import Secrets
from security.keys.store import read_folder
from security.statement.envelope import Envelope
from security.train.analysis import analysis_digest
from security.train.journey import JourneyEntry, TrainParts, read_entry
from security.train.manifest import TrainManifest, read_manifest, told_manifest
from security.train.seal import CODE_BUDGET, open_code, open_note
from station.desk.house import house_of
from station.desk.opening import Unlock, find_visit, journal_of, keyring_for, name_of
from station.errors import RoomMissing
from station.house.config import StationConfig
from station.house.house import House
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.sandbox.printed import read_printed
from station.steps.evidence import parts_of
from station.steps.wipe import PRINTED_BYTES
from station.visit.events import Blob, Held, HoldFor
from station.visit.state import Visit

MOST_SHOWN: Final = 16 << 20
"""A file is shown whole or not at all: a person who saw its beginning would decide about something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSheet:
    """What a train says it is, as its owner signed it (`predicate`, without the letter key), where it has been, and its visit here.

    Before the visit was accepted, none of it is proven. `journey` has None for an entry that cannot be read. `analysis` is
    what an approval covers (`security.train.analysis`); it is known once the station has opened the code.
    """

    visit: Visit
    manifest: TrainManifest
    predicate: Json
    journey: tuple[JourneyEntry | None, ...]
    analysis: Digest | None

    @property
    def proven(self) -> bool:
        """Whether the station has verified it."""
        return self.visit.accepted is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Files, and the text of one, if wanted; of a train's code also the digest of its content."""

    content: Digest | None
    files: tuple[tuple[str, int], ...]
    text: bytes | None = field(repr=False)


def sheet_of(config: StationConfig, train: str) -> TrainSheet:
    """Return what can be seen of a train without opening anything.

    Raises:
        VisitUnknown: no such train is here.
        FileMissing: it was not fetched.
    """
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
    return _sheet(visit, _parts(config, visit))


def code_of(
    config: StationConfig,
    train: str,
    *,
    wanted: str | None,
    by: str,
    unlock: Unlock,
    now: datetime,
    copy: Path | None = None,
) -> tuple[TrainSheet, Inside]:
    """Open the code of a train for an operator, and return it with the train's sheet; `copy` is a folder to write it to.

    Raises:
        FileMissing: the code is not kept any more, or has no file called `wanted`.
        FileExists: `copy` is there already.
        InvalidInput: the file is too large to be shown.
        SpoolDamaged, Refused: see `look_inside`.
    """
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
        parts = _parts(config, visit)
        if visit.departed and visit.pushed:
            msg = "the code of a train that was sent on is not kept"
            raise FileMissing(msg, train=train[:20])
        sheet = _sheet(visit, parts)
        route = sheet.manifest.route
        named = {route.stop(index).key_set for index in route.of(config.party)}
        purpose = f"show {by} the code of {name_of(visit)}"
        keys = keyring_for(config, journal, unlock, named=named, purpose=purpose, now=now)
    inside = look_inside(sheet.manifest, Spool(config.spool), keys, wanted=wanted, copy=copy)
    if inside.content is not None:
        sheet = replace(sheet, analysis=analysis_digest(sheet.manifest, inside.content))
    return sheet, inside


def output_of(config: StationConfig, train: str, *, by: str, unlock: Unlock, now: datetime) -> bytes:
    """Return what the newest run of a train printed, for an operator.

    Raises:
        FileMissing, RoomMissing, SpoolDamaged, NotARecipient: see `what_it_printed`.
    """
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
        present = read_folder(config.keys).key_set.fingerprint
        named = () if visit.wiped else (present,)  # what was kept may be sealed for any; before, it lies open
        purpose = f"show {by} what {name_of(visit)} printed"
        keys = keyring_for(config, journal, unlock, named=named, purpose=purpose, now=now)
    with house_of(config, keys) as house:
        return what_it_printed(visit, house)


def results_of(config: StationConfig, train: str, *, wanted: str | None) -> Inside:
    """Return what of a train waits for release.

    Raises:
        FileMissing, RoomMissing: see `waiting_results`.
    """
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
    return waiting_results(visit, Workrooms(config.workrooms), wanted=wanted)


def look_inside(
    manifest: TrainManifest,
    spool: Spool,
    keyring: Sequence[Secrets],
    *,
    wanted: str | None,
    copy: Path | None = None,
) -> Inside:
    """Unseal the code into a private folder that is gone again when this returns, or into the new folder `copy`.

    Raises:
        FileExists: `copy` is there already.
        InvalidInput: the file is too large to be shown.
        FileMissing: there is no file called `wanted` in it.
        SpoolDamaged: the code was not fetched, or is no longer as it was.
        Refused: it is not the code its owner sealed, or not for us.
    """
    with contextlib.nullcontext(copy) if copy else tempfile.TemporaryDirectory(prefix="pht-code-") as folder:
        into = Path(folder)
        if copy is not None:
            _new_folder(copy)
        with spool.read(Blob(digest=manifest.code.digest, size=manifest.code.size)) as source:
            identities = [one.identity for one in keyring]
            content = open_code(source, manifest=manifest, identities=identities, into=into, budget=CODE_BUDGET)
        return _look(into, wanted, content, "--into FOLDER writes all files of the code to a new folder")


def waiting_results(visit: Visit, workrooms: Workrooms, *, wanted: str | None) -> Inside:
    """Return what a run left, as the gate printed it and would let it pass, for the person who decides whether it goes on.

    Raises:
        FileMissing: nothing waits for release, or there is no file called `wanted` in it.
        RoomMissing: the workroom is gone.
    """
    if visit.held is None or visit.held.hold is not HoldFor.RELEASE:
        msg = "nothing of this train waits for release"
        raise FileMissing(msg, visit=visit.arrival.short, hint="'pht station show TRAIN' tells what it waits for")
    try:
        outgoing = workrooms.find(visit.arrival).outgoing
    except RoomMissing as error:
        hint = "'pht station approve' has the train run again; what it leaves then waits for you anew"
        raise RoomMissing(error.message, visit=visit.arrival.short, hint=hint) from error
    return _look(outgoing, wanted, None, f"read it in {outgoing}")


def what_it_printed(visit: Visit, house: House) -> bytes:
    """Return the end of what the visit's newest run printed: from its workroom, or as it was kept when that was wiped.

    Raises:
        FileMissing: nothing has run yet, or nothing is kept.
        RoomMissing: the workroom is gone; the train is opened and run again.
        SpoolDamaged: what was kept is missing, or no longer as it was.
        NotARecipient: it was kept under keys this station no longer has.
    """
    if visit.wiped is None:
        if visit.started is None:
            msg = "no run of this train has started"
            raise FileMissing(msg, visit=visit.arrival.short, hint="'pht station show TRAIN' tells what it waits for")
        return read_printed(house.workrooms.find(visit.arrival).printed, PRINTED_BYTES)
    if visit.wiped.printed is None:
        msg = "no output of this train's runs is kept"
        raise FileMissing(
            msg, visit=visit.arrival.short, hint="output is kept only of runs that failed or were refused"
        )
    with house.spool.read(visit.wiped.printed) as source:
        printed = open_note(source, [one.identity for one in house.keyring])
        source.read()  # to its end, where its digest is checked
    return printed


def _new_folder(path: Path) -> None:
    with told(path):
        if path.exists():
            msg = "there is something of this name already"
            raise FileExists(msg, path=path)
    make_folder(path)


def _parts(config: StationConfig, visit: Visit) -> TrainParts:
    spool = Spool(config.spool)
    if visit.fetched is None or not all(spool.has(one.digest) for one in visit.fetched.documents):
        msg = "this train was not fetched, or is not kept any more"
        raise FileMissing(msg, visit=visit.arrival.short)
    return parts_of(visit, spool)


def _sheet(visit: Visit, parts: TrainParts) -> TrainSheet:
    payload = parts.manifest.payload
    return TrainSheet(
        visit=visit,
        manifest=read_manifest(payload),
        predicate=told_manifest(payload),
        journey=tuple(map(_entry, parts.entries)),
        analysis=next((one.analysis for one in reversed(visit.events) if isinstance(one, Held) and one.analysis), None),
    )


def _entry(envelope: Envelope) -> JourneyEntry | None:
    try:
        return read_entry(envelope.payload)
    except PhtError:
        return None


def _look(folder: Path, wanted: str | None, content: Digest | None, elsewhere: str) -> Inside:
    members = members_of(folder)
    text = None
    if wanted is not None:
        member = next((one for one in members if one.path == wanted), None)
        if member is None:
            msg = "no such file"
            raise FileMissing(msg, file=wanted[:200], hint="the same option without a name lists them")
        if member.size > MOST_SHOWN:
            msg = "the file is too large to be shown whole"
            raise InvalidInput(msg, file=wanted[:200], bytes=member.size, limit=MOST_SHOWN, hint=elsewhere)
        with member.open() as opened:
            text = opened.read()
    return Inside(content=content, files=tuple((one.path, one.size) for one in members), text=text)
