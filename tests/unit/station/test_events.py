from __future__ import annotations

import dataclasses
import typing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.encoding import Json, dump_json, parse_json
from security.errors import MalformedStatement
from station.visit.event_json import parse_event, print_event
from station.visit.events import Refused, Wiped
from station.visit.parts import plain
from station.visit.station_events import Event
from tests.support.visits import (
    ACCEPTED,
    ENDED,
    FETCHED,
    NOTICED,
    NOW,
    ONE_OF_EACH,
    REFUSED,
    SIGNED,
    WIPED,
    WIPED_OF_A_FAILED_RUN,
)

ADDED_LATER = {"printed"}
"""Fields that the first journals did not have."""


def test_the_samples_are_one_of_each() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(typing.get_args(Event))


def test_kinds_are_distinct() -> None:
    kinds = [made.kind for made in typing.get_args(Event)]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.kind)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert parse_event(parse_json(dump_json(print_event(event)))) == event


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.kind)
def test_every_field_is_demanded_and_no_other_is_let_in(event: Event) -> None:
    written = print_event(event)
    for name in written.keys() - ADDED_LATER:
        with pytest.raises(MalformedStatement):
            parse_event({key: value for key, value in written.items() if key != name})
    with pytest.raises(MalformedStatement, match="unknown field"):
        parse_event({**written, "more": 1})


def test_a_field_added_later_is_written_only_where_it_says_something() -> None:
    assert print_event(WIPED) == {"kind": "wiped", "at": "2026-03-01T12:00:00Z"}
    assert print_event(WIPED_OF_A_FAILED_RUN).keys() == {"kind", "at", *ADDED_LATER}


def test_a_journal_from_before_a_field_vanished_is_read_and_keeps_its_spelling() -> None:
    """Bytes of the first version: every record of theirs is in some chain of hashes."""
    raw = b'{"at":"2026-03-01T12:00:00Z","exit_code":0,"kind":"ended","seconds":12}'
    assert parse_event(parse_json(raw)) == ENDED
    assert dump_json(print_event(ENDED)) == raw


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (NOTICED, "kind", "no-such-kind"),
        (NOTICED, "kind", 7),
        (NOTICED, "size", -1),
        (NOTICED, "size", True),
        (NOTICED, "arrival", "sha256:short"),
        (NOTICED, "at", "2026-03-01 12:00"),
        (FETCHED, "blobs", [{"digest": "sha256:" + "0" * 64}]),
        (FETCHED, "blobs", [{"digest": "sha256:" + "0" * 64, "size": 1, "more": 1}]),
        (ACCEPTED, "state", 4),
        (ACCEPTED, "train", None),
        (ACCEPTED, "train", "No Name!"),
        (ACCEPTED, "owner", "No Name!"),
        (SIGNED, "what", "both"),
        (ENDED, "exit_code", "0"),
        (ENDED, "peak_bytes", 4096),
        (WIPED, "at", None),
        (WIPED, "printed", None),
        (WIPED, "printed", {"digest": "sha256:" + "0" * 64}),
    ],
)
def test_a_field_of_another_form_is_refused(event: Event, field: str, value: Json) -> None:
    with pytest.raises(MalformedStatement):
        parse_event({**print_event(event), field: value})


@pytest.mark.parametrize("value", [None, [], "wiped", 3])
def test_something_else_than_an_object_is_no_event(value: Json) -> None:
    with pytest.raises(MalformedStatement):
        parse_event(value)


def test_times_are_utc_in_whole_seconds() -> None:
    here = timezone(timedelta(hours=2))
    assert Wiped(at=datetime(2026, 3, 1, 14, 0, 0, 999, tzinfo=here)).at == NOW
    assert Wiped(at=datetime(2026, 3, 1, 14, 0, 0, 999, tzinfo=here)).at.tzinfo is UTC


def test_a_time_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        Wiped(at=datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point


@given(st.text())
def test_any_text_can_be_recorded_and_shown(text: str) -> None:
    event = Refused(at=NOW, code="policy.refused", reason=text, by="policy")
    assert parse_event(parse_json(dump_json(print_event(event)))) == event
    assert event.reason.isprintable()


def test_what_would_drive_a_terminal_is_taken_out() -> None:
    assert plain("a\x1b[2Jb\nc\udc80") == "a [2Jb c "


def test_text_is_bounded() -> None:
    assert len(plain("x" * 10_000)) == 2000


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_no_json_makes_the_reader_stumble(value: Json) -> None:
    for name in print_event(REFUSED):
        try:
            event = parse_event({**print_event(REFUSED), name: value})
        except MalformedStatement:
            continue
        assert isinstance(event, Refused)


def test_two_deliveries_are_the_same_by_what_was_signed_and_sealed() -> None:
    assert ACCEPTED.same_parts(dataclasses.replace(ACCEPTED, name="other", directory_targets=9))
    assert not ACCEPTED.same_parts(dataclasses.replace(ACCEPTED, previous=(ACCEPTED.manifest,)))
    assert not ACCEPTED.same_parts(dataclasses.replace(ACCEPTED, states=()))
