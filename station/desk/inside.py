"""What is in a train's sealed code, and what did its run print? For the operator, who decides and looks after it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from security.archive import members_of
from security.digest import Digest
from security.errors import FileMissing
from security.keys.keyset import Secrets
from security.train.manifest import TrainManifest
from security.train.seal import CODE_BUDGET, open_code, open_note
from station.house.house import House
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.steps.wipe import PRINTED_BYTES
from station.visit.events import Blob, HoldFor
from station.visit.state import Visit

MOST_SHOWN: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Files, and the text of one, if wanted; of a train's code also the digest of its content, which ``known_code`` lists."""

    content: Digest | None
    files: tuple[tuple[str, int], ...]
    text: bytes | None = field(repr=False)


def look_inside(manifest: TrainManifest, spool: Spool, keyring: Sequence[Secrets], *, wanted: str | None) -> Inside:
    """Unseal the code into a private folder that is gone again when this returns.

    Raises:
        FileMissing: there is no file called `wanted` in it.
        SpoolDamaged: the code was not fetched, or is no longer as it was.
        Refused: it is not the code its owner sealed, or not for us.
    """
    with tempfile.TemporaryDirectory(prefix="pht-code-") as folder:
        into = Path(folder)
        with spool.read(Blob(digest=manifest.code.digest, size=manifest.code.size)) as source:
            identities = [one.identity for one in keyring]
            content = open_code(source, manifest=manifest, identities=identities, into=into, budget=CODE_BUDGET)
        return _look(into, wanted, content)


def waiting_results(visit: Visit, workrooms: Workrooms, *, wanted: str | None) -> Inside:
    """Return what a run left and the gate let pass, for the person who decides whether it goes on.

    Raises:
        FileMissing: nothing waits for release, or there is no file called `wanted` in it.
        RoomMissing: the workroom is gone.
    """
    if visit.held is None or visit.held.hold is not HoldFor.RELEASE:
        msg = "nothing of this train waits for release"
        raise FileMissing(msg, visit=visit.arrival.short, hint="'pht station show TRAIN' tells what it waits for")
    return _look(workrooms.find(visit.arrival).state, wanted, None)


def _look(folder: Path, wanted: str | None, content: Digest | None) -> Inside:
    members = members_of(folder)
    text = None
    if wanted is not None:
        member = next((one for one in members if one.path == wanted), None)
        if member is None:
            msg = "there is no such file"
            raise FileMissing(msg, file=wanted[:200], hint="the same option without a name lists them")
        with member.open() as opened:
            text = opened.read(MOST_SHOWN)
    return Inside(content=content, files=tuple((one.path, one.size) for one in members), text=text)


def what_it_printed(visit: Visit, house: House) -> bytes:
    """Return the end of what the visit's newest run printed: from its container, or as it was kept when that was wiped.

    Raises:
        FileMissing: nothing has run yet, or nothing is kept.
        SandboxUnavailable: the engine is away.
        SpoolDamaged: what was kept is missing, or no longer as it was.
        NotARecipient: it was kept under keys this station no longer has.
    """
    if visit.wiped is None:
        if visit.started is None:
            msg = "nothing of this train runs"
            raise FileMissing(msg, visit=visit.arrival.short, hint="'pht station show TRAIN' tells what it waits for")
        return house.sandbox.output(visit.started.name, PRINTED_BYTES)
    if visit.wiped.printed is None:
        msg = "nothing that a run of this train printed is kept"
        raise FileMissing(msg, visit=visit.arrival.short, hint="it is kept of runs that failed or were refused")
    with house.spool.read(visit.wiped.printed) as source:
        printed = open_note(source, [one.identity for one in house.keyring])
        source.read()  # to its end, where its digest is checked
    return printed
