"""A journey of rounds that never was, exported: what the script finds with stock tools, and what verification says of the same."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from registry.blobs import BlobFolder
from security.errors import PhtError
from security.keys.keyset import Scheme
from security.train.journey import TrainParts
from security.train.verify import verify_home
from tests.support.journeys import (
    ALICE,
    DEPARTURE,
    FIRST,
    JUNCTION,
    SECOND,
    THIRD,
    A,
    B,
    Journey,
    journey,
    state,
)
from tests.support.rounds import STATIONS
from tests.support.trains import NOW, consortium
from train_builder.proof.export import export_journey
from train_builder.proof.proof import describe_proof, proof_document, prove


def begun(most: int = 3) -> Journey:
    return journey(consortium((*STATIONS, JUNCTION), schemes={"hospital-b": [Scheme.P256]}), most=most)


def through(it: Journey, last: int, *, finished: bool = True) -> Journey:
    """Go all the way to a combination, which says that the train has finished."""
    it.to(last)
    it.pass_stop(last, finished=True if finished else None)
    return it


def blobs_of(it: Journey, folder: Path) -> BlobFolder:
    found = BlobFolder(folder)
    known = it.train.blobs | {
        state(it.train.id, stop).digest: repr((it.train.id, stop)).encode() for stop in it.entries
    }
    for digest, data in known.items():
        found.put(digest, len(data), io.BytesIO(data))
    return found


def exported(it: Journey, parts: TrainParts, folder: Path, *, like: Journey | None = None, last: int) -> Path:
    """Export what is to be believed, in the form of a journey that is honest."""
    honest = like or it
    proof = prove(honest.at_home(last), honest.consortium.trust)
    export_journey(proof, parts, blobs_of(it, folder.with_name("blobs")), {}, folder)
    return folder


def script(folder: Path) -> subprocess.CompletedProcess[str]:
    command, path = ["sh", str(folder / "verify.sh")], {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=path)


@pytest.mark.parametrize("last", [FIRST[JUNCTION], SECOND[JUNCTION]])
def test_a_journey_that_finished_early_is_proven_by_stock_tools(tmp_path: Path, last: int) -> None:
    it = through(begun(), last)
    done = script(exported(it, it.home(last), tmp_path / "journey", last=last))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the journey is the whole route: {last + 1} entries" in done.stdout


def test_a_journey_of_all_its_rounds_is_proven_without_a_word(tmp_path: Path) -> None:
    it = through(begun(most=2), SECOND[JUNCTION], finished=False)
    done = script(exported(it, it.home(SECOND[JUNCTION]), tmp_path / "journey", last=SECOND[JUNCTION]))
    assert done.returncode == 0, done.stdout + done.stderr


def swapped(it: Journey) -> None:
    entry = it.entry(SECOND[JUNCTION])
    it.pass_stop(SECOND[JUNCTION], previous=entry.previous[::-1], states_in=entry.states_in[::-1], finished=True)


def of_another_round(it: Journey) -> None:
    entry = it.entry(SECOND[JUNCTION])
    names = (it.entries[FIRST[A]].digest, *entry.previous[1:])
    it.pass_stop(SECOND[JUNCTION], previous=names, finished=True)


def left_out(it: Journey) -> None:
    entry = it.entry(SECOND[JUNCTION])
    it.pass_stop(SECOND[JUNCTION], previous=entry.previous[1:], states_in=entry.states_in[1:], finished=True)


def another_model(it: Journey) -> None:
    """A contribution that hangs on the departure, and not on the combination before."""
    departure = it.entries[DEPARTURE].digest
    it.pass_stop(SECOND[B], previous=(departure,), states_in=(it.states[DEPARTURE].digest,))
    it.pass_stop(SECOND[JUNCTION], finished=True)


def unfinished(it: Journey) -> None:
    it.pass_stop(SECOND[JUNCTION])


def finished_twice(it: Journey) -> None:
    it.pass_stop(FIRST[JUNCTION], finished=True)
    for stop in (*(SECOND[one] for one in SECOND if one != JUNCTION),):
        it.pass_stop(stop)
    it.pass_stop(SECOND[JUNCTION], finished=True)


def by_a_station(it: Journey) -> None:
    it.pass_stop(SECOND[JUNCTION], by=A, finished=True)


def boarded_late(it: Journey) -> None:
    it.pass_stop(SECOND[A], boarding=it.boarding_pass(A))
    it.pass_stop(SECOND[JUNCTION], finished=True)


def without_a_pass(it: Journey) -> None:
    it.pass_stop(1, boarding=None)
    for stop in range(2, SECOND[JUNCTION]):
        it.pass_stop(stop)
    it.pass_stop(SECOND[JUNCTION], finished=True)


LIES = (
    swapped,
    of_another_round,
    left_out,
    another_model,
    unfinished,
    finished_twice,
    by_a_station,
    boarded_late,
    without_a_pass,
)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_journey_that_never_was_is_not_proven(tmp_path: Path, lie: Callable[[Journey], None]) -> None:
    last = SECOND[JUNCTION]
    honest = through(begun(), last)
    forged = honest.copy()
    lie(forged)
    parts = forged.home(last)
    with pytest.raises(PhtError):
        verify_home(parts, forged.consortium.trust, owner=ALICE, now=NOW)
    done = script(exported(forged, parts, tmp_path / "journey", like=honest, last=last))
    assert done.returncode == 1, done.stdout
    assert "FAILED" in done.stdout


def test_a_journey_that_was_cut_at_an_earlier_combination_is_not_proven(tmp_path: Path) -> None:
    it = through(begun(), SECOND[JUNCTION])
    parts = it.home(FIRST[JUNCTION])
    short = through(begun(), FIRST[JUNCTION])
    proof = prove(short.at_home(FIRST[JUNCTION]), short.consortium.trust)
    steps = tuple(
        replace(step, witness=known.witness)
        for step, known in zip(
            proof.steps, prove(it.at_home(SECOND[JUNCTION]), it.consortium.trust).steps, strict=False
        )
    )
    like = replace(prove(it.at_home(SECOND[JUNCTION]), it.consortium.trust), steps=steps)
    export_journey(like, parts, blobs_of(it, tmp_path / "blobs"), {}, tmp_path / "journey")
    done = script(tmp_path / "journey")
    assert done.returncode == 1
    assert "none that says the train has finished" in done.stdout


def test_a_proof_of_rounds_is_read_at_a_glance_and_written_down_whole() -> None:
    it = through(begun(), THIRD[JUNCTION])
    proof = prove(it.at_home(THIRD[JUNCTION]), it.consortium.trust)
    told = describe_proof(proof)
    assert len(told.splitlines()) < 25
    for words in ("4 boarded", "departed", "round 1", "round 2", "round 3", "3 contributions", "finished"):
        assert words in told
    stops = proof_document(proof)["stops"]
    assert isinstance(stops, list)
    assert len(stops) == THIRD[JUNCTION] + 1
    assert stops[-1]["task"] == "combine"  # type: ignore[index, call-overload] # a document
    assert stops[-1]["finished"] is True  # type: ignore[index, call-overload] # a document
