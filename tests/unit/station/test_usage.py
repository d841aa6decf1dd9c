"""What is left of the disk for copies of data, beside what trains may use and what is copied for others?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from security.ids import PartyId
from station.errors import DataCrowded, DataTooLarge
from station.house.capacity import Capacity, Resources
from station.house.usage import Copies, needs_of, used_by
from station.visit.events import Accepted, Noticed, VisitEvent
from station.visit.state import Visit, replay
from tests.support.visits import ACCEPTED, ADMITTED, FURNISHED, NOTICED, OPENED, QUIET_DAY, digest

GRANT = ADMITTED.disk_bytes
ALICE, BOB = PartyId("alice"), PartyId("bob")
OPENED_UP, FURNISHED_UP = (QUIET_DAY.index(one) + 1 for one in (OPENED, FURNISHED))


def visit(number: int, owner: PartyId, length: int = OPENED_UP, copied: int = 0) -> Visit:
    events: list[VisitEvent] = []
    for event in QUIET_DAY[:length]:
        if isinstance(event, Noticed):
            events.append(replace(NOTICED, arrival=digest(f"arrival {number}")))
        elif isinstance(event, Accepted):
            events.append(replace(ACCEPTED, owner=owner))
        else:
            events.append(replace(event, disk_bytes=copied) if event is FURNISHED else event)
    return replay(events)


def bounded(total: int, of_owner: int | None = None) -> Copies:
    every = Resources(runs=9, memory_bytes=1 << 50, cpu_millis=1 << 30, disk_bytes=total)
    return Copies(Capacity(total=every, per_owner=replace(every, disk_bytes=of_owner or total)))


def test_what_is_copied_fits_to_the_last_byte_and_no_further() -> None:
    one = visit(1, ALICE)
    with bounded(GRANT + 100).copying(one, ALICE, lambda: [one]) as space:
        assert space.left == 100
        space.take(60)
        space.take(40)
        assert space.left == 0
        with pytest.raises(DataTooLarge):
            space.take(1)


def test_a_copy_that_does_not_fit_beside_others_waits_for_them() -> None:
    one, other = visit(1, ALICE), visit(2, BOB, FURNISHED_UP, copied=50)
    assert used_by(other).disk_bytes == needs_of(other).disk_bytes == GRANT + 50
    copies = bounded(2 * GRANT + 100)
    with copies.copying(one, ALICE, lambda: [one, other]) as space:
        space.take(50)
        with pytest.raises(DataCrowded):
            space.take(1)
    with copies.copying(one, ALICE, lambda: [one]) as space:
        space.take(51)


def test_what_is_copied_at_the_same_time_counts_until_it_ends() -> None:
    one, other = visit(1, ALICE), visit(2, BOB)
    copies = bounded(2 * GRANT + 100)
    with copies.copying(one, ALICE, lambda: [one, other]) as space:
        with copies.copying(other, BOB, lambda: [one, other]) as more:
            more.take(70)
            space.take(30)
            with pytest.raises(DataCrowded):
                space.take(1)
        assert space.left == 69


def test_an_owner_has_a_share() -> None:
    one, other = visit(1, ALICE), visit(2, ALICE)
    copies = bounded(1 << 40, of_owner=2 * GRANT + 10)
    with copies.copying(one, ALICE, lambda: [one, other]) as space:
        assert space.left == 10
        with pytest.raises(DataCrowded):
            space.take(11)
    with copies.copying(one, ALICE, lambda: [one]) as space, pytest.raises(DataTooLarge):
        space.take(GRANT + 11)


def test_what_is_put_aside_for_a_while_waits_only_if_there_is_somebody_to_wait_for() -> None:
    one, other = visit(1, ALICE), visit(2, BOB)
    copies = bounded(2 * GRANT + 100)
    with copies.copying(one, ALICE, lambda: [one]) as space:
        assert isinstance(space.full(), DataTooLarge)
    with copies.copying(one, ALICE, lambda: [one, other]) as space:
        assert isinstance(space.full(), DataCrowded)


def test_what_was_removed_is_free_again() -> None:
    one = visit(1, ALICE)
    with bounded(GRANT + 100).copying(one, ALICE, lambda: [one]) as space:
        space.take(90)
        space.keep(20)
        assert space.left == 80


def test_a_long_copy_sees_whom_the_station_lets_in_meanwhile() -> None:
    one, other = visit(1, ALICE), visit(2, BOB)
    here = [one]
    with bounded(2 * GRANT + (65 << 20)).copying(one, ALICE, lambda: list(here)) as space:
        here.append(other)
        space.take(64 << 20)
        assert space.left == 1 << 20


def test_without_a_capacity_everything_fits() -> None:
    one = visit(1, ALICE)
    with Copies().copying(one, ALICE, lambda: [one]) as space:
        space.take(1 << 59)
        assert space.left > 1 << 59
