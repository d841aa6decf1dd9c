"""A train of rounds: all stations at once, a junction that combines, and home when it says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rounds import (
    JUNCTION,
    MEAN,
    ROWS,
    SQUARES,
    STATIONS,
    SUMMED,
    SUMS,
    board,
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
