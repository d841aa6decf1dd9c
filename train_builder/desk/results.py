"""How does an owner get at what came home: the results, and the proof of where they come from?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from registry.places import source_at
from registry.port import Progress
from security.directory.carried import carried
from security.directory.trust import TrustStore
from security.ids import TrainId
from security.keys.keyset import Secrets
from train_builder.desk.reach import depot_of, trust_of
from train_builder.errors import TrainNotHere
from train_builder.follow.collect import HomeTrain, OpenedResults, bring_home, open_home_train
from train_builder.home import Home
from train_builder.proof.export import export_journey
from train_builder.proof.proof import Proof, prove

_ID_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A train that came home and was verified, and the directory it was verified against."""

    train: HomeTrain
    trust: TrustStore


def fetch(
    name: str, home: Home, *, unlock: Callable[[], Secrets], now: datetime, progress: Progress | None = None
) -> Fetched:
    """Bring a train home and verify its whole journey.

    A whole id may also be that of a train this home never made. Then there is no key here for its mail, and `unlock` is
    called for the owner's own.

    Raises:
        NotHomeYet, TrainRefused, TrainFailed, Refused: see `bring_home`.
        TrainNotHere, InvalidInput: see `Home.find`.
    """
    try:
        record = home.find(name)
        whole, identity = record.train, record.mail
    except TrainNotHere:
        if len(name) != _ID_CHARACTERS:
            raise
        whole, identity = TrainId(name), unlock().identity
    trust = trust_of(home, now)
    train = bring_home(whole, home, identity=identity, depot=depot_of(home), trust=trust, now=now, progress=progress)
    return Fetched(train=train, trust=trust)


def keys_for(fetched: Fetched, home: Home) -> Path:
    """Return the folder of the keys that the results are sealed for.

    Raises:
        FileMissing: it is not in the home folder.
    """
    return home.keys_of(fetched.train.accepted.manifest.value.owner.key_set)


def open_results(fetched: Fetched, home: Home, secrets: Secrets, into: Path, now: datetime) -> OpenedResults:
    """Open the results into the new folder `into`, and note that they were opened; see `open_home_train`."""
    opened = open_home_train(fetched.train, home, secrets=secrets, trust=fetched.trust, into=into)
    if home.knows(opened.train):
        home.note_opened(opened.train, now)
    return opened


def proof_of(fetched: Fetched) -> Proof:
    """Return what the journey proves."""
    return prove(fetched.train.accepted, fetched.trust)


def export_proof(fetched: Fetched, home: Home, into: Path) -> tuple[str, ...]:
    """Write files and commands for a check without this software into the new folder `into`; see `export_journey`.

    Raises:
        TrainForgotten: see `Home.expect_kept`.
    """
    home.expect_kept(fetched.train.accepted.train)
    source = source_at(home.settings.directory, home.settings.login)
    directory = carried(home.cache, home.root(), source)
    return export_journey(proof_of(fetched), fetched.train.parts, home.blobs, directory, into)
