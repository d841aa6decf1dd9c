from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from security.digest import Digest, digest_of
from security.directory.documents import (
    base_file,
    parse_base,
    parse_party,
    parse_policy,
    parse_trust,
    party_file,
    print_base,
    print_party,
    print_policy,
)
from security.directory.trust import Base, DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.errors import (
    BaseNotApproved,
    DirectoryExpired,
    DirectoryRejected,
    InvalidInput,
    KeyNotTrusted,
    KeyOutsideValidity,
    KeyRevoked,
    Malformed,
    MalformedJson,
    MalformedStatement,
    NotYet,
    OutsideValidity,
    PartyUnknown,
)
from security.ids import PartyId, Role
from security.keys.keyset import KeySet, Scheme, generate

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OLD, NEW, PQ = (
    generate(schemes).key_set for schemes in ([Scheme.ED25519], [Scheme.P256], [Scheme.ED25519, Scheme.ML_DSA_65])
)
A, B = PartyId("hospital-a"), PartyId("hospital-b")
BASE = Base(name="python-3.11", digest=digest_of(b"base"), note="", withdrawn=False)


def record(
    key_set: KeySet = OLD,
    *,
    since: datetime = NOW - DAY,
    until: datetime | None = None,
    revoked: datetime | None = None,
) -> KeySetRecord:
    return KeySetRecord(key_set=key_set, since=since, until=until, revoked=revoked)


def party(*records: KeySetRecord, name: PartyId = A) -> Party:
    return Party(party=name, title="Hospital", roles=frozenset({Role.STATION}), key_sets=records)


def store(*parties: Party, policy: Policy | None = None, bases: tuple[Base, ...] = (BASE,)) -> TrustStore:
    documents = {party_file(one.party): print_party(one) for one in parties}
    documents |= {base_file(one.name): print_base(one) for one in bases}
    documents["policy.json"] = print_policy(policy or Policy())
    return parse_trust(documents, version=DirectoryVersion(root=1, targets=2), expires=NOW + DAY)


def test_documents_say_again_what_was_printed() -> None:
    one = party(record(until=NOW + DAY, revoked=NOW - DAY), record(PQ))
    assert parse_party(print_party(one)) == one
    assert parse_base(print_base(BASE)) == BASE
    assert parse_policy(print_policy(Policy(max_train_days=7, post_quantum=True))) == Policy(
        max_train_days=7, post_quantum=True
    )


def test_a_known_party_has_its_newest_key_set_in_force() -> None:
    trust = store(party(record(until=NOW + DAY), record(NEW, since=NOW - DAY / 2)))
    assert trust.current(A, Role.STATION, NOW) == NEW
    assert trust.current(A, Role.STATION, NOW - DAY) == OLD
    assert trust.pinned(A, Role.STATION, OLD.fingerprint, NOW) == OLD


def test_of_two_key_sets_as_new_the_later_one_counts() -> None:
    assert store(party(record(), record(NEW))).current(A, Role.STATION, NOW) == NEW


def test_an_unknown_party_has_no_keys() -> None:
    trust = store(party(record()))
    for name, role in ((B, Role.STATION), (A, Role.OWNER)):
        with pytest.raises(PartyUnknown):
            trust.current(name, role, NOW)
        with pytest.raises(PartyUnknown):
            trust.pinned(name, role, OLD.fingerprint, NOW)


def test_a_key_set_counts_from_since_until_before_until() -> None:
    trust = store(party(record(since=NOW, until=NOW + DAY)))
    assert trust.current(A, Role.STATION, NOW) == OLD
    assert trust.pinned(A, Role.STATION, OLD.fingerprint, NOW + DAY - timedelta(seconds=1)) == OLD
    for moment, error in ((NOW - timedelta(seconds=1), NotYet), (NOW + DAY, KeyOutsideValidity)):
        with pytest.raises(KeyOutsideValidity):
            trust.current(A, Role.STATION, moment)
        with pytest.raises(error):
            trust.pinned(A, Role.STATION, OLD.fingerprint, moment)
        with pytest.raises(KeyOutsideValidity):  # what was signed then is not going to be signed later
            trust.signer(A, Role.STATION, OLD.fingerprint, moment)


def test_a_revoked_key_set_never_counted() -> None:
    trust = store(party(record(revoked=NOW - DAY)))
    for moment in (NOW - DAY, NOW, NOW + DAY):
        with pytest.raises(KeyRevoked):
            trust.current(A, Role.STATION, moment)
        with pytest.raises(KeyRevoked):
            trust.pinned(A, Role.STATION, OLD.fingerprint, moment)


def test_revoking_the_newer_key_set_leaves_the_older() -> None:
    trust = store(party(record(), record(NEW, revoked=NOW - DAY)))
    assert trust.current(A, Role.STATION, NOW) == OLD


def test_a_key_set_of_another_party_is_not_trusted_for_this_one() -> None:
    trust = store(party(record()), party(record(NEW), name=B))
    with pytest.raises(KeyNotTrusted) as caught:
        trust.pinned(A, Role.STATION, NEW.fingerprint, NOW)
    assert caught.value.code == "key.not-trusted"


def test_a_key_belongs_to_one_party() -> None:
    mixed = KeySet(signing=NEW.signing, sealing=OLD.sealing)
    for stolen in (OLD, mixed):
        with pytest.raises(DirectoryRejected):
            store(party(record()), party(record(stolen), name=B))


def test_a_policy_of_post_quantum_keys_is_enforced() -> None:
    trust = store(party(record()), party(record(PQ), name=B), policy=Policy(post_quantum=True))
    assert trust.current(B, Role.STATION, NOW) == PQ
    with pytest.raises(KeyNotTrusted):
        trust.current(A, Role.STATION, NOW)
    with pytest.raises(KeyNotTrusted):
        trust.pinned(A, Role.STATION, OLD.fingerprint, NOW)


def test_a_policy_limits_how_long_a_train_is_valid() -> None:
    trust = store(policy=Policy(max_train_days=7))
    trust.check_duration(NOW, NOW + 7 * DAY)
    with pytest.raises(OutsideValidity):
        trust.check_duration(NOW, NOW + 7 * DAY + timedelta(seconds=1))


def test_only_approved_bases_count() -> None:
    withdrawn = Base(name="old", digest=digest_of(b"old"), note="", withdrawn=True)
    trust = store(bases=(BASE, withdrawn))
    assert trust.approved_base(BASE.digest) == trust.base_named(BASE.name) == BASE
    for digest in (withdrawn.digest, digest_of(b"unknown")):
        with pytest.raises(BaseNotApproved):
            trust.approved_base(digest)
    for name in ("old", "unknown"):
        with pytest.raises(BaseNotApproved):
            trust.base_named(name)


def test_one_image_has_one_name() -> None:
    with pytest.raises(DirectoryRejected):
        store(bases=(BASE, replace(BASE, name="other", withdrawn=True)))


def test_old_news_is_refused() -> None:
    trust = store()
    trust.check_fresh(NOW + DAY - timedelta(seconds=1))
    with pytest.raises(DirectoryExpired):
        trust.check_fresh(NOW + DAY)


def test_documents_have_the_name_of_their_content() -> None:
    good = {"policy.json": print_policy(Policy())}
    for wrong in (
        {party_file(B): print_party(party(record()))},
        {base_file("other"): print_base(BASE)},
        {"notes.json": b"{}"},
    ):
        with pytest.raises(DirectoryRejected):
            parse_trust(good | wrong, version=DirectoryVersion(root=1, targets=1), expires=NOW)
    with pytest.raises(DirectoryRejected):
        parse_trust({}, version=DirectoryVersion(root=1, targets=1), expires=NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "pht-party-v2"),
        ("party", "Hospital"),
        ("title", ""),
        ("title", "\x1b[2Jhospital"),
        ("roles", []),
        ("roles", ["station", "station"]),
        ("roles", ["admin"]),
        ("keySets", []),
        ("extra", 1),
    ],
)
def test_a_spoiled_party_is_refused(field: str, value: object) -> None:
    document = json.loads(print_party(party(record()))) | {field: value}
    with pytest.raises(MalformedStatement):
        parse_party(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("fingerprint", NEW.fingerprint, id="fingerprint-of another"),
        ("fingerprint", "sha256:"),
        ("signing", []),
        pytest.param("sealing", NEW.sealing, id="sealing-of another"),
        ("since", "yesterday"),
        ("until", "2020-01-01T00:00:00Z"),
        ("until", 5),
        ("revoked", 0),
        ("extra", None),
    ],
)
def test_a_spoiled_key_set_is_refused(field: str, value: object) -> None:
    document = json.loads(print_party(party(record())))
    document["keySets"][0][field] = value
    with pytest.raises(MalformedStatement):
        parse_party(json.dumps(document).encode())


def test_a_party_has_a_key_set_once() -> None:
    with pytest.raises(MalformedStatement):
        parse_party(print_party(party(record(), record(revoked=NOW - DAY))))


def test_hostile_json_is_refused() -> None:
    raw = print_party(party(record()))
    with pytest.raises(MalformedJson):
        parse_party(raw.replace(b'"roles"', b'"title": "x", "roles"'))
    with pytest.raises(MalformedJson):
        parse_party(b"[" * 100 + b"]" * 100)
    with pytest.raises(MalformedJson):
        parse_party(b" " * (300 << 10))


@pytest.mark.parametrize("field", ["maxTrainDays", "postQuantum"])
def test_a_spoiled_policy_is_refused(field: str) -> None:
    document = json.loads(print_policy(Policy())) | {field: -1}
    with pytest.raises(MalformedStatement):
        parse_policy(json.dumps(document).encode())


@pytest.mark.parametrize("field", ["name", "digest", "note", "withdrawn"])
def test_a_spoiled_base_is_refused(field: str) -> None:
    document = json.loads(print_base(BASE)) | {field: 7}
    with pytest.raises(Malformed):
        parse_base(json.dumps(document).encode())


@pytest.mark.parametrize("name", ["", "Python", "a/b", "../x", "-x", "x-", "x" * 51])
def test_base_names_can_be_tags(name: str) -> None:
    with pytest.raises(InvalidInput):
        base_file(name)


def test_the_longest_names_still_make_tags() -> None:
    prefix = Digest.of_hex("0" * 64).hex + "."
    assert len(prefix + base_file("x" * 50)) <= 128
    assert len(prefix + party_file(PartyId("x" * 40))) <= 128
