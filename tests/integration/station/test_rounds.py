"""A train of rounds: all stations at once, a junction that combines, and home when it says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.depot import ReceiptKind
from security.train.journey import Limit, Outcome, read_refusal
from station.sandbox.order import RunOrder
from tests.support.rounds import (
    COMBINE,
    CONTRIBUTE,
    JUNCTION,
    MEAN,
    ROWS,
    SQUARES,
    STATIONS,
    SUMMED,
    SUMS,
    board,
    combine,
    contribute,
    rounds_train,
    rounds_world,
)
from tests.support.world import World


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = rounds_world(tmp_path / "world")
    yield made
    made.close()


@pytest.mark.parametrize("junction", [JUNCTION, "hospital-b"])
def test_two_rounds_give_what_the_rows_together_give(tmp_path: Path, junction: str) -> None:
    here = rounds_world(tmp_path / "world", junction=junction)
    try:
        made = rounds_train(here, junction=junction)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        results = here.results(made, tmp_path / "results")
        assert set(results) == {"model.json"}
        model = json.loads(results["model.json"])
        assert model["n"] == len(ROWS)
        assert model["mean"] == pytest.approx(MEAN, abs=1e-12)
        assert model["squares"] == pytest.approx(SQUARES, abs=1e-9)
        for station in STATIONS:
            assert here.plaintext(station) == []
            assert here.waits_for(station) == ()
    finally:
        here.close()


def test_a_sum_is_that_of_the_rows_together_and_nobody_finds_a_part_of_it(tmp_path: Path) -> None:
    here = rounds_world(tmp_path / "world", program=SUMS)
    try:
        made = rounds_train(here, outputs=SUMMED)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        model = json.loads(here.results(made, tmp_path / "results")["model.json"])
        assert model == {
            "n": len(ROWS),
            "mean": pytest.approx(MEAN, abs=1e-12),
            "squares": pytest.approx(SQUARES, abs=1e-9),
        }
    finally:
        here.close()


def test_what_a_station_keeps_is_there_again_at_its_next_round_and_gone_after_the_last(tmp_path: Path) -> None:
    seen: dict[str, list[str]] = {}

    def counting(order: RunOrder, say: Callable[[bytes], None]) -> int:
        note = order.keep / "rounds"
        told = json.loads(order.source("/pht/context.json").read_text())
        seen.setdefault(told["station"], []).append(note.read_text() if note.exists() else "")
        note.write_text(f"{told['station']} {told['round']}")
        return contribute(order, say)

    here = rounds_world(tmp_path / "world", program={CONTRIBUTE: counting, COMBINE: combine}, junction="hospital-b")
    try:
        made = rounds_train(here, junction="hospital-b", keep_bytes=1000)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        assert seen == {name: ["", f"{name} 0"] for name in STATIONS}
        assert list((here.folder("hospital-b") / "passes").iterdir()) == []  # its last stop was the last of all
        kept = list((here.folder("hospital-a") / "passes").iterdir())
        assert kept
        assert not any(b"hospital" in one.read_bytes() for one in kept)
    finally:
        here.close()


def test_a_station_keeps_no_more_than_was_declared(tmp_path: Path) -> None:
    def hoarding(order: RunOrder, say: Callable[[bytes], None]) -> int:
        (order.keep / "hoard").write_bytes(b"0" * 1001)
        return contribute(order, say)

    here = rounds_world(tmp_path / "world", program={CONTRIBUTE: hoarding, COMBINE: combine})
    try:
        made = rounds_train(here, keep_bytes=1000)
        board(here, made)
        here.settle()
        refusals = [read_refusal(here.read(made, one).payload) for one in here.receipts(made, ReceiptKind.REFUSAL)]
        assert {(one.outcome, one.limit) for one in refusals} == {(Outcome.EXCEEDED, Limit.OUTPUT)}
    finally:
        here.close()
