"""How do the results come home, to their owner alone?

Opening verifies the whole journey first and refuses on any doubt (attack T24). Results appear whole or not at all: they
are opened into a folder without a name, which gets its name at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from registry.depot import Depot
from registry.port import Progress
from registry.taken import kept_as
from security.age import Unwrapper
from security.archive import MAX_MEMBERS, Budget
from security.digest import Digest
from security.directory.trust import TrustStore
from security.encoding import dump_pretty
from security.errors import (
    DigestMismatch,
    FileMissing,
    JourneyForeignEntry,
    Malformed,
    Refused,
)
from security.files import expect_new, make_folder, making_folder, told, writing
from security.ids import TrainId
from security.keys.keyset import Secrets
from security.train.journey import TrainParts
from security.train.letters import Parcel, check_readers, open_parcel
from security.train.seal import open_state
from security.train.verify import AcceptedTrain, verify_home
from train_builder.errors import FolderNotEmpty
from train_builder.follow.follow import follow, not_home
from train_builder.follow.totals import unmask_results
from train_builder.home import Home
from train_builder.proof.proof import proof_document, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeTrain:
    """A train that came home and is believed, its envelopes out of their letters, and the name its letters are kept under."""

    accepted: AcceptedTrain
    parts: TrainParts
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedResults:
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
    identity: Unwrapper,
    depot: Depot,
    trust: TrustStore,
    now: datetime,
    progress: Progress | None = None,
) -> HomeTrain:
    """Take a train that came home from where it was kept, or out of the mailbox, and verify its whole journey.

    It is verified each time, and before its blobs are fetched. What was kept comes first: whoever can write to the
    mailbox cannot take away what is here already. It is asked for under its one name,
    wherever it was made. `identity` opens the letters: the key for the train's mail, or the
    owner's own.

    Raises:
        NotHomeYet, TrainRefused, TrainFailed: it is not home, and why.
        Refused: its journey is not proven; one of its leaves, which says why.
    """

    def verified(parcel: Parcel) -> HomeTrain:
        opened = open_parcel(parcel, [identity])
        accepted = verify_home(opened.parts, trust, owner=home.party, now=now)
        if accepted.train != train:
            msg = "the artifact under this train's name is another train"
            raise JourneyForeignEntry(msg, train=train.short, found=accepted.train.short)
        check_readers(opened, accepted)
        return HomeTrain(accepted=accepted, parts=opened.parts, digest=kept_as(parcel).manifest.digest)

    found = _kept(train, home, depot, verified)
    if found is None:
        found = _waiting(train, home, depot, verified, progress)
    if found is None:
        where = follow(home.find(train), depot, trust, now=now)
        home.note_seen(train, where.learnt)
        raise not_home(where)
    home.note_home(train, found.digest)
    return found


def open_home_train(train: HomeTrain, home: Home, *, secrets: Secrets, trust: TrustStore, into: Path) -> OpenedResults:
    """Open the results into a folder that does not exist yet or is empty; the proof goes beside it.

    Raises:
        FolderNotEmpty: there is something in the folder already.
        NotARecipient: the results were not sealed for these keys.
        SealBroken, SealForeign, SealRecipients, DigestMismatch, ArchiveRejected, BudgetExceeded: what is inside is not
            what the journey says.
    """
    home.expect_kept(train.accepted.train)
    _need_empty(into)
    accepted = train.accepted
    ((state, binding),) = zip(accepted.states, accepted.received(), strict=True)
    limits = accepted.manifest.value.limits
    budget = Budget(total_bytes=limits.output_bytes, member_bytes=limits.output_bytes, members=MAX_MEMBERS)
    expect_new(into)
    make_folder(into.parent)
    journey = into.with_name(f"{into.name}.journey.json")
    # the proof gets its name after the results have theirs: else it could lie beside those of another train
    with writing(journey) as written, making_folder(into) as new:
        try:
            with home.blobs.open(state.digest) as source:
                found = open_state(
                    source, state, binding=binding, identities=[secrets.identity], into=new, budget=budget
                )
            unmask_results(new, accepted.manifest.value)
        except Refused:  # the next try looks into the mailbox again
            home.unnote_home(accepted.train, state.digest)
            raise
        written.write(dump_pretty(proof_document(prove(accepted, trust))))
        with told(journey):
            written.flush()
    return OpenedResults(train=accepted.train, folder=into, files=found.files, size=found.bytes, journey=journey)


_Verify: TypeAlias = Callable[[Parcel], HomeTrain]


def _kept(train: TrainId, home: Home, depot: Depot, verified: _Verify) -> HomeTrain | None:
    """Return what came home before, verified again; None if it is not here, or no longer whole."""
    digest = home.arrival(train)
    if digest is None:
        return None
    try:
        parcel = depot.load(digest, home.blobs)
    except (FileMissing, DigestMismatch, Malformed):
        return None
    sealed = [parcel.code.digest, *(one.digest for one in parcel.states)]
    if not home.forgotten(train) and not all(map(home.blobs.has, sealed)):
        return None
    return verified(parcel)


def _waiting(
    train: TrainId,
    home: Home,
    depot: Depot,
    verified: _Verify,
    progress: Progress | None,
) -> HomeTrain | None:
    """Fetch the train from the mailbox; None if nothing waits under its name."""
    arrival = depot.arrival(home.party, train, None)
    if arrival is None:
        return None
    found: list[HomeTrain] = []

    def demand(parcel: Parcel) -> None:
        found.append(verified(parcel))

    depot.take(arrival, home.blobs, accept=demand, progress=progress)
    return found[0]


def _need_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = "the folder for the results is not empty"
        raise FolderNotEmpty(msg, path=folder)
