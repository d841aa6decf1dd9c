"""What was verified is not verified again, and what depends on the directory or the time is asked each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.errors import PhtError
from security.ids import PartyId, TrainId
from security.statement.envelope import Envelope
from security.train.verify import verify_again, verify_arrival
from station.house.proofs import MOST, MOST_LEFT, Proof, Proofs
from station.visit.plan import Phase, phase_of
from tests.support.trains import LONG_AGO, NOW, Consortium, consortium, train
from tests.support.visits import digest
from tests.support.world import World, world

STATION = "hospital-a"
PARTIES = consortium()
TRAIN = train(PARTIES).travel(2)
HERE = PartyId("hospital-c")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    made.submit(made.train())
    for _ in range(30):
        made.step(STATION)
        if phase_of(made.visit(STATION)) is Phase.ADMITTED:
            break
    yield made
    made.close()


def revoke_the_owner(parties: Consortium) -> None:
    parties.revoked.add(parties.secrets[PartyId("alice")].key_set.fingerprint)


def revoke_us(parties: Consortium) -> None:
    parties.revoked.add(parties.secrets[PartyId(STATION)].key_set.fingerprint)


def withdraw_the_base(parties: Consortium) -> None:
    parties.bases = {}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (revoke_the_owner, "key.revoked"),
        (revoke_us, "key.revoked"),
        (withdraw_the_base, "base.not-approved"),
    ],
)
def test_what_the_directory_takes_back_counts_at_the_next_step(
    here: World, change: Callable[[Consortium], None], code: str
) -> None:
    change(here.consortium)
    here.step(STATION)
    refused = here.visit(STATION).refused
    assert refused is not None
    assert refused.code == code
    assert here.sandboxes[STATION].started == []


def test_a_directory_that_expires_stops_the_next_step(here: World) -> None:
    here.consortium.expires = here.now - timedelta(seconds=1)
    here.step(STATION)
    visit = here.visit(STATION)
    assert phase_of(visit) is Phase.ADMITTED
    assert visit.stumbled is not None


def test_other_bytes_in_the_spool_are_noticed_although_the_right_ones_were_verified(here: World) -> None:
    fetched = here.visit(STATION).fetched
    assert fetched is not None
    for blob in (fetched.parts, *fetched.documents):
        path = here.houses[STATION].spool.at(blob.digest)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b" ")
        here.step(STATION)
        stumbled = here.visit(STATION).stumbled
        assert stumbled is not None
        assert stumbled.code == "spool.damaged"
        assert path.read_bytes() == whole  # fetched again
        here.now += timedelta(hours=1)


@settings(max_examples=60, deadline=None)
@given(minutes=st.integers(-60 * 24 * 40, 60 * 24 * 40))
def test_what_depends_on_the_time_is_decided_as_if_everything_was_verified(minutes: int) -> None:
    now, trust = NOW + timedelta(minutes=minutes), PARTIES.trust
    accepted = verify_arrival(TRAIN.parts, trust, here=HERE, now=NOW)

    def verdict(judge: Callable[[], object]) -> str:
        try:
            judge()
        except PhtError as error:
            return error.code
        return "accepted"

    again = verdict(lambda: verify_again(accepted, trust, here=HERE, now=now))
    assert again == verdict(lambda: verify_arrival(TRAIN.parts, trust, here=HERE, now=now))


@pytest.mark.parametrize("party", ["alice", "hospital-c"])
def test_keys_that_end_are_noticed_without_their_signatures(party: str) -> None:
    parties = consortium()
    made = train(parties).travel(2)
    parties.until[parties.secrets[PartyId(party)].key_set.fingerprint] = NOW + timedelta(hours=1)
    accepted = verify_arrival(made.parts, parties.trust, here=HERE, now=NOW)
    verify_again(accepted, parties.trust, here=HERE, now=NOW + timedelta(minutes=59))
    with pytest.raises(PhtError):
        verify_again(accepted, parties.trust, here=HERE, now=NOW + timedelta(hours=1))


def test_a_proof_holds_for_its_bytes_and_its_directory_only() -> None:
    proofs, trust = Proofs(), PARTIES.trust
    accepted = verify_arrival(TRAIN.parts, trust, here=HERE, now=NOW)
    one, two = digest("one"), digest("two")
    proofs.note(one, Proof(parts=one, envelopes=two, trust=trust, accepted=accepted))
    assert proofs.find(one, parts=one, envelopes=two, trust=PARTIES.trust) is accepted  # another that says the same
    assert proofs.find(two, parts=one, envelopes=two, trust=trust) is None
    assert proofs.find(one, parts=two, envelopes=two, trust=trust) is None
    assert proofs.find(one, parts=one, envelopes=one, trust=trust) is None
    other = consortium()
    other.secrets, other.compromised = PARTIES.secrets, {trust.parties[HERE].key_sets[0].key_set.fingerprint: LONG_AGO}
    assert proofs.find(one, parts=one, envelopes=two, trust=other.trust) is None


def test_no_more_than_so_many_proofs_are_held() -> None:
    proofs, trust = Proofs(), PARTIES.trust
    accepted = verify_arrival(TRAIN.parts, trust, here=HERE, now=NOW)
    names = [digest(f"arrival {number}") for number in range(MOST + 1)]
    for name in names:
        proofs.note(name, Proof(parts=name, envelopes=name, trust=trust, accepted=accepted))
        proofs.find(names[0], parts=names[0], envelopes=names[0], trust=trust)
    held = [name for name in names if proofs.find(name, parts=name, envelopes=name, trust=trust)]
    assert held == [names[0], *names[2:]]  # the one that was asked for longest ago is gone


def test_what_stops_have_left_is_read_once_and_of_long_journeys_only_the_newest_are_held() -> None:
    proofs, entries = Proofs(), dict(enumerate(TRAIN.parts.entries))
    long = dict.fromkeys(range(MOST_LEFT // 2), TRAIN.parts.entries[0])
    one, two, three = (TrainId(digit * 64) for digit in "123")
    read: list[TrainId] = []

    def left(train: TrainId, found: Mapping[int, Envelope] | None) -> Mapping[int, Envelope]:
        def reading() -> Mapping[int, Envelope] | None:
            read.append(train)
            return found

        return proofs.left(train, 1, reading)

    assert left(one, None) == {}  # that stop is not over: it is asked for again
    assert left(one, entries) == left(one, None) == entries
    assert read == [one, one]
    assert left(two, long) == left(three, long) == long
    left(two, None), left(three, None)
    assert read == [one, one, two, three]
    assert left(one, entries) == entries  # it had to go; and now the oldest of the others
    left(three, None)
    assert left(two, None) == {}
    assert read == [one, one, two, three, one, two]
