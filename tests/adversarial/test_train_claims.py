"""Attacks on what a train claims, mounted on real envelopes: T1 to T4, T6, T7, T11, T12, T21."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from security.digest import digest_of
from security.directory.trust import Base, DirectoryVersion, Policy
from security.encoding import dump_json, parse_json
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    DirectoryExpired,
    JourneyForeignEntry,
    JourneyIncomplete,
    JourneyTooLong,
    JourneyUnlinked,
    KeyNotTrusted,
    KeyOutsideValidity,
    KeyRevoked,
    Malformed,
    MalformedStatement,
    NotOnRoute,
    NotYet,
    OutsideValidity,
    PartyUnknown,
    PhtError,
    RouteCutOff,
    RouteViolated,
    SignatureInvalid,
    SignatureMissing,
)
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, generate
from security.statement.envelope import Envelope, parse_envelope, sign
from security.train.endings import check_refusal
from security.train.journey import (
    Outcome,
    Refusal,
    StateRef,
    check_journey,
    print_refusal,
)
from security.train.manifest import print_manifest
from security.train.seal import most_sealed
from security.train.verify import verify_home, verify_train
from tests.support.trains import BASE, NOW, Consortium, Train, consortium, train

A, B, C, ALICE = PartyId("hospital-a"), PartyId("hospital-b"), PartyId("hospital-c"), PartyId("alice")


@pytest.fixture(scope="module")
def parties() -> Consortium:
    return consortium()


def refused(error: type[PhtError], it: Train, here: PartyId, code: str) -> None:
    with pytest.raises(error) as caught:
        verify_train(it.parts, it.world.trust, here=here, now=NOW)
    assert type(caught.value) is error
    assert caught.value.code == code


def altered(envelope: Envelope, old: bytes, new: bytes) -> Envelope:
    assert old in envelope.payload
    return replace(envelope, payload=envelope.payload.replace(old, new))


def test_an_honest_train_is_accepted_at_every_stop_and_at_home(parties: Consortium) -> None:
    it = train(parties)
    for index, here in enumerate((A, B, C)):
        accepted = verify_train(it.parts, parties.trust, here=here, now=NOW)
        assert (accepted.stop, accepted.train) == (index, it.id)
        assert accepted.journey.previous == (it.head,)
        it.pass_stop()
    home = verify_home(it.parts, parties.trust, owner=ALICE, now=NOW)
    assert [entry.value.station for entry in home.journey.entries] == [A, B, C]
    assert [one.recipients for one in home.received()] == [(ALICE,)]


# --- T1: all keys replaced by the attacker's ---------------------------------------------------------------------------


def test_t1_a_train_of_an_attackers_own_consortium_is_refused(parties: Consortium) -> None:
    theirs = consortium()  # same names, other keys, everything consistent in itself
    it = train(theirs).travel(1)
    with pytest.raises(KeyNotTrusted):
        verify_train(it.parts, parties.trust, here=B, now=NOW)


def test_t1_the_owners_name_with_the_attackers_signature_is_refused(parties: Consortium) -> None:
    it = train(parties)
    it.envelope = sign(it.envelope.payload, generate([Scheme.ED25519]).signers)
    refused(SignatureMissing, it, A, "signature.missing")


def test_t1_a_signature_that_claims_the_owners_key_id_is_refused(parties: Consortium) -> None:
    it = train(parties)
    forged = sign(it.envelope.payload, generate([Scheme.ED25519]).signers).signatures[0]
    honest = it.envelope.signatures[0]
    it.envelope = replace(it.envelope, signatures=(replace(forged, key_id=honest.key_id),))
    refused(SignatureInvalid, it, A, "signature.invalid")


def test_t1_an_entry_signed_by_another_station_is_refused(parties: Consortium) -> None:
    it = train(parties)
    state = it.seal({})
    from security.train.journey import print_entry

    it.entries.append(sign(print_entry(it.entry(state)), parties.secrets[C].signers))
    it.state = state
    refused(SignatureMissing, it, B, "signature.missing")


def test_t1_results_may_not_go_to_a_key_that_is_not_the_owners(parties: Consortium) -> None:
    it = train(parties, recipient=parties.secrets[PartyId("mallory")].key_set.sealing)
    refused(KeyNotTrusted, it, A, "key.not-trusted")


def test_t1_a_station_cannot_own_a_train(parties: Consortium) -> None:
    it = train(parties, owner="hospital-a")
    refused(PartyUnknown, it, A, "party.unknown")


def test_t1_an_owner_cannot_be_a_stop(parties: Consortium) -> None:
    it = train(parties, route=["hospital-a", "mallory"])
    with pytest.raises(RouteCutOff, match=r"party\.unknown"):
        verify_train(it.parts, parties.trust, here=A, now=NOW)
    refused(PartyUnknown, train(parties, route=["mallory", "hospital-a"]), PartyId("mallory"), "party.unknown")


# --- T2 and T4: journeys that are too short, too long, reordered -------------------------------------------------------


def test_t2_a_train_cannot_pretend_to_be_at_its_first_stop(parties: Consortium) -> None:
    it = train(parties).travel(2)
    it.entries, it.state = [], None
    refused(JourneyIncomplete, it, B, "journey.incomplete")
    refused(JourneyIncomplete, it, C, "journey.incomplete")


def test_t2_no_state_with_a_journey_and_no_journey_with_a_state(parties: Consortium) -> None:
    it = train(parties).travel(1)
    state, it.state = it.state, None
    refused(JourneyIncomplete, it, B, "journey.incomplete")
    it.entries, it.state = [], state
    refused(JourneyIncomplete, it, A, "journey.incomplete")


def test_t2_no_state_is_awaited_at_the_first_stop(parties: Consortium) -> None:
    assert verify_train(train(parties).parts, parties.trust, here=A, now=NOW).received() == ()


def test_t17_a_state_larger_than_the_signed_limits_allow_for_is_refused(parties: Consortium) -> None:
    it = train(parties).travel(1)
    assert it.state is not None
    most = most_sealed(it.manifest.limits.output_bytes)
    it.state = replace(it.state, size=most)
    assert verify_train(it.parts, parties.trust, here=B, now=NOW).states == (it.state,)
    it.state = replace(it.state, size=most + 1)
    refused(BudgetExceeded, it, B, "malformed.too-large")


def test_t4_exactly_as_many_entries_as_asked_for(parties: Consortium) -> None:
    it = train(parties).travel(2)
    journey = check_journey(it.verified, it.entries, 2, parties.trust, now=NOW)
    assert [entry.value.stop for entry in journey.entries] == [0, 1]
    for stop, error in ((1, JourneyTooLong), (3, JourneyIncomplete)):
        with pytest.raises(error):
            check_journey(it.verified, it.entries, stop, parties.trust, now=NOW)


def test_t4_a_stop_cannot_be_dropped_at_the_end(parties: Consortium) -> None:
    it = train(parties).travel(2)
    del it.entries[-1]
    refused(JourneyIncomplete, it, C, "journey.incomplete")


def test_t4_a_stop_cannot_be_dropped_in_the_middle(parties: Consortium) -> None:
    it = train(parties).travel(2)
    del it.entries[0]
    refused(SignatureMissing, it, C, "signature.missing")


def test_t4_stops_cannot_be_reordered(parties: Consortium) -> None:
    it = train(parties).travel(2)
    it.entries.reverse()
    refused(SignatureMissing, it, C, "signature.missing")


def test_t4_an_entry_cannot_be_duplicated(parties: Consortium) -> None:
    it = train(parties).travel(1)
    it.entries.append(it.entries[0])
    refused(SignatureMissing, it, C, "signature.missing")


def test_t4_an_entry_cannot_be_duplicated_where_the_same_station_comes_twice(parties: Consortium) -> None:
    it = train(parties, route=["hospital-a", "hospital-a", "hospital-b"]).travel(1)
    it.entries.append(it.entries[0])
    refused(JourneyForeignEntry, it, B, "journey.foreign-entry")


def test_t4_more_entries_than_stops_are_refused(parties: Consortium) -> None:
    it = train(parties, route=["hospital-a"]).travel(1)
    it.entries.append(it.entries[0])
    refused(JourneyTooLong, it, A, "journey.too-long")


def test_t4_a_train_that_is_past_us_is_refused(parties: Consortium) -> None:
    refused(JourneyTooLong, train(parties).travel(2), A, "journey.too-long")


def test_t4_a_station_off_the_route_refuses(parties: Consortium) -> None:
    refused(NotOnRoute, train(parties, route=["hospital-a", "hospital-b"]), C, "route.not-on-route")


def test_t4_the_route_cannot_be_changed_after_signing(parties: Consortium) -> None:
    it = train(parties)
    it.envelope = altered(it.envelope, b'"party":"hospital-c"', b'"party":"hospital-a"')
    refused(SignatureInvalid, it, A, "signature.invalid")


# --- T3 and T7: entries and states from elsewhere ----------------------------------------------------------------------


def test_t3_the_same_stations_entry_from_another_train_is_refused(parties: Consortium) -> None:
    it, other = train(parties).travel(1), train(parties).travel(1)
    it.entries, it.state = other.entries, other.state
    refused(JourneyForeignEntry, it, B, "journey.foreign-entry")


def test_t3_an_entry_older_than_the_one_it_hangs_on_is_refused(parties: Consortium) -> None:
    it = train(parties, valid_from=NOW - timedelta(days=2)).travel(1)
    it.pass_stop(time=NOW - timedelta(minutes=11))
    refused(JourneyForeignEntry, it, C, "journey.foreign-entry")
    skewed = train(parties, valid_from=NOW - timedelta(days=2)).travel(1)
    skewed.pass_stop(time=NOW - timedelta(minutes=10))
    assert verify_train(skewed.parts, parties.trust, here=C, now=NOW).stop == 2


def test_t3_the_same_stations_entry_from_another_stop_is_refused(parties: Consortium) -> None:
    it = train(parties, route=["hospital-a", "hospital-b", "hospital-a", "hospital-b"]).travel(3)
    it.entries[0] = it.entries[2]
    refused(JourneyForeignEntry, it, B, "journey.foreign-entry")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"station": C}, JourneyForeignEntry),
        ({"stop": 2}, JourneyForeignEntry),
        ({"base": digest_of(b"another base")}, JourneyForeignEntry),
        ({"time": NOW - timedelta(days=3)}, JourneyForeignEntry),
        ({"time": NOW - timedelta(days=365)}, KeyOutsideValidity),
        ({"previous": (digest_of(b"another entry"),)}, JourneyUnlinked),
        ({"previous": (digest_of(b"another entry"), digest_of(b"one more"))}, JourneyUnlinked),
        ({"states_in": (digest_of(b"another state"),)}, JourneyUnlinked),
        ({"states_in": ()}, JourneyUnlinked),
    ],
    ids=str,
)
def test_t3_an_entry_that_says_something_else_is_refused(
    parties: Consortium, change: dict[str, object], error: type[PhtError]
) -> None:
    it = train(parties).travel(1)
    it.pass_stop(**change)  # type: ignore[arg-type] # spoiled on purpose
    refused(error, it, C, error.code)


def test_t3_a_signature_moved_to_other_bytes_is_refused(parties: Consortium) -> None:
    it = train(parties).travel(1)
    state = it.state
    assert state is not None
    forged = digest_of(b"forged")
    it.entries[0] = altered(it.entries[0], state.digest.hex.encode(), forged.hex.encode())
    it.state = StateRef(digest=forged, size=state.size)
    refused(SignatureInvalid, it, B, "signature.invalid")


def test_t3_another_state_beside_a_valid_entry_is_refused(parties: Consortium) -> None:
    it = train(parties).travel(1)
    it.state = it.seal({"sums.json": b"{}"})
    refused(DigestMismatch, it, B, "digest.mismatch")


def test_t3_an_entry_is_not_a_manifest_and_a_manifest_not_an_entry(parties: Consortium) -> None:
    it = train(parties).travel(1)
    it.entries[0] = it.envelope
    refused(MalformedStatement, it, B, "malformed.statement")


def test_t7_a_journey_from_a_twin_with_equal_code_and_route_is_refused(parties: Consortium) -> None:
    it = train(parties).travel(1)
    twin = train(parties, code=it.manifest.code, nonce=it.manifest.nonce, name="twin").travel(1)
    it.entries, it.state = twin.entries, twin.state
    refused(JourneyForeignEntry, it, B, "journey.foreign-entry")


# --- T6: validity -------------------------------------------------------------------------------------------------------


def test_t6_a_train_is_refused_before_and_after_its_time(parties: Consortium) -> None:
    refused(OutsideValidity, train(parties, valid_until=NOW), A, "train.outside-validity")
    refused(NotYet, train(parties, valid_from=NOW + timedelta(minutes=1)), A, "time.not-yet")


def test_t6_a_train_is_refused_if_it_is_valid_for_longer_than_the_policy_allows(parties: Consortium) -> None:
    strict = replace(parties, policy=Policy(max_train_days=7))
    refused(OutsideValidity, train(strict), A, "train.outside-validity")


def test_an_expired_train_may_still_be_opened_by_its_owner(parties: Consortium) -> None:
    it = train(parties).travel(3)
    later = replace(parties, expires=NOW + timedelta(days=90))
    home = verify_home(it.parts, later.trust, owner=ALICE, now=NOW + timedelta(days=60))
    assert home.stop == 3


# --- T11 and T12: what the manifest says to run ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (b'"main.py"', b'"evil.py"', SignatureInvalid),
        (b'"TZ":"UTC"', b'"TZ":"XYZ"', SignatureInvalid),
        (b'"memoryBytes":268435456', b'"memoryBytes":968435456', SignatureInvalid),
        (b'"validUntil":"2026-03', b'"validUntil":"2026-04', SignatureInvalid),
        (
            b'"validUntil":"2026',
            b'"validUntil":"2028',
            MalformedStatement,
        ),  # no manifest is valid for so long, signed or not
        (b'"size":', b'"size":1', SignatureInvalid),
        (BASE.hex.encode(), digest_of(b"other").hex.encode(), SignatureInvalid),
    ],
    ids=["command", "environment", "limits", "validity", "validity of years", "code", "base"],
)
def test_t11_nothing_in_the_manifest_can_be_changed(
    parties: Consortium, old: bytes, new: bytes, error: type[PhtError]
) -> None:
    it = train(parties)
    it.envelope = altered(it.envelope, old, new)
    refused(error, it, A, error.code)


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "PYTHONPATH", "BASH_ENV", "lang"])
def test_t11_a_manifest_cannot_set_what_a_loader_acts_on(parties: Consortium, name: str) -> None:
    it = train(parties)
    document = json.loads(it.envelope.payload)
    document["predicate"]["environment"] = {name: "/pht/code/evil.so"}
    it.envelope = sign(dump_json(document), parties.secrets[ALICE].signers)
    refused(MalformedStatement, it, A, "malformed.statement")


def test_t11_the_base_beside_a_valid_manifest_must_be_the_one_in_it(parties: Consortium) -> None:
    it = train(parties)
    document = json.loads(it.envelope.payload)
    document["subject"][1]["digest"]["sha256"] = digest_of(b"other").hex
    it.envelope = sign(dump_json(document), parties.secrets[ALICE].signers)
    refused(MalformedStatement, it, A, "malformed.statement")


def test_t10_another_code_beside_a_valid_manifest_is_refused(parties: Consortium) -> None:
    it = train(parties)
    parts = replace(it.parts, code=train(parties).manifest.code)
    with pytest.raises(DigestMismatch):
        verify_train(parts, parties.trust, here=A, now=NOW)


def test_t11_t12_an_unknown_or_withdrawn_base_is_refused(parties: Consortium) -> None:
    refused(BaseNotApproved, train(parties, base=digest_of(b"unknown")), A, "base.not-approved")
    withdrawn = replace(parties, bases={BASE: Base(name="python", digest=BASE, note="", withdrawn=True)})
    refused(BaseNotApproved, train(withdrawn), A, "base.not-approved")


def test_t12_results_from_a_base_withdrawn_since_can_still_be_opened(parties: Consortium) -> None:
    it = train(parties).travel(3)
    withdrawn = replace(parties, bases={BASE: Base(name="python", digest=BASE, note="", withdrawn=True)})
    assert verify_home(it.parts, withdrawn.trust, owner=ALICE, now=NOW).stop == 3


def test_t12_results_from_a_base_nobody_knows_are_not_opened(parties: Consortium) -> None:
    it = train(parties).travel(3)
    with pytest.raises(BaseNotApproved) as caught:
        verify_home(it.parts, replace(parties, bases={}).trust, owner=ALICE, now=NOW)
    assert caught.value.code == "base.not-approved"


# --- T21: parties and keys ---------------------------------------------------------------------------------------------


def test_t21_a_party_the_directory_does_not_know_is_refused(parties: Consortium) -> None:
    it = train(parties)
    poorer = replace(parties, secrets={party: keys for party, keys in parties.secrets.items() if party != ALICE})
    with pytest.raises(PartyUnknown):
        verify_train(it.parts, poorer.trust, here=A, now=NOW)


@pytest.mark.parametrize("party", ["alice", "hospital-a", "hospital-b", "hospital-c"])
def test_t21_a_revoked_key_set_stops_the_train_wherever_it_stands(parties: Consortium, party: str) -> None:
    it = train(parties).travel(1)
    revoked = replace(parties, revoked={parties.stop(party).key_set})
    with pytest.raises(RouteCutOff if party == "hospital-c" else KeyRevoked):
        verify_train(it.parts, revoked.trust, here=B, now=NOW)


def test_t21_a_key_set_that_ran_out_counts_for_what_it_signed_before(parties: Consortium) -> None:
    it = train(parties).travel(1)
    rotated = replace(parties, until={parties.stop("hospital-a").key_set: NOW + timedelta(minutes=1)})
    assert verify_train(it.parts, rotated.trust, here=B, now=NOW + timedelta(hours=1)).stop == 1
    rotated = replace(parties, until={parties.stop("hospital-a").key_set: NOW - timedelta(minutes=1)})
    with pytest.raises(KeyOutsideValidity):
        verify_train(it.parts, rotated.trust, here=B, now=NOW + timedelta(hours=1))


def test_t21_a_next_station_whose_keys_ran_out_gets_nothing_sealed(parties: Consortium) -> None:
    it = train(parties).travel(1)
    rotated = replace(parties, until={parties.stop("hospital-c").key_set: NOW})
    with pytest.raises(RouteCutOff, match=r"key\.outside-validity"):
        verify_train(it.parts, rotated.trust, here=B, now=NOW)


def test_t21_one_of_two_required_signatures_stripped_is_refused(parties: Consortium) -> None:
    it = train(parties).travel(2)
    both = it.entries[1]
    assert len(both.signatures) == 2
    for kept in both.signatures:
        it.entries[1] = replace(both, signatures=(kept,))
        refused(SignatureMissing, it, C, "signature.missing")


def test_t21_an_expired_directory_decides_nothing(parties: Consortium) -> None:
    it = train(parties).travel(3)
    old = replace(parties, expires=NOW)
    with pytest.raises(DirectoryExpired):
        verify_home(it.parts, old.trust, owner=ALICE, now=NOW)
    with pytest.raises(DirectoryExpired):
        verify_train(it.parts, old.trust, here=A, now=NOW)


def test_t21_the_consortium_can_demand_post_quantum_signatures(parties: Consortium) -> None:
    strict = replace(parties, policy=Policy(post_quantum=True))
    with pytest.raises(KeyNotTrusted):
        verify_train(train(parties).parts, strict.trust, here=A, now=NOW)


# --- T24: at home ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [0, 1, 2])
def test_t24_an_incomplete_journey_is_not_opened(parties: Consortium, stops: int) -> None:
    it = train(parties).travel(stops)
    with pytest.raises(JourneyIncomplete):
        verify_home(it.parts, parties.trust, owner=ALICE, now=NOW)


def test_t24_another_owner_is_refused(parties: Consortium) -> None:
    it = train(parties).travel(3)
    with pytest.raises(RouteViolated):
        verify_home(it.parts, parties.trust, owner=PartyId("mallory"), now=NOW)


# --- refusals -----------------------------------------------------------------------------------------------------------


def refusal(it: Train, **changes: object) -> Refusal:
    honest = Refusal(
        train=it.id,
        stop=1,
        station=B,
        outcome=Outcome.FAILED,
        directory=DirectoryVersion(root=1, targets=3),
        time=NOW,
    )
    return replace(honest, **changes)  # type: ignore[arg-type] # spoiled on purpose


def test_t1_a_refusal_counts_only_from_the_station_it_is_about(parties: Consortium) -> None:
    it = train(parties)
    honest = sign(print_refusal(refusal(it)), parties.secrets[B].signers)
    assert check_refusal(it.verified, honest, parties.trust).value.outcome is Outcome.FAILED
    with pytest.raises(SignatureMissing):
        check_refusal(it.verified, sign(honest.payload, parties.secrets[A].signers), parties.trust)
    long_ago = {"time": it.manifest.valid_from - timedelta(days=1)}
    for change in ({"station": A}, {"stop": 7}, {"train": train(parties).id}, long_ago):
        forged = sign(print_refusal(refusal(it, **change)), parties.secrets[B].signers)
        with pytest.raises(JourneyForeignEntry):
            check_refusal(it.verified, forged, parties.trust)


# --- T23: envelopes ----------------------------------------------------------------------------------------------------


def test_t23_envelopes_that_two_parsers_would_read_differently_are_refused(parties: Consortium) -> None:
    raw = train(parties).envelope.to_bytes()
    assert parse_envelope(raw).to_bytes() == raw
    for old, new, code in (
        (b'"payloadType"', b'"payload":"e30=","payloadType"', "malformed.json"),
        (b'"signatures"', b'"extra":1,"signatures"', "malformed.statement"),
        (b"in-toto", b"other", "malformed.statement"),
        (b'"keyid":"', b'"keyid":"X', "malformed.statement"),
    ):
        assert old in raw
        with pytest.raises(Malformed) as caught:
            parse_envelope(raw.replace(old, new, 1))
        assert caught.value.code == code


def test_t23_a_second_signature_under_one_key_id_is_refused(parties: Consortium) -> None:
    document = json.loads(train(parties).envelope.to_bytes())
    document["signatures"] *= 2
    with pytest.raises(MalformedStatement):
        parse_envelope(dump_json(document))


def test_both_base64_alphabets_are_read(parties: Consortium) -> None:
    honest = train(parties).envelope
    document = parse_json(honest.to_bytes())
    assert isinstance(document, dict)
    document["payload"] = base64.urlsafe_b64encode(honest.payload).decode()
    assert parse_envelope(dump_json(document)) == honest
    document["payload"] = base64.urlsafe_b64encode(honest.payload).decode().rstrip("=")
    assert parse_envelope(dump_json(document)).digest == honest.digest


def test_t23_unknown_fields_in_signed_statements_are_refused(parties: Consortium) -> None:
    it = train(parties)
    document = json.loads(it.envelope.payload)
    document["predicate"]["limits"]["gpus"] = 8
    it.envelope = sign(dump_json(document), parties.secrets[ALICE].signers)
    refused(MalformedStatement, it, A, "malformed.statement")


def test_what_is_printed_is_what_is_parsed(parties: Consortium) -> None:
    it = train(parties)
    assert print_manifest(it.manifest) == it.envelope.payload
    assert parties.roles[ALICE] is Role.OWNER
