"""How do the results come home, and to nobody else?

Opening verifies the whole journey first and refuses on any doubt (attack T24). Results appear whole or not at all: they
are opened into a folder without a name, which gets its name at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from registry.depot import Arrival, Depot
from registry.port import Progress
from security.archive import MAX_MEMBERS, Budget
from security.digest import Digest
from security.encoding import dump_pretty
from security.errors import JourneyForeignEntry, JourneyIncomplete, Unavailable
from security.files import making_folder, write_file
from security.ids import TrainId
from security.journey import TrainParts
from security.keys import Secrets
from security.seal import open_state
from security.trust import TrustStore
from security.verify import AcceptedTrain, verify_home
from train_builder.errors import FolderNotEmpty
from train_builder.follow import follow, not_home
from train_builder.home import Home
from train_builder.proof import proof_document, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeTrain:
    """A train that came home and is believed, its envelopes, and the name its artifact has in the mailbox."""

    accepted: AcceptedTrain
    parts: TrainParts
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Results in the clear: the folder, the files in it, and the file that proves where they come from."""

    train: TrainId
    folder: Path
    files: tuple[str, ...]
    size: int
    journey: Path


def bring_home(
    train: TrainId,
    home: Home,
    *,
    depot: Depot,
    trust: TrustStore,
    now: datetime,
    progress: Progress | None = None,
) -> HomeTrain:
    """Take a train that came home out of the mailbox, or from where it was kept, and verify its whole journey.

    It is verified before its blobs are fetched. What waits in the mailbox comes first: if somebody has replaced it
    since, that is told rather than passed over. While the registry is away, what was kept serves.

    Raises:
        NotHomeYet, TrainRefused, TrainFailed: it is not home, and why.
        Refused: its journey is not proven; one of its leaves, which says why.
    """

    def verified(parts: TrainParts) -> AcceptedTrain:
        accepted = verify_home(parts, trust, owner=home.party, now=now)
        if accepted.train != train:
            msg = "what waits under this train's name is another train"
            raise JourneyForeignEntry(msg, train=train.short, found=accepted.train.short)
        return accepted

    def demand(parts: TrainParts) -> None:
        verified(parts)

    kept = home.arrival(train)
    arrival = _arrival(train, home, depot, kept)
    if arrival is not None:
        parts, digest = depot.take(arrival, home.blobs, accept=demand, progress=progress), arrival.digest
    elif kept is not None:
        parts, digest = depot.load(kept, home.blobs), kept
    else:
        raise not_home(follow(home.find(train), depot, trust, now=now))
    accepted = verified(parts)
    home.note_home(train, digest)
    return HomeTrain(accepted=accepted, parts=parts, digest=digest)


def open_home_train(train: HomeTrain, home: Home, *, secrets: Secrets, trust: TrustStore, into: Path) -> Opened:
    """Open the results into a folder that does not exist yet or is empty; the proof goes beside it.

    Raises:
        FolderNotEmpty: there is something in the folder already.
        NotARecipient: the results were not sealed for these keys.
        SealBroken, SealForeign, SealRecipients, DigestMismatch, ArchiveRejected, BudgetExceeded: what is inside is not
            what the journey says.
    """
    _need_empty(into)
    accepted = train.accepted
    state = accepted.state
    if state is None:
        msg = "a train that came home has a state"
        raise JourneyIncomplete(msg, train=accepted.train.short)
    limits = accepted.manifest.value.limits
    budget = Budget(total_bytes=limits.output_bytes, member_bytes=limits.output_bytes, members=MAX_MEMBERS)
    journey = into.with_name(f"{into.name}.journey.json")
    with making_folder(into) as new:
        with home.blobs.open(state.digest) as source:
            found = open_state(
                source, state, binding=accepted.received(), identities=[secrets.identity], into=new, budget=budget
            )
        write_file(journey, dump_pretty(proof_document(prove(accepted, trust))))
    return Opened(train=accepted.train, folder=into, files=found.files, size=found.bytes, journey=journey)


def _arrival(train: TrainId, home: Home, depot: Depot, kept: Digest | None) -> Arrival | None:
    try:
        waiting = [one for one in depot.arrivals(home.party) if one.train == train]
    except Unavailable:
        if kept is None:
            raise
        return None
    return waiting[0] if waiting else None


def _need_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = "the folder for the results is not empty"
        raise FolderNotEmpty(msg, path=folder)
