"""What boarding passes are for, attacked with real stations: keys stolen later (T26), and passes that are not those signed (T27).

What can be wrong with a pass as a statement is in `test_rounds_claims`.
"""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import ReceiptKind, mailbox, part_tag
from security.age import HybridIdentity, Identity, PassphraseIdentity, Unwrapper, parse_identity
from security.digest import Digest
from security.errors import (
    BoardingRejected,
    Forked,
    JourneyForeignEntry,
    OutsideValidity,
    PhtError,
    Replayed,
    SealRecipients,
)
from security.ids import PartyId
from security.statement.envelope import parse_envelope
from security.train.boarding import SealedSeed
from security.train.journey import Outcome, read_entry
from security.train.letters import seal_letter
from security.train.seal import seal_note
from station.daemon.sweep import Sweeper
from station.errors import PassGone
from station.house.config import Retention
from station.steps.gathered import came_with
from station.visit.events import Stumbled
from tests.support.journeys import DEPARTURE, FIRST, JUNCTION, SECOND, A, B, C
from tests.support.rounds import STATIONS, SUMMED, SUMS, board, recall, rounds_train, rounds_world
from tests.support.spying import (
    RecordingRegistry,
    another_model,
    board_by_hand,
    opened,
    pass_secrets,
    printed_pass,
)
from tests.support.trains import Train
from tests.support.world import MemoryBlobs, World

EVERYBODY = (*STATIONS, JUNCTION)
MAGIC = b"age-encryption.org/v1\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = rounds_world(tmp_path / "world", program=SUMS, registry=RecordingRegistry())
    yield made
    made.close()


def seen(here: World) -> RecordingRegistry:
    assert isinstance(here.registry, RecordingRegistry)
    return here.registry


def a_train(here: World, *, most: int = 2) -> Train:
    made = rounds_train(here, outputs=SUMMED, most=most)
    board(here, made)
    return made


# --- T26: what is stolen later opens nothing of what was -------------------------------------------------------------------


SECRET = re.compile(rb"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+")


class Thief:
    """Has the disks and the long-lived keys of all stations, and everything that was ever in the registry.

    Tries every key on everything that is sealed, looks for keys in what that opens, and goes on until nothing new comes of it.
    """

    def __init__(self, here: World) -> None:
        self.keys: dict[str, Identity] = {}
        self.letter_keys: dict[str, Unwrapper] = {}
        self.opened: dict[bytes, bytes] = {}
        for party in EVERYBODY:
            self._found(here.consortium.secrets[PartyId(party)].identity)
        self._sealed: set[bytes] = set()
        for letter in seen(here).letters:
            self._look(letter)
        for sent in seen(here).sent:
            for blob in sent.blobs.values():
                self._look(blob)
        for party in EVERYBODY:
            here.houses[party].journal.close()
            for path in here.folder(party).rglob("*"):
                if path.is_file():
                    self._look(path.read_bytes())
            here.restart(party)
        self._go_on()

    def _found(self, identity: Identity) -> None:
        self.keys.setdefault(identity.secret_text(), identity)

    def _look(self, data: bytes) -> None:
        """Take out of some bytes what may be keys or sealed, in any of the spellings that the software uses."""
        for secret in SECRET.findall(data):
            self._found(parse_identity(secret.decode()))
        for secret in re.findall(rb'"letterKey":"([0-9a-f]{64})"', data):
            self.letter_keys[secret.decode()] = PassphraseIdentity(secret)
        if data.startswith(MAGIC):
            self._sealed.add(data)
        for text in re.findall(rb"[0-9a-f]{400,}", data):
            self._look(bytes.fromhex(text[: len(text) // 2 * 2].decode()))
        for text in re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", data):
            raw = base64.b64decode(text[: len(text) // 4 * 4] if len(text) % 4 else text)
            if raw != data and (MAGIC in raw or raw.startswith(b"{")):
                self._look(raw)

    def _go_on(self) -> None:
        tried: set[tuple[str, bytes]] = set()
        while todo := [
            (name, sealed)
            for name in (*self.keys, *self.letter_keys)
            for sealed in self._sealed - set(self.opened)
            if (name, sealed) not in tried
        ]:
            for name, sealed in todo:
                tried.add((name, sealed))
                plain = opened(sealed, [self.letter_keys.get(name) or self.keys[name]])
                if plain is not None:
                    self.opened[sealed] = plain
                    self._look(plain)

    def states(self, here: World) -> dict[Digest, bool]:
        """Return which states of rounds it can read."""
        return {digest: sealed in self.opened for digest, sealed in seen(here).states.items()}


def test_t26_while_a_train_is_under_way_disks_and_keys_open_its_states(here: World) -> None:
    """What the next test is about can be told from nothing being found at all."""
    made = a_train(here)
    for _ in range(2):
        here.settle(*STATIONS)
        here.settle(JUNCTION)
    here.settle(*STATIONS)
    thief = Thief(here)
    states = thief.states(here)
    assert len(thief.keys) == 2 * len(EVERYBODY) - len(STATIONS)  # the hospitals have signed their last stop
    assert set(states.values()) == {True, False}
    here.settle()
    assert here.at_home(made.id)


def test_t26_once_it_has_ended_nothing_opens_a_state_of_any_round(here: World) -> None:
    made = a_train(here)
    here.settle()
    assert here.at_home(made.id)
    thief = Thief(here)
    states = thief.states(here)
    rounds = 2
    assert len(states) == rounds * (len(STATIONS) + 1)
    assert set(states.values()) == {False}
    assert len(thief.keys) == len(EVERYBODY)  # the long-lived ones, and no other
    entries = {
        read_entry(parse_envelope(plain.rstrip(b"\0")).payload).stop
        for sealed, plain in thief.opened.items()
        if sealed in seen(here).letters and b"journey-entry" in base64.b64decode(payload_of(plain))
    }
    assert entries == set(range(SECOND[JUNCTION] + 1))  # letters are for long-lived keys: who, where, when
    seeds = [seed for sealed, seed in thief.opened.items() if len(seed) == 32]
    assert len(seeds) == 6  # of the masks the thief has the sealed half, and not the key exchange


def finishes_early(here: World) -> None:
    """Its second combination says that it has finished, and four more rounds are on its route."""
    made = a_train(here, most=6)
    here.settle()
    assert here.at_home(made.id)


def is_recalled(here: World) -> None:
    """Its owner recalls it when the first round is over and the junction waits for the second."""
    made = a_train(here)
    for _ in range(2):
        here.settle(*STATIONS)
        here.settle(JUNCTION)
    here.settle(A)
    recall(here, made)
    here.settle()
    assert not here.at_home(made.id)


def is_lost(here: World) -> None:
    """The junction sees nothing of the second round, until the time of the train is over."""
    made = a_train(here)
    for _ in range(2):
        here.settle(*STATIONS)
        here.settle(JUNCTION)
    here.settle(A)
    here.consortium.expires = made.manifest.valid_until + timedelta(days=2)
    here.now = made.manifest.valid_until
    for party in EVERYBODY:
        Sweeper(here.houses[party], Retention()).sweep(here.now)
    assert not here.at_home(made.id)


@pytest.mark.parametrize("ends", [finishes_early, is_recalled, is_lost])
def test_t26_however_it_has_ended_nothing_opens_a_state(here: World, ends: Callable[[World], None]) -> None:
    ends(here)
    thief = Thief(here)
    states = thief.states(here)
    assert len(states) > len(STATIONS) + 1
    assert set(states.values()) == {False}
    assert len(thief.keys) == len(EVERYBODY)


def payload_of(plain: bytes) -> bytes:
    found = re.search(rb'"payload":\s*"([^"]+)"', plain)
    return found[1] if found else b""


def test_t26_a_train_that_was_refused_leaves_no_keys_where_it_was(here: World) -> None:
    made = boarded(here)
    (here.folder(B) / "passes" / made.id).write_bytes(b"damaged")
    here.settle(B)
    assert refusals(here, B) == [PassGone.code]
    assert list((here.folder(B) / "passes").iterdir()) == []


@pytest.mark.parametrize("whose", [A, JUNCTION])
def test_t26_a_state_that_is_sealed_for_long_lived_keys_is_refused(here: World, whose: PartyId) -> None:
    """A junction that spares itself the fresh recipients would undo for all what they are for."""
    made = a_train(here)
    for _ in range(2):
        here.settle(*STATIONS)
        here.settle(JUNCTION)
    sent = seen(here).sent_to(A)[-1]

    def long_lived(right: Sequence[str]) -> Sequence[str]:
        return [here.consortium.secrets[one].key_set.sealing for one in (whose, B, C)][: len(right)]

    another_model(here, made, sent, {"model.json": b"{}"}, to=A, stop=SECOND[A], readers=long_lived)
    here.settle(A)
    assert refusals(here, A) == [SealRecipients.code]


def test_t9_a_state_that_somebody_else_can_read_too_is_refused(here: World) -> None:
    made = a_train(here)
    for _ in range(2):
        here.settle(*STATIONS)
        here.settle(JUNCTION)
    sent = seen(here).sent_to(A)[-1]
    stranger = str(HybridIdentity.generate().recipient)
    model = {"model.json": b"{}"}
    another_model(here, made, sent, model, to=A, stop=SECOND[A], readers=lambda right: [*right, stranger])
    here.settle(A)
    assert refusals(here, A) == [SealRecipients.code]


# --- T27: passes ------------------------------------------------------------------------------------------------------------


def refusals(here: World, party: str) -> list[str]:
    return [visit.refused.code for visit in here.visits(party) if visit.refused]


def runs(here: World, party: str) -> int:
    return len(here.sandboxes[party].started)


def refused_at(here: World, made: Train, party: str, error: type[PhtError]) -> None:
    """A station refused before anything read data; its owner knows, and nothing came home."""
    here.settle()
    assert refusals(here, party) == [error.code]
    assert here.outcome(made) is Outcome.REFUSED
    assert not here.at_home(made.id)


def boarded(here: World) -> Train:
    """Let everybody board, and the train depart."""
    made = a_train(here)
    here.settle(*STATIONS)
    here.settle(JUNCTION)
    return made


def test_t27_a_station_whose_journal_knows_no_pass_does_not_take_the_one_in_its_name(
    here: World, tmp_path: Path
) -> None:
    here.back_up("hospital-b", tmp_path / "backup")
    made = boarded(here)
    here.restore("hospital-b", tmp_path / "backup")
    refused_at(here, made, B, BoardingRejected)
    assert runs(here, B) == 0


def test_t27_a_station_whose_journal_was_restored_signs_no_second_pass(here: World, tmp_path: Path) -> None:
    """What it boarded with lies in its mailbox again: it finds in the owner's that it has signed."""
    here.back_up("hospital-b", tmp_path / "backup")
    made = boarded(here)
    passes = [one.digest for one in here.receipts(made, ReceiptKind.ENTRY)]
    here.restore("hospital-b", tmp_path / "backup")
    here.depot.send(made.parcel, MemoryBlobs(made.blobs), to=B, train=made.id, stop=made.manifest.route.boarding(B))
    here.settle(B)
    assert sorted(refusals(here, B)) == [BoardingRejected.code, Replayed.code]
    assert [one.digest for one in here.receipts(made, ReceiptKind.ENTRY)] == passes


@pytest.mark.parametrize("hidden", [False, True])
def test_t27_a_station_that_is_restored_without_its_private_halves_masks_nothing_twice(
    here: World, tmp_path: Path, *, hidden: bool
) -> None:
    """As the handbook says to restore one; and a registry delivers again, and may hide, what the journal has forgotten."""
    made = boarded(here)
    here.back_up(B, tmp_path / "backup")
    shutil.rmtree(tmp_path / "backup" / "passes")
    here.settle(B)
    contributed = here.receipts(made, ReceiptKind.ENTRY)[-1]
    assert contributed.stop == FIRST[B]
    states = set(seen(here).states)
    here.restore(B, tmp_path / "backup")
    if hidden:
        here.registry.delete_manifest(mailbox(made.manifest.owner.party), contributed.digest)
    seen(here).put_again(*[one for one in seen(here).tagged if one[0] == mailbox(B)][-1])
    here.settle(B)
    assert refusals(here, B) == [PassGone.code if hidden else Replayed.code]
    assert (runs(here, B), set(seen(here).states)) == (1, states)


def test_t27_a_pass_that_somebody_signed_with_our_keys_is_not_ours(here: World) -> None:
    """Keys were stolen, or used elsewhere: the station that has them here boarded with another pass."""
    made = a_train(here)
    here.settle("hospital-a", "hospital-c")
    here.settle("hospital-b")
    board_by_hand(here, made, B, printed_pass(here, pass_secrets(made, B)))
    here.settle(JUNCTION)
    refused_at(here, made, B, BoardingRejected)
    assert runs(here, B) == 0


def test_t27_two_passes_of_one_station_are_evidence_against_it(here: World) -> None:
    made = a_train(here)
    here.settle("hospital-b", "hospital-c")
    for _ in range(2):
        board_by_hand(here, made, A, printed_pass(here, pass_secrets(made, A)))
        here.settle(JUNCTION)
    assert refusals(here, JUNCTION) == [Forked.code]
    kept = {
        visit.arrival: [read_entry(one.payload) for one in came_with(visit, here.houses[JUNCTION])[1:]]
        for visit in here.visits(JUNCTION)
        if visit.departed
    }
    passes = {
        one.boarding.mask_key for entries in kept.values() for one in entries if one.station == A and one.boarding
    }
    assert len(passes) == 2


def test_t5_t27_one_part_that_comes_again_is_not_waited_for(here: World) -> None:
    """In another wrapping, and without the others: a junction that waited for them would wait for ever."""
    made = boarded(here)
    first = next(one for one in seen(here).sent_to(JUNCTION) if one.stop == 0)
    again = replace(first.parcel, manifest=seal_letter(made.envelope, letter_readers(here, made)))
    here.depot.send(again, MemoryBlobs(first.blobs), to=JUNCTION, train=made.id, stop=DEPARTURE)
    here.settle()
    assert refusals(here, JUNCTION) == [Replayed.code]
    assert here.at_home(made.id)


def letter_readers(here: World, made: Train) -> list[str]:
    keys = [here.consortium.secrets[one].key_set.sealing for one in made.manifest.route.parties]
    return [*keys, made.manifest.recipient, made.manifest.mail]


def test_t6_parts_are_not_waited_for_once_the_time_of_the_train_is_over(here: World) -> None:
    made = a_train(here)
    here.settle("hospital-a", JUNCTION)
    here.now += timedelta(days=15)
    here.consortium.expires = here.now + timedelta(days=7)
    here.settle("hospital-a", JUNCTION)
    assert OutsideValidity.code in refusals(here, JUNCTION)
    assert all(visit.departed for visit in here.visits(JUNCTION))
    assert not here.at_home(made.id)


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"until":"2026-12-01T00:00:00Z","sealed":"00"}'])
def test_t27_a_station_without_its_keys_for_a_train_runs_nothing(here: World, damage: bytes | None) -> None:
    made = boarded(here)
    path = here.folder(B) / "passes" / made.id
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    refused_at(here, made, B, PassGone)
    assert runs(here, B) == 0


def test_t27_keys_that_were_sealed_for_another_station_are_none(here: World) -> None:
    made = boarded(here)
    path = here.folder(B) / "passes" / made.id
    sealed = seal_note(pass_secrets(made, B).to_bytes(), here.consortium.secrets[A].key_set.sealing).hex()
    path.write_text(f'{{"until":"2026-12-01T00:00:00Z","sealed":"{sealed}"}}')
    refused_at(here, made, B, PassGone)


def test_t27_the_keys_of_another_train_open_nothing(here: World) -> None:
    first, second = boarded(here), boarded(here)
    passes = here.folder(B) / "passes"
    (passes / second.id).write_bytes((passes / first.id).read_bytes())
    here.settle(B)
    codes = {visit.accepted.train: visit.refused.code for visit in here.visits(B) if visit.refused and visit.accepted}
    assert codes == {second.id: PassGone.code}


@pytest.mark.parametrize("junk", ["another's", "no seed", "no file"])
def test_t27_a_seed_that_is_none_is_found_before_data_are_read(here: World, junk: str) -> None:
    """hospital-a gives hospital-b something else than a seed for it."""
    made = a_train(here)
    here.settle("hospital-b", "hospital-c")
    good = printed_pass(here, pass_secrets(made, A))
    for_c = next(one.sealed for one in good.seeds if one.party == C)
    short = base64.b64encode(seal_note(b"short", here.consortium.secrets[B].key_set.sealing)).decode()
    bad = {"another's": for_c, "no seed": short, "no file": base64.b64encode(b"no age file").decode()}[junk]
    seeds = tuple(SealedSeed(party=one.party, sealed=bad) if one.party == B else one for one in good.seeds)
    board_by_hand(here, made, A, replace(good, seeds=seeds))
    here.settle(JUNCTION)
    here.settle(B)
    assert refusals(here, B) == [BoardingRejected.code]
    assert runs(here, B) == 0
    here.settle(C)
    assert runs(here, C) == 1  # to C it gave a good one


def test_t27_a_stale_pass_lets_no_train_depart(here: World) -> None:
    """Everybody has boarded, and the conductor comes back when the train's time is over."""
    made = a_train(here)
    here.settle(*STATIONS)
    here.now += timedelta(days=15)
    here.consortium.expires = here.now + timedelta(days=7)
    here.settle()
    assert set(refusals(here, JUNCTION)) == {OutsideValidity.code}
    assert sum(runs(here, party) for party in EVERYBODY) == 0
    assert not here.at_home(made.id)


def test_t27_a_pass_of_another_train_is_no_part_of_this_one(here: World) -> None:
    """Laid in the place of hospital-b's pass it is waited out; it is not taken, and nobody is refused because of it."""
    first, second = a_train(here), a_train(here)
    here.settle("hospital-a", "hospital-c")
    here.settle("hospital-b")
    route = first.manifest.route
    boarding = route.boarding(B)
    assert boarding is not None
    parts = [here.depot.part(JUNCTION, made.id, DEPARTURE, boarding) for made in (first, second)]
    ours, theirs = (here.registry.get_manifest(mailbox(JUNCTION), one.digest) for one in parts if one is not None)
    tag = part_tag(first.id, JUNCTION, DEPARTURE, boarding)
    here.registry.put_manifest(mailbox(JUNCTION), tag, theirs.raw, theirs.media_type)
    here.settle(JUNCTION)
    (waiting,) = (one for one in here.visits(JUNCTION) if one.departed is None and one.accepted is None)
    told = [event.reason for event in waiting.events if isinstance(event, Stumbled)]
    assert f"hospital-b (what lies here in its place is not its part: {JourneyForeignEntry.code})" in told[0]
    here.registry.put_manifest(mailbox(JUNCTION), tag, ours.raw, ours.media_type)
    here.settle()
    assert here.at_home(first.id)
    assert here.at_home(second.id)
