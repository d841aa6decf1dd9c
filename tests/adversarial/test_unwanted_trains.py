"""What does a member of the consortium whom this hospital does not admit cost it? Documents, and no large blob. (T17)"""

from __future__ import annotations

import io
import secrets as random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from security.age import AgeWriter, X25519Identity, parse_recipient
from security.age.header import write_header
from security.archive import padme
from security.errors import BudgetExceeded
from security.ids import PartyId, TrainId
from security.keys.keyset import Secrets
from security.statement.envelope import Envelope, sign
from security.train.journey import Outcome
from security.train.letters import LEAST, seal_letter
from security.train.manifest import MANIFEST, CodeRef, print_manifest
from security.train.seal import CODE_BUDGET, most_sealed
from security.train.verify import verify_train
from station.admission.policy import AllOf, Bases, ByHand, Ceiling, CheckableOutputs, DataSets, Owners, Rule
from station.daemon.retention import Ending, Left, Remains
from station.house.config import CEILING, Retention
from station.visit.events import HoldFor
from tests.support.metered import Metered
from tests.support.trains import LARGE, NOW, Train
from tests.support.visits import digest
from tests.support.world import MemoryBlobs, World, usual_policy, world

STATION, NEXT = PartyId("hospital-a"), PartyId("hospital-b")


@pytest.fixture
def registry() -> Metered:
    return Metered()


@pytest.fixture
def here(tmp_path: Path, registry: Metered) -> Iterator[World]:
    made = world(tmp_path, stations=(STATION,), registry=registry)
    yield made
    made.close()


def rules(**changes: Rule) -> Rule:
    usual: dict[str, Rule] = {
        "owners": Owners(allowed=frozenset({PartyId("alice")})),
        "bases": Bases(allowed=frozenset({"python"})),
        "data": DataSets(offered={"patients": None}),
        "ceiling": Ceiling(most=CEILING),
        "outputs": CheckableOutputs(),
    }
    return AllOf(rules=tuple((usual | changes).values()))


UNWANTED = {
    "owner": rules(owners=Owners(allowed=frozenset({PartyId("mallory")}))),
    "base": rules(bases=Bases(allowed=frozenset({"r"}))),
    "data": rules(data=DataSets(offered={"other": None})),
    "limit": rules(ceiling=Ceiling(most=replace(CEILING, output_bytes=1))),
    "owner, and a person": AllOf(rules=(ByHand(), Owners(allowed=frozenset()))),
}


@pytest.mark.parametrize("why", UNWANTED)
def test_what_the_manifest_shows_to_be_unwanted_costs_no_large_blob(here: World, registry: Metered, why: str) -> None:
    """Its owner is told all the same: the refusal is signed, as that of a train that was looked into."""
    here.change(STATION, policy=UNWANTED[why])
    made = here.train(route=(STATION,), files=LARGE)
    here.submit(made)
    here.settle()
    visit = here.visit(STATION)
    assert made.manifest.code.digest not in registry.opened
    assert visit.refused is not None
    assert visit.refused.code == "policy.refused"
    assert visit.fetched is not None
    assert visit.fetched.sealed == ()
    assert visit.departed is not None
    assert here.outcome(made) is Outcome.REFUSED
    assert not (here.folder(STATION) / "spool" / made.manifest.code.digest.hex).exists()


def test_what_a_person_may_still_admit_is_fetched(here: World, registry: Metered) -> None:
    here.change(STATION, policy=AllOf(rules=(usual_policy(), ByHand())))
    made = here.train(route=(STATION,), files=LARGE)
    here.submit(made)
    here.settle()
    visit = here.visit(STATION)
    assert visit.held is not None
    assert visit.held.hold is HoldFor.ADMISSION
    assert made.manifest.code.digest in registry.opened


def test_a_policy_that_changes_meanwhile_does_not_run_what_was_not_fetched(here: World) -> None:
    here.change(STATION, policy=UNWANTED["owner"])
    made = here.train(route=(STATION,))
    here.submit(made)
    while not here.visits(STATION) or here.visit(STATION).fetched is None:
        here.step(STATION)
    here.change(STATION, policy=usual_policy())
    here.settle()
    visit = here.visit(STATION)
    assert visit.refused is not None
    assert visit.refused.code == "policy.refused"
    assert here.outcome(made) is Outcome.REFUSED


def test_code_larger_than_any_code_can_be_is_refused_by_its_announced_size(here: World) -> None:
    """The owner signed the size; who is admitted must not fill the disk either."""
    honest = here.train(route=(STATION,))
    huge = CodeRef(digest=honest.manifest.code.digest, size=most_sealed(CODE_BUDGET.total_bytes) + 1)
    with pytest.raises(BudgetExceeded):
        verify_train(here.train(route=(STATION,), code=huge).parts, here.consortium.trust, here=STATION, now=NOW)
    verify_train(
        here.train(route=(STATION,), code=replace(huge, size=huge.size - 1)).parts,
        here.consortium.trust,
        here=STATION,
        now=NOW,
    )


def answered(number: int, *, size: int) -> Remains:
    return Remains(
        since=NOW - timedelta(days=1),
        ending=Ending.ANSWERED,
        documents=frozenset({digest(f"document {number}")}),
        sealed=(),
        printed=None,
        document_bytes=size,
    )


def test_documents_of_refused_trains_are_evidence_within_a_number_of_bytes() -> None:
    """Manifests of 4 MiB, signed by a member and refused, used to be kept for ten years, however many."""
    flood = [answered(number, size=4 << 20) for number in range(1600)]
    over = Left(Retention(evidence_bytes=64 << 20))
    for one in flood:
        over.add(one)
    found = over.kept(NOW)
    assert found == {digest(f"document {number}") for number in range(1584, 1600)}


# --- What was signed by hand, since our own tools would not


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (("x" * 1000,) * 4, False),
        (("x" * 1000,) * 4 + ("x",), True),
        (("x" * 1001,), True),
        (("sh", "-c", "true" + " " * 2100 + "; cat /pht/data/patients/*"), True),
        (("x",) * 65, True),
    ],
)
def test_a_command_longer_than_a_person_reads_is_refused_before_anybody_is_asked(
    tmp_path: Path, command: tuple[str, ...], refused: bool
) -> None:
    here = world(tmp_path, stations=(STATION,), policy=AllOf(rules=(usual_policy(), ByHand())))
    try:
        made = here.train(route=(STATION,))
        payload = MANIFEST.print(replace(made.manifest, command=command))
        made.envelope = sign(payload, here.consortium.secrets[made.manifest.owner.party].signers)
        here.submit(made)
        here.settle()
        visit = here.visit(STATION)
        assert (visit.refused is not None) == refused
        assert (visit.held is None) == refused
        if visit.refused is not None:
            assert (visit.refused.by, visit.refused.code) == ("fetch", "malformed.statement")
        assert here.sandboxes[STATION].started == []
    finally:
        here.close()


# --- A route that does not lead here


def for_us_too(made: Train, here: World) -> None:
    """Seal its letters so that hospital-a can read them as well."""
    for letter in (made.envelope, *made.entries):
        readers = [here.consortium.secrets[one].key_set.sealing for one in (STATION, NEXT, made.manifest.owner.party)]
        made.letters[letter.to_bytes()] = seal_letter(letter, (*readers, made.manifest.mail))


@pytest.mark.parametrize("sealed_for_us", [False, True])
@pytest.mark.parametrize("route", [(NEXT,), (NEXT, STATION)])
def test_t17_a_train_on_another_way_costs_no_large_blob(
    tmp_path: Path, registry: Metered, route: tuple[str, ...], sealed_for_us: bool
) -> None:
    """It is put into the mailbox of a station that is not on its route, or not next: nothing of it is fetched but letters."""
    here = world(tmp_path, stations=(STATION, NEXT), registry=registry)
    try:
        made = here.train(route=route, files=LARGE)
        if sealed_for_us:
            for_us_too(made, here)
        here.submit(made, to=STATION)
        here.settle(STATION)
        visit = here.visit(STATION)
        assert visit.refused is not None
        assert visit.refused.by == "fetch"
        assert visit.signed is None
        assert made.manifest.code.digest not in registry.opened
        assert here.waits_for(STATION) == ()
    finally:
        here.close()


# --- An owner to whom nothing can be sealed


def sealed_for_anybody(envelope: Envelope, readers: Sequence[str]) -> bytes:
    """Seal a letter for keys that age tools would not mix."""
    raw, sink, key = envelope.to_bytes(), io.BytesIO(), random.token_bytes(16)
    header = write_header([parse_recipient(one).wrap(key) for one in readers], key)
    with AgeWriter(sink, header, key) as plain:
        plain.write(raw.ljust(max(LEAST, padme(len(raw))), b"\0"))
    return sink.getvalue()


@pytest.mark.parametrize("policy", [usual_policy(), Owners(allowed=frozenset())])
def test_t17_a_train_to_whose_owner_a_station_could_seal_no_answer_leaves_no_visit_without_end(
    here: World, policy: Rule
) -> None:
    here.change(STATION, policy=policy)
    alice, mail = PartyId("alice"), X25519Identity.generate()
    made = here.train(route=(STATION,))
    keys = Secrets(signers=here.consortium.secrets[alice].signers, identity=X25519Identity.generate())
    here.consortium.secrets[alice] = keys
    other = replace(
        made.manifest, owner=here.consortium.stop(alice), recipient=keys.key_set.sealing, mail=str(mail.recipient)
    )
    envelope = sign(print_manifest(other), keys.signers)
    readers = (here.consortium.secrets[STATION].key_set.sealing, other.recipient, other.mail)
    parcel = replace(made.parcel, manifest=sealed_for_anybody(envelope, readers))
    here.depot.send(parcel, MemoryBlobs(made.blobs), to=STATION, train=TrainId(envelope.digest.hex), stop=0)
    here.settle()
    visit = here.visit(STATION)
    assert visit.refused is not None
    assert (visit.refused.by, visit.refused.code) == ("fetch", "seal.recipients")
    assert here.houses[STATION].journal.unfinished() == ()
    assert here.sandboxes[STATION].started == []
