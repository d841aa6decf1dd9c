"""Trains of rounds: a mean of squares that takes two rounds, as the first needs the mean of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from registry.depot import ReceiptKind
from registry.port import Registry
from security.ids import PartyId
from security.statement.envelope import sign
from security.train.letters import seal_letter
from security.train.manifest import Output
from security.train.recall import Recall, print_recall
from security.train.route import Task
from security.train.route_kinds import BoardedRoute, RoundsRoute
from security.train.sum_form import Sum
from station.sandbox.order import DATA, IN, RunOrder
from tests.support.scripted_sandbox import Program
from tests.support.trains import MAIL, Consortium, Train, train
from tests.support.world import PATIENTS, MemoryBlobs, World, world

CONTRIBUTE, COMBINE = ("python3", "contribute.py"), ("python3", "combine.py")
STATIONS = ("hospital-a", "hospital-b", "hospital-c")
JUNCTION = "junction"
ROWS = [row for rows in PATIENTS.values() for row in rows]
MEAN = sum(ROWS) / len(ROWS)
SQUARES = sum((row - MEAN) ** 2 for row in ROWS)
OUTPUTS = (
    Output(
        path="part.json", media_type="application/json", max_bytes=4096, schema={"type": "object"}, task=Task.CONTRIBUTE
    ),
    Output(
        path="model.json", media_type="application/json", max_bytes=4096, schema={"type": "object"}, task=Task.COMBINE
    ),
)


def contribute(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """A hospital's part: sum and number of its rows, or, once the mean of all is known, the squares about that."""
    rows = [int(line) for line in (order.source(f"{DATA}/patients") / "patients.csv").read_text().splitlines()[1:]]
    (model,) = [json.loads(one.read_text()) for one in order.source(IN).glob("*/model.json")] or [{}]
    mean = model.get("mean", 0.0)
    part = {"n": len(rows), "sum": sum(rows), "squares": sum((row - mean) ** 2 for row in rows)}
    (order.state / "part.json").write_text(json.dumps(part))
    say(b"contributed\n")
    return 0


def combine(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """The junction's part: add up, and finish with the second round."""
    told = json.loads(order.source("/pht/context.json").read_text())
    parts = [json.loads((order.source(IN) / name / "part.json").read_text()) for name in told["stations"]]
    n, total, squares = (sum(part[key] for part in parts) for key in ("n", "sum", "squares"))
    (order.state / "model.json").write_text(json.dumps({"n": n, "mean": total / n, "squares": squares}))
    if told["round"] == 1:
        (order.state / "finished").touch()
    say(b"combined\n")
    return 0


def combine_until(last: int) -> Program:
    """As `combine`, but finish with a later round."""

    def program(order: RunOrder, say: Callable[[bytes], None]) -> int:
        code = combine(order, say)
        (order.state / "finished").unlink(missing_ok=True)
        if json.loads(order.source("/pht/context.json").read_text())["round"] == last:
            (order.state / "finished").touch()
        return code

    return program


PROGRAMS: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine}


def rounds_world(
    root: Path,
    *,
    junction: str = JUNCTION,
    registry: Registry | None = None,
    program: Mapping[tuple[str, ...], Program] = PROGRAMS,
    parties: Consortium | None = None,
) -> World:
    names = tuple(dict.fromkeys((*STATIONS, junction)))
    return world(root, stations=names, program=program, registry=registry, parties=parties)


def rounds_train(
    here: World, *, stations: Sequence[str] = STATIONS, junction: str = JUNCTION, most: int = 3, **changes: object
) -> Train:
    """Build a valid train of rounds; `changes` replace fields of the manifest before it is signed."""
    stop = here.consortium.stop
    rounds = RoundsRoute(stations=tuple(map(stop, stations)), junction=stop(junction), most=most)
    route = BoardedRoute(then=rounds)
    fields: dict[str, object] = {"command": CONTRIBUTE, "combine": COMBINE, "outputs": OUTPUTS}
    return train(here.consortium, rounds=route, **(fields | changes))  # type: ignore[arg-type] # fields of a manifest


def board(here: World, made: Train) -> None:
    """Send a train to everybody it begins at."""
    for start in made.manifest.route.starts:
        party = made.manifest.expected_at(start).party
        here.depot.send(made.parcel, MemoryBlobs(made.blobs), to=party, train=made.id, stop=start)


def recall(here: World, made: Train, *, by: str = "alice", of: Train | None = None, reason: str | None = None) -> None:
    """Put a recall into the mailbox of every station of a train's route, as its owner does, or somebody else."""
    keys = here.consortium.secrets[PartyId(by)]
    envelope = sign(print_recall(Recall(train=(of or made).id, time=here.now, reason=reason)), keys.signers)
    stations = [here.consortium.secrets[one].key_set.sealing for one in made.manifest.route.parties]
    letter = seal_letter(envelope, [*stations, made.manifest.recipient, str(MAIL.recipient)])
    for party in made.manifest.route.parties:
        here.depot.send_receipt(letter, owner=party, train=made.id, stop=0, kind=ReceiptKind.RECALL)


SUMMED = (
    Output(
        path="parts/moments.json",
        media_type="application/json",
        max_bytes=4096,
        task=Task.CONTRIBUTE,
        sum=Sum(shape=(3,), bound=1 << 40, bits=128, fraction=48),
    ),
    OUTPUTS[1],
)


def contribute_numbers(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """As `contribute`, for a sum: number of rows, their sum, and the squares about the mean that came in."""
    rows = [int(line) for line in (order.source(f"{DATA}/patients") / "patients.csv").read_text().splitlines()[1:]]
    (model,) = [json.loads(one.read_text()) for one in order.source(IN).glob("*/model.json")] or [{}]
    mean = model.get("mean", 0.0)
    (order.state / "parts").mkdir()
    (order.state / "parts" / "moments.json").write_text(
        json.dumps([len(rows), sum(rows), sum((row - mean) ** 2 for row in rows)])
    )
    say(b"contributed\n")
    return 0


def combine_sums(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """As `combine`, from the totals: it finds nothing else."""
    told = json.loads(order.source("/pht/context.json").read_text())
    found = sorted(one for one in order.source(IN).rglob("*") if one.is_file())
    assert [one.relative_to(order.source(IN)).as_posix() for one in found] == ["sum/parts/moments.json"]
    n, total, squares = json.loads(found[0].read_text())
    (order.state / "model.json").write_text(json.dumps({"n": n, "mean": total / n, "squares": squares}))
    if told["round"] == 1:
        (order.state / "finished").touch()
    say(b"combined\n")
    return 0


SUMS: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute_numbers, COMBINE: combine_sums}
