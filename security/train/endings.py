"""Is what a station says about a train that did not pass it really said by that station?"""

from __future__ import annotations

from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import JourneyForeignEntry
from security.ids import Role
from security.statement.envelope import Envelope, Verified, verify
from security.train.journey import ANSWER, CLOCK_SKEW, REFUSAL, Refusal, StationAnswer, read_answer, read_refusal
from security.train.manifest import TrainManifest, train_id


def check_refusal(manifest: Verified[TrainManifest], envelope: Envelope, trust: TrustStore) -> Verified[Refusal]:
    """Verify a refusal: signed by the pinned key set of the station whose stop it is about, and about this train.

    Raises:
        JourneyForeignEntry: it is about another train, a stop not on the route, or another station's stop, or from
            before the train was.
    """
    return REFUSAL.parse(_of_its_station(manifest, envelope, read_refusal(envelope.payload), trust))


def check_answer(manifest: Verified[TrainManifest], envelope: Envelope, trust: TrustStore) -> Verified[StationAnswer]:
    """Verify an answer; see `check_refusal`."""
    return ANSWER.parse(_of_its_station(manifest, envelope, read_answer(envelope.payload), trust))


def _of_its_station(
    manifest: Verified[TrainManifest], envelope: Envelope, claimed: Refusal | StationAnswer, trust: TrustStore
) -> Verified[bytes]:
    route, train = manifest.value.route, train_id(manifest)
    if claimed.stop not in route.of(claimed.station) or claimed.train != train:
        msg = "refusal is about another train, stop or station"
        raise JourneyForeignEntry(msg, train=train.short, place=route.told(claimed.stop))
    if claimed.time < manifest.value.valid_from - CLOCK_SKEW:  # it would be looked up among keys retired long ago
        msg = "refusal is from another time"
        raise JourneyForeignEntry(msg, train=train.short, place=route.told(claimed.stop), time=print_time(claimed.time))
    stop = route.stop(claimed.stop)
    return verify(envelope, trust.signer(stop.party, Role.STATION, stop.key_set, claimed.time))
