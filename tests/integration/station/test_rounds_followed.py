"""An owner follows a train of rounds: who has boarded, who is waited for, and the rounds with their times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from registry.depot import Depot, ReceiptKind, mailbox, receipt_tag
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository, Tag
from registry.oci import Descriptor
from registry.port import StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix, digest_of
from security.directory.trust import TrustStore
from security.ids import PartyId, Role
from security.keys.keyset import KeySet
from station.admission.policy import AllOf, ByHand, Owners
from tests.support.rounds import (
    COMBINE,
    CONTRIBUTE,
    JUNCTION,
    STATIONS,
    board,
    combine_until,
    contribute,
    rounds_train,
    rounds_world,
)
from tests.support.scripted_sandbox import Program
from tests.support.trains import MAIL, Train
from tests.support.world import World, usual_policy
from train_builder.cli.render_journey import describe, whereabouts_document
from train_builder.follow.follow import Follower, StopState, Whereabouts, whereabouts_of
from train_builder.follow.mail import read_mail
from train_builder.home import TrainRecord


class Asked(MemoryRegistry):
    """A registry that counts what it is asked for by name, how often it had that, and the blobs that were fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.given: Counter[Tag] = Counter()
        self.fetched: Counter[str] = Counter()

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = 1 << 22) -> StoredManifest:
        if isinstance(reference, Tag):
            self.names[repo] += 1
        found = super().get_manifest(repo, reference, most=most)
        if isinstance(reference, Tag):
            self.given[reference] += 1
        return found

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        self.fetched[repo] += 1
        return super().open_blob(repo, descriptor, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed(TrustStore):
    """A directory that counts how often it is asked for the keys with which something was signed."""

    asked: list[PartyId] = field(default_factory=list, compare=False)

    def signer(self, party: PartyId, role: Role, fingerprint: Digest, at: datetime) -> KeySet:
        self.asked.append(party)
        return TrustStore.signer(self, party, role, fingerprint, at)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine_until(3)}
    made = rounds_world(tmp_path / "world", program=program, registry=Asked())
    yield made
    made.close()


def follow(here: World, made: Train) -> Whereabouts:
    mail = read_mail(Depot(here.registry), made.id, made.manifest, MAIL)
    return whereabouts_of(made.verified, mail, here.consortium.trust, sent=here.now, now=here.now)


def told(here: World, made: Train) -> str:
    return describe(follow(here, made), now=here.now)


def test_who_has_boarded_is_seen_and_who_is_waited_for(here: World) -> None:
    here.change("hospital-b", policy=AllOf(rules=(usual_policy(), ByHand())))
    made = rounds_train(here, most=6)
    board(here, made)
    here.settle()
    text = told(here, made)
    assert text.count("boarding") == 4
    assert "hospital-a               passed" in text
    assert "waiting for hospital-b since" in text
    assert "nothing runs before all are on board; it may wait for a person" in text
    assert "the run may take" not in text
    assert "'pht train recall' ends it" in text
    assert whereabouts_document(follow(here, made), here.now)["waitingFor"] == ["hospital-b"]


def test_a_station_that_refuses_to_board_is_named_with_its_reason(here: World) -> None:
    here.change("hospital-b", policy=Owners(allowed=frozenset()))
    made = rounds_train(here, most=6)
    board(here, made)
    here.settle()
    found = follow(here, made)
    assert found.stopped is not None
    assert (found.stopped.station, found.stopped.place) == ("hospital-b", "boarding")
    assert "ended at hospital-b: refused" in told(here, made)


def test_rounds_go_by_with_their_times_and_several_are_waited_for(here: World) -> None:
    made = rounds_train(here, most=6)
    board(here, made)
    second = made.manifest.route.ends[1]
    while not any(one.departed and one.accepted and one.accepted.stop == second for one in here.visits(JUNCTION)):
        for name in here.houses:
            here.step(name)
    text = told(here, made)
    assert "departure" in text
    assert "boarding" not in text
    for number in (1, 2):
        assert f"round   {number}  combine     {JUNCTION}                 passed" in text
    found = follow(here, made)
    assert {one.round for one in found.stops if one.state is StopState.WAITING} <= {2}
    here.settle()
    assert follow(here, made).passed
    assert "every station has passed it on" in told(here, made)


def test_following_asks_for_a_bounded_number_of_names(here: World) -> None:
    made = rounds_train(here, most=90)
    board(here, made)
    here.settle()
    assert isinstance(here.registry, Asked)
    here.registry.names.clear()
    assert follow(here, made).passed
    assert here.registry.names["mailbox/alice"] <= 20


# --- Who watches pays for what is new -----------------------------------------------------------------------------------


@dataclass
class Watcher:
    """An owner who looks again and again, and what that costs."""

    here: World
    train: Train
    trust: Witnessed
    follower: Follower

    def look(self) -> tuple[Whereabouts, int, int]:
        """Return where the train is, how many names were asked for in the owner's mailbox, and how much was verified."""
        registry = self.here.registry
        assert isinstance(registry, Asked)
        names, signers = registry.names["mailbox/alice"], len(self.trust.asked)
        found = self.follower.look(self.trust, now=self.here.now)
        return found, registry.names["mailbox/alice"] - names, len(self.trust.asked) - signers


def watcher(here: World, made: Train) -> Watcher:
    trust = Witnessed(**{one.name: getattr(here.consortium.trust, one.name) for one in fields(TrustStore)})
    record = TrainRecord(
        train=made.id,
        envelope=made.envelope,
        letter=b"",
        mail=MAIL,
        manifest=made.manifest,
        source=digest_of(b""),
        content=digest_of(b""),
        recorded=here.now,
        sent=here.now,
    )
    return Watcher(here, made, trust, Follower(record, Depot(here.registry)))


def test_a_look_that_finds_nothing_new_costs_the_same_however_many_rounds_lie_behind(here: World) -> None:
    made = rounds_train(here, most=90)
    board(here, made)
    watching, idle = watcher(here, made), Counter[int]()
    registry = here.registry
    assert isinstance(registry, Asked)
    while True:
        for name in here.houses:
            here.step(name)
        registry.given.clear()
        found, _, _ = watching.look()
        assert set(registry.given.values()) <= {1}
        if found.ended:
            break
        registry.given.clear()
        fetched = registry.fetched["mailbox/alice"]
        again, asked, verified = watching.look()
        assert again == found
        assert (verified, list(registry.given), registry.fetched["mailbox/alice"] - fetched) == (0, [], 0)
        last = max(one.round for one in found.stops)
        idle[last] = max(idle[last], asked)
    assert found.passed
    assert sorted(idle) == [0, 1, 2, 3]
    assert idle[1] == idle[2] == idle[3] == 1 + 2 * (len(STATIONS) + 1)


def test_what_was_verified_once_is_verified_again_only_when_the_directory_changes(here: World) -> None:
    made = rounds_train(here, most=90)
    board(here, made)
    here.settle()
    watching = watcher(here, made)
    found, _, verified = watching.look()
    assert found.passed
    assert verified > 0
    assert watching.look()[2] == 0
    watching.trust = replace(watching.trust, expires=watching.trust.expires + timedelta(days=1))
    again, asked, repeated = watching.look()
    assert (again, repeated) == (found, verified)
    assert asked <= 20

    # What a key has signed that is revoked meanwhile counts no more.
    junction = watching.trust.parties[PartyId(JUNCTION)]
    revoked = replace(junction, key_sets=tuple(replace(one, revoked=one.since) for one in junction.key_sets))
    watching.trust = replace(watching.trust, parties={**watching.trust.parties, junction.party: revoked})
    found, _, _ = watching.look()
    assert not found.passed
    assert any("[key.revoked]" in doubt for doubt in found.doubts)


def test_a_forged_receipt_is_doubted_until_the_true_one_lies_in_its_place(here: World) -> None:
    made = rounds_train(here, most=6)
    board(here, made)
    here.step("hospital-a")
    while not watcher(here, made).look()[0].learnt:
        here.step("hospital-a")
    registry, watching = here.registry, watcher(here, made)
    stop = made.manifest.route.boarding(PartyId("hospital-a"))
    assert stop is not None
    tag = receipt_tag(made.id, PartyId("alice"), stop, ReceiptKind.ENTRY)
    true = registry.get_manifest(mailbox(PartyId("alice")), tag)
    here.depot.send_receipt(b"none", owner=PartyId("alice"), train=made.id, stop=stop, kind=ReceiptKind.ENTRY)
    for _ in range(2):
        found, _, _ = watching.look()
        assert (len(found.doubts), found.untouched) == (1, True)
    registry.put_manifest(mailbox(PartyId("alice")), tag, true.raw, true.media_type)
    found, _, _ = watching.look()
    assert (found.doubts, found.untouched) == ((), False)
