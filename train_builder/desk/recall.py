"""How does an owner call a train back?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from registry.depot import Depot, ReceiptKind
from security.directory.trust import TrustStore
from security.errors import NotYet, PhtError, Refused
from security.ids import PartyId, Role
from security.keys.keyset import Secrets
from security.statement.envelope import sign
from security.train.letters import manifest_recipients, seal_letter
from security.train.manifest import TrainManifest
from security.train.recall import Recall, print_recall
from train_builder.errors import TrainNotHere
from train_builder.follow.follow import Whereabouts, follow
from train_builder.home import Home, TrainRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A train that was recalled: the stations that were told, those that have no keys that count any more, and where it was."""

    record: TrainRecord
    told: tuple[PartyId, ...]
    not_told: tuple[PartyId, ...]
    where: Whereabouts


def recall(
    name: str,
    home: Home,
    *,
    depot: Depot,
    trust: TrustStore,
    secrets: Secrets,
    reason: str | None,
    now: datetime,
) -> Recalled:
    """Sign that a train is not to go on, and tell every station of its route. It may be said as often as one likes.

    One that did not pass a station, or that is cut off, can be recalled: others may still work on it, and have keys for it that it
    takes with it. A station whose keys were revoked keeps nobody from telling the others.

    Raises:
        TrainNotHere: it was never sent, or nobody waits for it any more.
        PartyUnknown, KeyRevoked, KeyOutsideValidity, KeyNotTrusted: no station of its route can be sealed to.
    """
    record = home.find(name)
    manifest, where = record.manifest, follow(record, depot, trust, now=now)
    if record.sent is None or where.passed or now >= where.valid_until:
        msg = "there is nothing to recall: the train is not under way"
        raise TrainNotHere(msg, train=record.train.short, hint=f"'pht train follow {record.train.short}' tells more")
    stations, gone = _reached(manifest, trust, now)
    envelope = sign(
        print_recall(Recall(train=record.train, time=now.replace(microsecond=0), reason=reason)), secrets.signers
    )
    letter = seal_letter(envelope, manifest_recipients((*stations.values(), manifest.recipient), manifest.mail))
    for party in stations:
        depot.send_receipt(letter, owner=party, train=record.train, stop=0, kind=ReceiptKind.RECALL)
    return Recalled(record=record, told=tuple(stations), not_told=gone, where=where)


def _reached(
    manifest: TrainManifest, trust: TrustStore, now: datetime
) -> tuple[Mapping[PartyId, str], tuple[PartyId, ...]]:
    """Return the recipients of the stations that can be sealed to, and the other stations."""
    found: dict[PartyId, str] = {}
    gone: dict[PartyId, PhtError] = {}
    for one in manifest.route.places:
        try:
            found[one.party] = trust.pinned(one.party, Role.STATION, one.key_set, now).sealing
        except (Refused, NotYet) as error:
            gone[one.party] = error
    if not found:
        raise next(iter(gone.values()))
    return found, tuple(gone)
