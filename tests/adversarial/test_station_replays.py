"""Senders and registries that deliver again, twice, differently, or under another's name (T5, T6, T13, T17)."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import Depot, ReceiptKind, mailbox, train_tag
from registry.errors import RegistryUnavailable
from registry.names import Repository, Tag
from registry.oci import OCI_MANIFEST
from security.digest import Digest
from security.directory.trust import Base
from security.errors import Forked, Replayed, SignatureInvalid
from security.ids import PartyId
from security.statement.envelope import Envelope, sign
from security.train.journey import JourneyEntry, Outcome, Refusal, print_entry, print_refusal
from security.train.letters import common_recipient, open_letter, open_parcel, seal_letter, with_common
from station.daemon.reconcile import reconcile
from station.desk.inside import what_it_printed
from station.house.house import House
from station.journal.journal import Journal
from station.sandbox.image import BaseImage
from station.sandbox.order import RunOrder
from station.visit.plan import Phase, phase_of, refuse
from station.visit.station_events import Redelivered
from tests.support.scripted_sandbox import Program
from tests.support.trains import LARGE, NOW, Train
from tests.support.world import World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


def rewrapped(made: Train) -> Train:
    """The same statements with one more signature on the manifest's envelope: other bytes, the same signed content."""
    (first, *rest) = made.envelope.signatures
    stranger = replace(first, key_id=type(first.key_id)("0" * 64))
    again = copy.copy(made)
    again.envelope = Envelope(
        payload=made.envelope.payload, payload_type=made.envelope.payload_type, signatures=(first, *rest, stranger)
    )
    assert again.id == made.id
    return again


def fetched(here: World, station: str) -> Digest:
    """Return what the letters that a station took are kept as."""
    taken = here.visit(station).fetched
    assert taken is not None
    return taken.parts.digest


def refusals(here: World, station: str) -> list[str]:
    return [visit.refused.code for visit in here.visits(station) if visit.refused]


def test_t5_t6_the_same_train_in_another_wrapping_is_not_run_again(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    here.submit(rewrapped(made))
    here.settle()
    assert refusals(here, "hospital-a") == [Replayed.code]
    assert len(here.sandboxes["hospital-a"].started) == 1
    assert len(here.receipts(made, ReceiptKind.ENTRY)) == 1
    assert here.receipts(made, ReceiptKind.REFUSAL) == ()
    assert here.waits_for("hospital-a") == ()


def test_t5_a_second_delivery_while_the_first_is_at_work_is_refused(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").started is None:
        here.step("hospital-a")
    here.submit(rewrapped(made))
    here.settle()
    assert refusals(here, "hospital-a") == [Replayed.code]
    assert here.at_home(made.id)


def test_t5_two_states_for_one_stop_are_a_fork_and_the_second_is_kept_as_evidence(here: World) -> None:
    """hospital-a signs twice: the first delivery counts, the second proves the fraud."""
    made = here.train(route=("hospital-a", "hospital-b"))
    honest, other = (replace(made, entries=[], blobs=dict(made.blobs)) for _ in range(2))
    honest.pass_stop({"sums.json": b'{"sum":1,"n":1}'})
    other.pass_stop({"sums.json": b'{"sum":2,"n":1}'})
    here.submit(honest)
    here.settle("hospital-b")
    second = here.submit(other)
    here.settle("hospital-b")
    assert refusals(here, "hospital-b") == [Forked.code]
    assert len(here.sandboxes["hospital-b"].started) == 1
    house = here.houses["hospital-b"]
    identity = here.consortium.secrets[PartyId("hospital-b")].identity
    fetched = house.journal.visit(second).fetched
    assert fetched is not None
    evidence = open_parcel(house.depot.load(fetched.parts.digest, house.spool), [identity]).parts
    assert evidence.entries[0].digest == other.entries[0].digest
    assert all(house.spool.has(one.digest) for one in evidence.states)
    assert len(evidence.states) == 1


def test_t5_a_journal_restored_from_a_backup_does_not_sign_a_second_entry(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    here.settle("hospital-a")
    (before,) = here.receipts(made, ReceiptKind.ENTRY)
    here.houses["hospital-a"].journal.close()
    here.change("hospital-a", journal=Journal.open(tmp_path / "older" / "journal.sqlite"))
    here.submit(made)
    here.settle("hospital-a")
    assert refusals(here, "hospital-a") == [Replayed.code]
    assert here.receipts(made, ReceiptKind.ENTRY) == (before,)
    assert len(here.sandboxes["hospital-a"].started) == 1


BEFORE_THE_RUN = (
    Phase.FETCHED,
    Phase.ACCEPTED,
    Phase.ADMITTED,
    Phase.OPENED,
    Phase.FURNISHED,
    Phase.RUNNING,
)
AFTER_THE_RUN = (
    Phase.ENDED,
    Phase.CLEARED,
    Phase.SEALED,
    Phase.READY,
)


def outside(here: World) -> dict[str, dict[str, Digest]]:
    """Everything a station could have changed where others see it: what every mailbox names."""
    boxes = [mailbox(PartyId(name)) for name in ("alice", "hospital-a", "hospital-b")]
    return {
        box: {tag: here.registry.get_manifest(box, tag).digest for tag in here.registry.list_tags(box)} for box in boxes
    }


def counting(*codes: int) -> Program:
    """An analysis that passes or fails as told, one run after the other, and never leaves the same twice."""
    runs = enumerate(codes, start=1)

    def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
        number, code = next(runs)
        say(b"run %d" % number)
        (order.state / "sums.json").write_text(json.dumps({"sum": number, "n": 1}))
        return code

    return run


@pytest.mark.parametrize(
    ("phase", "codes"),
    [
        *itertools.product(BEFORE_THE_RUN, [(0, 0), (0, 1), (1, 0), (1, 1)]),
        *((phase, (0,)) for phase in AFTER_THE_RUN),
    ],
)
def test_t5_a_station_restored_from_a_backup_of_mid_visit_signs_nothing_more(
    tmp_path: Path, phase: Phase, codes: tuple[int, ...]
) -> None:
    """The journal knows that the train was accepted, and has forgotten that it was answered for."""
    here = world(tmp_path / "world", stations=("hospital-a", "hospital-b"), program=counting(*codes))
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    while here.visits("hospital-a") == () or phase_of(here.visit("hospital-a")) is not phase:
        here.step("hospital-a")
    here.back_up("hospital-a", tmp_path / "backup")
    here.settle("hospital-a")
    before, first = outside(here), here.visit("hospital-a").signed
    here.restore("hospital-a", tmp_path / "backup")
    assert here.visit("hospital-a").signed is None
    here.settle("hospital-a")
    visit = here.visit("hospital-a")
    assert first is not None
    assert visit.signed is None
    assert phase_of(visit) is Phase.GONE
    if phase is Phase.FETCHED:
        assert refusals(here, "hospital-a") == [Replayed.code]
    else:
        assert visit.superseded is not None
        assert visit.superseded.statement == first.entry
    assert outside(here) == before
    assert here.plaintext("hospital-a") == []
    assert here.sandboxes["hospital-a"].leftovers("test-hospital-a") == ()
    here.close()


def test_t5_what_a_restored_station_refuses_by_hand_is_not_signed_either(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").admitted is None:
        here.step("hospital-a")
    here.back_up("hospital-a", tmp_path / "backup")
    here.settle("hospital-a")
    before = outside(here)
    here.restore("hospital-a", tmp_path / "backup")
    visit = here.visit("hospital-a")
    no = refuse(visit, code="policy.refused", reason="", by="grace", now=here.now)
    here.houses["hospital-a"].journal.append(visit.arrival, no, expect=visit.length)
    here.settle("hospital-a")
    assert here.visit("hospital-a").superseded is not None
    assert outside(here) == before


def test_t5_what_a_restored_stations_run_printed_is_kept_for_its_operator(tmp_path: Path) -> None:
    here = world(tmp_path / "world", stations=("hospital-a",), program=counting(0, 1))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").admitted is None:
        here.step("hospital-a")
    here.back_up("hospital-a", tmp_path / "backup")
    here.settle("hospital-a")
    here.restore("hospital-a", tmp_path / "backup")
    here.settle("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.superseded is not None
    assert what_it_printed(visit, here.houses["hospital-a"]) == b"run 2"
    here.close()


def test_t5_nothing_is_signed_while_nobody_can_tell_whether_it_was_before(here: World) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    while here.visits("hospital-a") == () or phase_of(here.visit("hospital-a")) is not Phase.READY:
        here.step("hospital-a")
    honest = here.houses["hospital-a"].depot
    here.change("hospital-a", depot=Depot(Unreachable()))  # type: ignore[arg-type] # whatever is asked of it
    for _ in range(3):
        reconcile(here.visit("hospital-a").arrival, here.houses["hospital-a"], here.now)
        here.now += timedelta(minutes=1)
    visit = here.visit("hospital-a")
    assert phase_of(visit) is Phase.READY
    assert visit.stumbled is not None
    assert visit.stumbled.code == RegistryUnavailable.code
    here.change("hospital-a", depot=honest)
    here.settle()
    assert here.at_home(made.id)


def test_t5_what_was_signed_is_what_is_sent_after_an_outage_and_a_restart(here: World) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    while here.visits("hospital-a") == () or phase_of(here.visit("hospital-a")) is not Phase.SIGNED:
        here.step("hospital-a")
    signed = here.visit("hospital-a").signed
    assert signed is not None
    honest = here.houses["hospital-a"].depot
    here.change("hospital-a", depot=Depot(Unreachable()))  # type: ignore[arg-type] # whatever is asked of it
    for _ in range(3):
        reconcile(here.visit("hospital-a").arrival, here.houses["hospital-a"], here.now)
        here.now += timedelta(minutes=1)
    assert phase_of(here.visit("hospital-a")) is Phase.SIGNED
    here.restart("hospital-a")
    here.change("hospital-a", depot=honest)
    here.settle()
    (receipt,) = (one for one in here.receipts(made, ReceiptKind.ENTRY) if one.stop == 0)
    assert here.read(made, receipt).digest == signed.entry
    assert here.visit("hospital-a").signed == signed
    assert here.at_home(made.id)


def test_t5_what_others_put_under_our_receipts_name_keeps_no_train(here: World) -> None:
    """Entry and refusal for our stop, signed by another station: whoever may write there could stop every train."""
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    for kind, statement in forged_statements(here, made):
        envelope = sign(statement, here.consortium.secrets[PartyId("hospital-b")].signers)
        readers = [here.consortium.secrets[PartyId("hospital-a")].key_set.sealing, made.manifest.recipient]
        letter = seal_letter(envelope, [*readers, made.manifest.mail])
        here.depot.send_receipt(letter, owner=PartyId("alice"), train=made.id, stop=0, kind=kind)
    here.settle()
    assert here.at_home(made.id)


def forged_statements(here: World, made: Train) -> list[tuple[ReceiptKind, bytes]]:
    version = here.consortium.trust.version
    entry = JourneyEntry(
        train=made.id,
        stop=0,
        attempt=1,
        station=PartyId("hospital-a"),
        previous=(made.envelope.digest,),
        states_in=(),
        state_out=made.manifest.base,
        base=made.manifest.base,
        directory=version,
        sandbox="docker-runc-v1",
        time=NOW,
    )
    refusal = Refusal(
        train=made.id,
        stop=0,
        station=PartyId("hospital-a"),
        outcome=Outcome.REFUSED,
        directory=version,
        time=NOW,
    )
    return [(ReceiptKind.ENTRY, print_entry(entry)), (ReceiptKind.REFUSAL, print_refusal(refusal))]


class Unreachable:
    """A registry that is away."""

    def __getattr__(self, name: str) -> object:
        msg = "the registry does not answer"
        raise RegistryUnavailable(msg, asked=name)


def test_t6_a_finished_train_delivered_again_is_taken_out_and_noted(here: World) -> None:
    made = here.train(route=("hospital-a",))
    digest = here.submit(made)
    here.settle()
    assert here.submit(made) == digest
    here.settle()
    assert here.waits_for("hospital-a") == ()
    assert len(here.visits("hospital-a")) == 1
    assert len(here.sandboxes["hospital-a"].started) == 1
    noted = [one for one in here.houses["hospital-a"].journal.station_events() if isinstance(one, Redelivered)]
    assert [one.arrival for one in noted] == [digest]


def test_t6_an_expired_train_is_refused_without_being_fetched(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.now = made.manifest.valid_until
    here.consortium.expires = here.now + timedelta(days=1)
    here.submit(made)
    here.settle()
    assert refusals(here, "hospital-a") == ["train.outside-validity"]
    assert not here.houses["hospital-a"].spool.has(made.manifest.code.digest)


def test_t6_a_train_not_yet_valid_waits_until_it_is(here: World) -> None:
    made = here.train(route=("hospital-a",), valid_from=NOW + timedelta(hours=1))
    here.submit(made)
    here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "time.not-yet"
    assert not here.houses["hospital-a"].spool.has(made.manifest.code.digest)
    here.settle()
    assert here.visit("hospital-a").refused is None
    assert here.visit("hospital-a").accepted is not None
    assert here.visit("hospital-a").accepted.at >= made.manifest.valid_from  # type: ignore[union-attr]
    assert here.at_home(made.id)


def test_t5_a_forged_arrival_under_the_real_trains_name_does_not_use_up_its_visit(here: World) -> None:
    made, forged = here.train(route=("hospital-a",)), here.train(route=("hospital-a",), owner="mallory")
    digest = here.submit(forged)
    here.tag(made, to="hospital-a", stop=0, digest=digest)
    here.settle()
    assert refusals(here, "hospital-a") == ["policy.refused"]
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)


def test_t13_a_tag_moved_after_the_look_changes_nothing(here: World) -> None:
    """What was noticed is fetched by digest; what the tag names now is another arrival."""
    made, other = here.train(route=("hospital-a",)), here.train(route=("hospital-a",), owner="mallory")
    first = here.submit(made)
    here.notice("hospital-a")
    second = here.submit(other)
    here.tag(made, to="hospital-a", stop=0, digest=second)
    here.settle()
    arrivals = {visit.arrival: visit for visit in here.visits("hospital-a")}
    assert set(arrivals) == {first, second}
    accepted = arrivals[first].accepted
    assert accepted is not None
    assert accepted.train == made.id
    assert here.at_home(made.id)
    assert not here.at_home(other.id, owner="mallory")


def test_t17_a_strangers_blobs_are_not_fetched(here: World) -> None:
    """Whoever can write to a mailbox cannot fill the disk: documents are verified before sealed blobs are taken."""
    made = here.train(route=("hospital-b",))
    here.submit(made, to="hospital-a")
    here.settle("hospital-a")
    assert refusals(here, "hospital-a") == ["seal.recipients"]
    assert not here.houses["hospital-a"].spool.has(made.manifest.code.digest)
    assert here.waits_for("hospital-a") == ()


def test_t14_what_is_no_train_at_all_is_refused_and_taken_out(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    repo, tag = mailbox(PartyId("hospital-a")), train_tag(made.id, PartyId("hospital-a"), 0)
    stored = here.registry.get_manifest(repo, tag)
    raw = stored.raw.replace(b"application/vnd.pht.train.v1", b"application/vnd.pht.train.v9")
    here.registry.delete_manifest(repo, stored.digest)
    here.registry.put_manifest(repo, Tag(tag), raw, OCI_MANIFEST)
    here.settle("hospital-a")
    assert refusals(here, "hospital-a") == ["malformed.artifact"]
    assert here.waits_for("hospital-a") == ()


class Garbling:
    """A registry whose blobs of one digest come out changed."""

    def __init__(self, inner: object, digest: Digest) -> None:
        self._inner, self.digest = inner, digest

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def open_blob(self, repo: Repository, descriptor: object, *after: object) -> object:
        import io

        from registry.check import open_checked

        if getattr(descriptor, "digest", None) == self.digest:
            return open_checked(io.BytesIO(b"x" * getattr(descriptor, "size", 0)), descriptor)  # type: ignore[arg-type]
        return self._inner.open_blob(repo, descriptor, *after)  # type: ignore[attr-defined]


def test_t15_a_registry_that_garbles_blobs_is_not_the_trains_fault(here: World) -> None:
    made = here.train(route=("hospital-a",), files=LARGE)
    here.submit(made)
    honest = here.houses["hospital-a"].depot
    here.change("hospital-a", depot=type(honest)(Garbling(here.registry, made.manifest.code.digest)))  # type: ignore[arg-type]
    for _ in range(4):
        here.step("hospital-a")
        here.now += timedelta(seconds=30)
    visit = here.visit("hospital-a")
    assert visit.refused is None
    assert visit.stumbled is not None
    assert visit.stumbled.code == "registry.misbehaved"
    here.change("hospital-a", depot=honest)
    here.settle()
    assert here.at_home(made.id)


def test_t22_what_was_damaged_on_our_own_disk_is_found_before_it_is_opened(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").admitted is None:
        here.step("hospital-a")
    path = here.houses["hospital-a"].spool.at(made.manifest.code.digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    here.step("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.refused is None
    assert visit.stumbled is not None
    assert visit.stumbled.code == "spool.damaged"


def test_t21_a_key_set_revoked_while_the_train_waits_stops_it(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").admitted is None:
        here.step("hospital-a")
    here.consortium.revoked.add(made.manifest.owner.key_set)
    here.settle()
    assert refusals(here, "hospital-a") == ["key.revoked"]
    assert here.sandboxes["hospital-a"].started == []


def test_t21_a_broken_signature_on_an_entry_that_is_known_here_is_noticed_here(here: World) -> None:
    """hospital-c sends on what hospital-a signed, under another signature: what hospital-b sent home then, nobody would take."""
    b, c = PartyId("hospital-b"), PartyId("hospital-c")
    made = here.train(route=("hospital-a", b, c, b))
    here.submit(made)
    for station in ("hospital-a", b, c):
        here.settle(station)
    (arrival,) = here.depot.arrivals(b)
    sent = here.depot.letters(arrival).parcel
    came = here.depot.load(fetched(here, c), here.houses[c].spool).entries
    keys = with_common(made.manifest, [here.consortium.secrets[c].identity])
    first = open_letter(came[0], keys).envelope
    (signature,) = first.signatures
    spoiled = replace(first, signatures=(replace(signature, sig=bytes(len(signature.sig))),))
    forged = seal_letter(spoiled, [common_recipient(made.manifest)])
    parcel = replace(sent, entries=(forged, *sent.entries))
    here.depot.send(parcel, here.houses[c].spool, to=b, train=made.id, stop=3)
    here.settle()
    assert refusals(here, b) == [SignatureInvalid.code]
    assert len(here.sandboxes[b].started) == 1
    assert not here.at_home(made.id)


def test_t9_the_next_reader_is_the_one_the_directory_names(here: World) -> None:
    """A next station revoked during the run gets nothing: nobody may read on."""
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").cleared is None:
        here.step("hospital-a")
    here.consortium.revoked.add(here.consortium.stop("hospital-b").key_set)
    here.settle("hospital-a")
    assert refusals(here, "hospital-a") == ["route.cut-off"]
    assert here.waits_for("hospital-b") == ()
    assert here.plaintext("hospital-a") == []


def test_a_bug_in_a_step_asks_a_person_and_stops_nobody_else(here: World) -> None:
    def broken(base: Base) -> BaseImage:
        raise KeyError(base.name)

    made, house = here.train(route=("hospital-a",)), here.houses["hospital-a"]
    assert isinstance(house, House)
    here.change("hospital-a", base_image=broken)
    here.submit(made)
    for _ in range(12):
        here.step("hospital-a")
        here.now += timedelta(minutes=1)
    visit = here.visit("hospital-a")
    assert phase_of(visit) is Phase.FURNISHED
    assert visit.held is not None
    assert visit.held.reason.startswith("internal error")
