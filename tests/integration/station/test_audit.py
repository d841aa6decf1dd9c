"""Does an export stand on its own, and can its end be cut off unnoticed?"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence

import pytest

from security.digest import Digest
from security.encoding import Json
from security.errors import MalformedStatement, SignatureInvalid, SignatureMissing
from security.ids import PartyId
from security.keys.keyset import Scheme, Secrets, generate
from security.statement.envelope import Envelope, Statement, Subject, Verified, parse_envelope, print_statement, sign
from station.errors import JournalDamaged, JournalTruncated
from station.journal.audit import HEAD_TYPE, SignedHead, audit, export, read_export, read_head, sign_head
from station.journal.chain import START, Head, Record, link
from station.journal.journal import Journal
from station.visit.station_events import Event
from tests.support.visits import (
    ACCEPTED,
    ARRIVAL,
    FETCHED,
    NOTICED,
    NOW,
    QUIET_DAY,
    SEALED,
    STATION_EVENTS,
    digest,
)

HERE = PartyId("ulm")


@pytest.fixture(scope="module")
def keys() -> Secrets:
    return generate((Scheme.ED25519, Scheme.P256))


def told(events: Sequence[tuple[Digest | None, int | None, Event]]) -> list[tuple[bytes, Digest]]:
    """Write a chain that fits together, whatever it tells."""
    head, records = START, []
    for visit, position, event in events:
        raw = Record(sequence=head.sequence + 1, visit=visit, position=position, event=event).to_bytes()
        head = link(head, raw)
        records.append((raw, head.hash))
    return records


def quiet() -> list[tuple[bytes, Digest]]:
    with Journal.in_memory() as journal:
        for event in STATION_EVENTS[:1]:
            journal.note(event)  # type: ignore[arg-type] # the first is an event of the station
        for index, step in enumerate(QUIET_DAY):
            journal.append(ARRIVAL, step, expect=index)
        return list(journal.records())


def exported(records: Sequence[tuple[bytes, Digest]]) -> bytes:
    sink = io.BytesIO()
    export(records, sink)
    return sink.getvalue()


def head_of(records: Sequence[tuple[bytes, Digest]]) -> Head:
    return Head(sequence=len(records), hash=records[-1][1])


def vouched(head: Head, keys: Secrets) -> Verified[SignedHead]:
    envelope = sign_head(head, station=HERE, signers=keys.signers, now=NOW)
    return read_head(parse_envelope(envelope.to_bytes()), keys.key_set, station=HERE)


def test_an_export_is_found_in_order_without_the_database(keys: Secrets) -> None:
    records = quiet()
    found = audit(read_export(io.BytesIO(exported(records))), [vouched(head_of(records), keys)])
    assert found.head == head_of(records)
    assert [visit.events for visit in found.visits] == [QUIET_DAY]
    assert found.station_events == STATION_EVENTS[:1]
    assert found.proven == len(records)


def test_an_empty_journal_is_in_order(keys: Secrets) -> None:
    found = audit([], [vouched(START, keys)])
    assert (found.head, found.visits, found.station_events, found.proven) == (START, (), (), 0)


def test_an_export_can_be_checked_with_ten_lines_of_anything() -> None:
    records = quiet()
    chain = hashlib.sha256(b"pht-journal-v1\n").digest()
    for text in exported(records).decode().splitlines():
        line = json.loads(text)
        raw = json.dumps(line["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        chain = hashlib.sha256(b"pht-journal-v1\n" + chain + raw).digest()
        assert line["hash"] == "sha256:" + chain.hex()
    assert head_of(records).hash == "sha256:" + chain.hex()


def test_no_flipped_byte_of_an_export_goes_unnoticed() -> None:
    whole = exported(quiet()[:4])
    for at in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1
        with pytest.raises(JournalDamaged):
            audit(read_export(io.BytesIO(bytes(spoilt))))


def test_no_line_of_an_export_can_be_taken_added_or_moved() -> None:
    lines = exported(quiet()).splitlines(keepends=True)
    for at in range(len(lines) - 1):
        for spoilt in (
            [*lines[:at], *lines[at + 1 :]],
            [*lines[: at + 1], *lines[at:]],
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        ):
            with pytest.raises(JournalDamaged):
                audit(read_export(io.BytesIO(b"".join(spoilt))))


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"{}\n",
        b'{"hash":"x","record":{}}\n',
        b'{"hash":"sha256:' + b"0" * 64 + b'","record":{},"more":1}\n',
        b'{ "hash":"sha256:' + b"0" * 64 + b'","record":{}}\n',
        b'{"hash":"sha256:' + b"0" * 64 + b'","record":[]}\n',
    ],
)
def test_what_is_no_line_of_an_export_is_refused(line: bytes) -> None:
    with pytest.raises(JournalDamaged):
        audit(read_export(io.BytesIO(line)))


def test_a_cut_tail_is_found_by_a_signed_head_and_only_by_it(keys: Secrets) -> None:
    records = quiet()
    head = vouched(head_of(records), keys)
    for length in range(len(records)):
        assert audit(records[:length]).head.sequence == length
        with pytest.raises(JournalTruncated) as caught:
            audit(records[:length], [head])
        assert caught.value.code == "journal.truncated"


def test_a_journal_written_anew_is_found_by_a_signed_head(keys: Secrets) -> None:
    records = quiet()
    head = vouched(head_of(records), keys)
    other = dataclasses.replace(NOTICED, tag="train-2")
    forged = told(
        [(None, None, STATION_EVENTS[0]), *((ARRIVAL, at, e) for at, e in enumerate((other, *QUIET_DAY[1:])))]
    )
    assert audit(forged).head.sequence == len(records)
    with pytest.raises(JournalDamaged) as caught:
        audit(forged, [head])
    assert caught.value.code == "journal.damaged"


def test_what_came_after_a_signed_head_is_not_vouched_for(keys: Secrets) -> None:
    records = quiet()
    heads = [vouched(head_of(records[:5]), keys), vouched(head_of(records[:3]), keys)]
    assert audit(records, heads).proven == 5


IMPOSSIBLE: list[list[tuple[Digest | None, int | None, Event]]] = [
    [(ARRIVAL, 0, NOTICED), (ARRIVAL, 2, FETCHED)],
    [(ARRIVAL, 0, NOTICED), (ARRIVAL, 0, FETCHED)],
    [(ARRIVAL, 0, NOTICED), (ARRIVAL, 1, SEALED)],
    [(ARRIVAL, 0, FETCHED)],
    [(digest("another"), 0, NOTICED)],
    [
        *((ARRIVAL, at, event) for at, event in enumerate(QUIET_DAY)),
        (digest("b"), 0, dataclasses.replace(NOTICED, arrival=digest("b"))),
        (digest("b"), 1, FETCHED),
        (digest("b"), 2, ACCEPTED),
    ],
    [(None, None, NOTICED)],
    [(ARRIVAL, None, NOTICED)],
    [(None, 0, NOTICED)],
    [(ARRIVAL, 0, STATION_EVENTS[0])],
    [(ARRIVAL, None, STATION_EVENTS[0])],
]


@pytest.mark.parametrize("events", IMPOSSIBLE)
def test_a_chain_that_fits_may_still_tell_what_cannot_be(
    events: list[tuple[Digest | None, int | None, Event]],
) -> None:
    with pytest.raises(JournalDamaged):
        audit(told(events))


def test_a_record_has_one_spelling() -> None:
    raw = Record(sequence=1, visit=None, position=None, event=STATION_EVENTS[0]).to_bytes()
    for spelt in (raw.replace(b":", b": ", 1), b" " + raw, raw.replace(b"1.0", b"\\u0031.0")):
        assert json.loads(spelt) == json.loads(raw)
        with pytest.raises(JournalDamaged):
            audit([(spelt, link(START, spelt).hash)])
    assert audit([(raw, link(START, raw).hash)]).head.sequence == 1


def test_a_head_is_believed_if_every_key_signed_it(keys: Secrets) -> None:
    envelope = sign_head(head_of(quiet()), station=HERE, signers=keys.signers, now=NOW)
    stripped = Envelope(
        payload=envelope.payload, payload_type=envelope.payload_type, signatures=envelope.signatures[:1]
    )
    with pytest.raises(SignatureMissing):
        read_head(stripped, keys.key_set, station=HERE)
    told, other = (b'"records":%d' % count for count in (len(quiet()), len(quiet()) - 1))
    swapped = dataclasses.replace(envelope, payload=envelope.payload.replace(told, other))
    assert swapped != envelope
    with pytest.raises(SignatureInvalid):
        read_head(swapped, keys.key_set, station=HERE)


def test_a_head_of_another_station_or_of_something_else_is_refused(keys: Secrets) -> None:
    envelope = sign_head(START, station=HERE, signers=keys.signers, now=NOW)
    with pytest.raises(MalformedStatement):
        read_head(envelope, keys.key_set, station=PartyId("bonn"))
    fine: dict[str, Json] = {"station": "ulm", "records": 0, "at": "2026-03-01T12:00:00Z"}
    for kind, predicate in (
        ("urn:pht:statement:journey-entry:v1", fine),
        (HEAD_TYPE, {**fine, "records": -1}),
        (HEAD_TYPE, {**fine, "more": 1}),
    ):
        statement = Statement(
            subjects=(Subject(name="journal", digest=START.hash),), predicate_type=kind, predicate=predicate
        )
        with pytest.raises(MalformedStatement):
            read_head(sign(print_statement(statement), keys.signers), keys.key_set, station=HERE)
