"""Keys that were stolen, and when: what they signed before still counts, and nothing that whoever took them signs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from console.directory import directory
from security.directory.documents import parse_party
from security.directory.workspace import add_party, revoke
from security.errors import InvalidInput, KeyOutsideValidity, KeyRevoked, Refused
from security.files import read_file
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, generate
from security.train.verify import verify_home, verify_manifest, verify_train
from tests.support.directories import card_of, clock, house
from tests.support.owners import OwnerWorld
from tests.support.trains import LONG_AGO, NOW, Consortium, consortium, train
from train_builder.follow.collect import open_home_train
from train_builder.follow.follow import StopState, follow
from train_builder.proof.proof import prove

A, B, ALICE = PartyId("hospital-a"), PartyId("hospital-b"), PartyId("alice")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> Consortium:
    return consortium()


def stolen(world: Consortium, party: str, since: object) -> None:
    world.compromised[world.stop(party).key_set] = since  # type: ignore[assignment] # a time


def test_t21_a_finished_journey_opens_after_a_station_of_it_was_revoked(tmp_path: Path) -> None:
    here = OwnerWorld(tmp_path)
    made = here.journey()
    stolen(here.world, "hospital-b", here.now + MINUTE)
    trust = here.world.trust
    here.now += timedelta(days=2)
    home = here.bring_home(made)
    opened = open_home_train(home, here.home(), secrets=here.secrets("alice"), trust=trust, into=tmp_path / "results")
    assert (opened.folder / "sums.json").exists()
    proof = prove(home.accepted, trust)
    assert [step.witness.party for step in proof.steps] == ["hospital-a", "hospital-b", "hospital-c"]
    seen = follow(here.home().find(made), here.depot, trust, now=here.now)
    assert [one.state for one in seen.stops] == [StopState.PASSED] * 3


def test_t21_what_was_signed_from_then_on_does_not_count(world: Consortium) -> None:
    it = train(world).travel(3)  # every entry is signed at NOW
    stolen(world, "hospital-b", NOW + MINUTE)
    assert verify_home(it.parts, world.trust, owner=ALICE, now=NOW).stop == 3
    for since in (NOW, NOW - MINUTE, LONG_AGO):
        stolen(world, "hospital-b", since)
        with pytest.raises(KeyRevoked):
            verify_home(it.parts, world.trust, owner=ALICE, now=NOW)


def test_t21_an_entry_dated_back_does_not_fit_behind_a_later_one(world: Consortium) -> None:
    """Whoever has the keys of B claims a time before the theft, for a train that came to B after it."""
    it = train(world)
    it.pass_stop(time=NOW)
    stolen(world, "hospital-b", NOW - timedelta(minutes=20))
    it.pass_stop(time=NOW - timedelta(minutes=30))
    it.pass_stop(time=NOW)
    with pytest.raises(Refused, match="older than one before it"):
        verify_home(it.parts, world.trust, owner=ALICE, now=NOW)


def test_t21_nothing_is_run_for_an_owner_whose_keys_were_stolen_whatever_the_date(world: Consortium) -> None:
    """A thief dates the validity back: at a station the owner's keys are judged as of now."""
    it = train(world, valid_from=NOW - timedelta(days=3))
    stolen(world, "alice", NOW - timedelta(days=1))
    with pytest.raises(KeyRevoked):
        verify_train(it.parts, world.trust, here=A, now=NOW)
    assert verify_manifest(it.parts.manifest, world.trust, at=None).value.owner.party == ALICE


def test_t21_a_key_set_that_was_revoked_and_ran_out_counts_within_both(world: Consortium) -> None:
    key_set = world.stop("hospital-a").key_set
    world.until[key_set] = NOW + MINUTE
    stolen(world, "hospital-a", NOW + 2 * MINUTE)
    assert world.trust.signer(A, Role.STATION, key_set, NOW).fingerprint == key_set
    with pytest.raises(KeyOutsideValidity):
        world.trust.signer(A, Role.STATION, key_set, NOW + MINUTE)
    with pytest.raises(KeyRevoked):
        world.trust.signer(A, Role.STATION, key_set, NOW + 2 * MINUTE)
    with pytest.raises(KeyRevoked):
        world.trust.pinned(A, Role.STATION, key_set, NOW)


def test_a_revocation_is_made_earlier_and_never_later(tmp_path: Path) -> None:
    consort, now = house(tmp_path / "consortium", keys=1, threshold=1), clock()
    add_party(consort.workspace, card_of(generate([Scheme.ED25519]), A), now=now - timedelta(days=9))
    week = now - timedelta(days=7)
    (record,) = revoke(consort.workspace, A, None, since=week, now=now).key_sets
    assert record.revoked == week.replace(second=0)
    (record,) = revoke(consort.workspace, A, None, since=now, now=now).key_sets
    assert record.revoked == week.replace(second=0)
    earlier = week - timedelta(days=1)
    (record,) = revoke(consort.workspace, A, None, since=earlier, now=now).key_sets
    assert record.revoked == earlier.replace(second=0)
    with pytest.raises(InvalidInput):
        revoke(consort.workspace, A, None, since=now + MINUTE, now=now)


def test_the_command_takes_a_date(tmp_path: Path) -> None:
    consort = house(tmp_path / "consortium", keys=1, threshold=1)
    add_party(consort.workspace, card_of(generate([Scheme.ED25519]), A), now=clock() - timedelta(days=9))
    day = (clock() - timedelta(days=2)).date().isoformat()
    words = ["revoke", str(consort.workspace.path), "hospital-a", "--yes", "--since"]
    told = directory.main([*words, day], standalone_mode=False)
    assert f"REVOKED as of {day}T00:00:00Z" in told.text
    staged = parse_party(read_file(consort.workspace.work / "party.hospital-a.json"))
    assert [f"{one.revoked:%F %T}" for one in staged.key_sets] == [f"{day} 00:00:00"]
    for wrong in ("yesterday", "2026-02-30", "2099-01-01"):
        with pytest.raises(InvalidInput):
            directory.main([*words, wrong], standalone_mode=False)
