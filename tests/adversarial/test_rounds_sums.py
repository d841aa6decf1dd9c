"""Who would like to know the numbers of one station, or to spoil those of all: sums of rounds, attacked with real stations.

The stations are honest and real. Whoever attacks has the keys of the junction, of other stations, of the owner, and whatever was
ever in the registry.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from security.sums.errors import MasksLeft
from security.sums.masked import total, unmask
from security.sums.ring import FixedPoint
from security.train.manifest import Output
from security.train.route import Task
from security.train.sum_form import Sum
from station.sandbox.order import DATA, IN, RunOrder
from tests.support.journeys import FIRST, JUNCTION, SECOND, B, C
from tests.support.rounds import COMBINE, CONTRIBUTE, OUTPUTS, STATIONS, board, rounds_train, rounds_world
from tests.support.scripted_sandbox import Program
from tests.support.spying import RecordingRegistry, Sent, another_model, inside
from tests.support.trains import Train
from tests.support.world import PATIENTS, World

PATH = "parts/gradient.json"
FORM = FixedPoint(bits=128, fraction=48, bound=1 << 30)
GRADIENT = Output(
    path=PATH,
    media_type="application/json",
    max_bytes=4096,
    task=Task.CONTRIBUTE,
    sum=Sum(shape=(2,), bound=1 << 30, bits=128, fraction=48),
)
Say: TypeAlias = Callable[[bytes], None]


def rows_of(order: RunOrder) -> list[int]:
    return [int(line) for line in (order.source(f"{DATA}/patients") / "patients.csv").read_text().splitlines()[1:]]


def told(order: RunOrder) -> dict[str, object]:
    found: dict[str, object] = json.loads(order.source("/pht/context.json").read_text())
    return found


def write(order: RunOrder, numbers: str) -> None:
    (order.state / "parts").mkdir()
    (order.state / PATH).write_text(numbers)


def gradient(order: RunOrder, say: Say) -> int:
    """As gradients go: it is nothing for who is told that the weight is nothing."""
    (model,) = [json.loads(one.read_text()) for one in order.source(IN).glob("*/model.json")] or [{}]
    weight = model.get("weight", 1.0)
    write(order, json.dumps([weight * sum(rows_of(order)), weight * len(rows_of(order))]))
    say(b"contributed\n")
    return 0


def combined(order: RunOrder, say: Say) -> int:
    sums = json.loads((order.source(IN) / "sum" / PATH).read_text())
    (order.state / "model.json").write_text(json.dumps({"weight": 1.0, "sums": sums}))
    if told(order)["round"] == 1:
        (order.state / "finished").touch()
    say(b"combined\n")
    return 0


def a_world(root: Path, *, contribute: Program = gradient) -> World:
    return rounds_world(root, program={CONTRIBUTE: contribute, COMBINE: combined}, registry=RecordingRegistry())


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = a_world(tmp_path / "world")
    yield made
    made.close()


def seen(here: World) -> RecordingRegistry:
    assert isinstance(here.registry, RecordingRegistry)
    return here.registry


def a_train(here: World) -> Train:
    made = rounds_train(here, outputs=(GRADIENT, OUTPUTS[1]))
    board(here, made)
    return made


def departed(here: World) -> None:
    """Let everybody board, and the train depart; the hospitals have not looked again."""
    here.settle(*STATIONS)
    here.settle(JUNCTION)


def vectors_of(here: World, made: Train, stop: int) -> dict[str, bytes]:
    """Return what the junction finds in what the hospitals sent it for a combination."""
    keys = here.houses[JUNCTION].passes.find(made.id, [here.consortium.secrets[JUNCTION].identity])
    senders = made.manifest.route.before(stop)
    found: list[Sent] = [one for one in seen(here).sent_to(JUNCTION) if one.stop in senders]
    opened = [inside(one.state, keys.identity) for one in found]
    return {str(number): files[PATH] for number, files in enumerate(opened)}


def summed(vectors: dict[str, bytes]) -> list[float]:
    whole = total((io.BytesIO(one) for one in vectors.values()), numbers=2, bits=FORM.bits)
    return [float(one) for one in unmask(whole, form=FORM, stations=len(STATIONS))]


ALL = [float(sum(map(sum, PATIENTS.values()))), float(sum(map(len, PATIENTS.values())))]


# --- A junction that does not send everybody the same ---------------------------------------------------------------------


def test_a_junction_that_sends_two_stations_different_models_adds_up_noise(here: World) -> None:
    """It has all but A bring nothing. Were masks the same whatever a station was told, the sum of all would be A's part."""
    made = a_train(here)
    departed(here)
    here.settle(*STATIONS)
    assert summed(vectors_of(here, made, FIRST[JUNCTION])) == ALL
    here.settle(JUNCTION)
    sent = {one.to: one for one in seen(here).sent}
    model = b'{"weight":0.0,"sums":[]}'
    for party in (B, C):
        another_model(here, made, sent[f"mailbox/{party}"], {"model.json": model}, to=party, stop=SECOND[party])  # type: ignore[index] # a repository's name
    here.settle(*STATIONS)
    vectors = vectors_of(here, made, SECOND[JUNCTION])
    assert len(vectors) == len(STATIONS)
    with pytest.raises(MasksLeft):
        summed(vectors)
