"""Attack: a train of an admitted owner carries rows of patients home from a station as `init` makes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.places import Login
from security.encoding import Json
from security.ids import PartyId
from security.train.manifest import Output
from security.train.slight import MOST_VALUES, most_values
from station.desk.setup import NewStation, print_config
from station.house.assembly import gate_of
from station.house.config import StationConfig, parse_config
from station.sandbox.order import DATA, RunOrder
from station.visit.events import Held, HoldFor
from station.visit.plan import approve
from tests.support.desk import Desk, desk, furnished
from tests.support.scripted_sandbox import Program, ScriptedSandbox
from tests.support.world import World, world

__all__ = ["desk", "furnished"]

ALICE = PartyId("alice")
NUMBER: Json = {"type": "number"}


def closed(**properties: Json) -> dict[str, Json]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def as_init_makes_it(*, by_hand: bool = False, release: tuple[str, ...] = ()) -> StationConfig:
    new = NewStation(
        folder=Path("/srv/pht"),
        party=PartyId("hospital-a"),
        title="A",
        registry="https://registry.example",
        login=Login(),
        directory=None,
        data={},
        admit=[ALICE],
        engine=None,
        passphrase_file=None,
        by_hand=by_hand,
        release=release,
    )
    return parse_config(print_config(new).encode(), file=Path("/srv/pht/station.yaml"))


def take(name: str, wrap: Callable[[str], str] = str) -> Callable[[RunOrder, Callable[[bytes], None]], int]:
    """An analysis that copies the patients into a declared output."""

    def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
        del say
        table = (order.source(f"{DATA}/patients") / "patients.csv").read_text()
        (order.state / name).write_text(wrap(table))
        return 0

    return run


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=("hospital-a",))
    config = as_init_makes_it()
    made.change("hospital-a", gate=gate_of(release_by_hand=config.release_by_hand, named=config.release_types))
    yield made
    made.close()


def runs(here: World, program: Program) -> None:
    """Let the station's next run do this."""
    here.sandboxes["hospital-a"] = ScriptedSandbox(program, clock=lambda: here.now)
    here.change("hospital-a", sandbox=here.sandboxes["hospital-a"])


def asked(here: World) -> Held:
    """Turn until a person is asked."""
    for _ in range(20):
        here.step("hospital-a")
        here.now += timedelta(seconds=1)
    held = here.visit("hospital-a").held
    assert held is not None
    return held


def rows(table: str) -> str:
    return "[" + ",".join(table.split()[1:]) + "]"


LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789\n ,.-"
ONE: Json = {"const": 1}
LETTER: Json = {"anyOf": [{"const": one} for one in LETTERS]}


def spelt(table: str) -> str:
    """Write a table letter by letter."""
    return json.dumps(list(table))


def by_presence(table: str) -> str:
    """Write a table by which of many constants are there."""
    bits = "".join(f"{letter:08b}" for letter in table.encode())
    return json.dumps({f"at{place}": 1 for place, bit in enumerate(bits) if bit == "1"})


def by_length(table: str) -> str:
    """Write a number by how often nothing is said."""
    return json.dumps([0] * int(table.split()[1]))


THEFTS: dict[str, tuple[Output, Callable[[str], str]]] = {
    "a table": (Output(path="out.csv", media_type="text/csv", max_bytes=1 << 20), str),
    "a table under a schema": (
        Output(path="out.csv", media_type="text/csv", max_bytes=1 << 20, schema=closed(value=NUMBER)),
        str,
    ),
    "text": (Output(path="out.txt", media_type="text/plain", max_bytes=1 << 20), str),
    "bytes": (Output(path="out.bin", media_type="application/octet-stream", max_bytes=1 << 20), str),
    "a type nobody knows": (Output(path="out.pkl", media_type="application/x-new", max_bytes=1 << 20), str),
    "JSON without a schema": (Output(path="out.json", media_type="application/json", max_bytes=9000), rows),
    "JSON under a schema that says nothing": (
        Output(path="out.json", media_type="application/json", max_bytes=9000, schema={"type": "array"}),
        rows,
    ),
    "more numbers than a result has": (
        Output(
            path="out.json",
            media_type="application/json",
            max_bytes=9000,
            schema={"type": "array", "maxItems": MOST_VALUES + 1, "items": NUMBER},
        ),
        rows,
    ),
    "many small files": (
        Output(path="out-*.json", media_type="application/json", max_bytes=9000, schema={"type": "array", "maxItems": 9, "items": NUMBER}),
        rows,
    ),
    "more bytes than numbers need": (
        Output(path="out.json", media_type="application/json", max_bytes=1 << 20, schema={"type": "array", "maxItems": 9, "items": NUMBER}),
        rows,
    ),
    "letters that are constants": (
        Output(path="out.json", media_type="application/json", max_bytes=9000, schema={"type": "array", "maxItems": 1500, "items": LETTER}),
        spelt,
    ),
    "constants that are there or not": (
        Output(path="out.json", media_type="application/json", max_bytes=16000, schema=closed(**{f"at{place}": ONE for place in range(1000)})),
        by_presence,
    ),
    "the length of a list of nothing": (
        Output(path="out.json", media_type="application/json", max_bytes=9000, schema={"type": "array", "maxItems": 4000, "items": {"const": 0}}),
        by_length,
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", THEFTS)
def test_patients_do_not_go_home_unseen(here: World, how: str) -> None:
    output, wrap = THEFTS[how]
    runs(here, take(output.path.replace("*", "1"), wrap))
    made = here.train(route=("hospital-a",), outputs=(output,))
    here.submit(made)
    held = asked(here)
    assert held.hold is HoldFor.RELEASE
    assert output.path in held.reason or "values" in held.reason
    assert not here.at_home(made.id)
    here.houses["hospital-a"].journal.append(
        here.visit("hospital-a").arrival,
        approve(here.visit("hospital-a"), by="grace", note="", now=here.now),
        expect=here.visit("hospital-a").length,
    )
    here.settle()
    assert here.at_home(made.id)


SUMS = Output(path="sums.json", media_type="application/json", max_bytes=4096, schema=closed(sum=NUMBER, n=NUMBER))


def test_a_few_numbers_go_home_by_themselves(here: World) -> None:
    made = here.train(route=("hospital-a",), outputs=(SUMS,))
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)


def test_what_was_left_counts_and_not_what_was_declared_besides(here: World) -> None:
    made = here.train(route=("hospital-a",), outputs=(SUMS, THEFTS["a table"][0]))
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)


def test_several_small_outputs_are_counted_together(here: World) -> None:
    half: Json = {"type": "array", "maxItems": MOST_VALUES // 2 + 1, "items": NUMBER}
    declared = [Output(path=name, media_type="application/json", max_bytes=9000, schema=half) for name in ("a", "b")]

    def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
        del say
        for one in declared:
            (order.state / one.path).write_text("[1]")
        return 0

    runs(here, run)
    made = here.train(route=("hospital-a",), outputs=tuple(declared))
    here.submit(made)
    held = asked(here)
    assert f"{MOST_VALUES + 2} values" in held.reason


def test_many_outputs_of_letters_are_counted_together(here: World) -> None:
    few: Json = {"type": "array", "maxItems": 10, "items": LETTER}
    declared = [
        Output(path=f"{name}.json", media_type="application/json", max_bytes=9000, schema=few) for name in range(11)
    ]

    def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
        del say
        table = (order.source(f"{DATA}/patients") / "patients.csv").read_text()
        for number, one in enumerate(declared):
            (order.state / one.path).write_text(spelt(table[number * 10 : number * 10 + 10]))
        return 0

    runs(here, run)
    made = here.train(route=("hospital-a",), outputs=tuple(declared))
    here.submit(made)
    assert "110 values" in asked(here).reason


def test_by_hand_is_for_what_leaves_too(here: World) -> None:
    config = as_init_makes_it(by_hand=True)
    here.change("hospital-a", gate=gate_of(release_by_hand=config.release_by_hand, named=config.release_types))
    made = here.train(route=("hospital-a",), outputs=(SUMS,))
    here.submit(made)
    assert asked(here).hold is HoldFor.RELEASE
    assert not here.at_home(made.id)


def test_a_type_that_the_operator_names_goes_on(here: World) -> None:
    config = as_init_makes_it(release=("text/csv",))
    assert config.release_types == {"text/csv"}
    here.change("hospital-a", gate=gate_of(release_by_hand=config.release_by_hand, named=config.release_types))
    output, wrap = THEFTS["a table"]
    runs(here, take(output.path, wrap))
    made = here.train(route=("hospital-a",), outputs=(output,))
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)


WORD: Json = {"enum": ["low", "high"]}


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (NUMBER, 1),
        ({"type": ["integer", "null"]}, 1),
        ({"const": {"any": ["thing"]}}, 1),
        (WORD, 1),
        (closed(), 1),
        (closed(a=NUMBER, b=WORD, c=closed(d=NUMBER)), 3),
        ({"type": "array", "maxItems": 7, "items": closed(a=NUMBER, b=NUMBER)}, 14),
        ({"type": "array", "prefixItems": [NUMBER, WORD], "items": False}, 2),
        ({"type": "array", "prefixItems": [NUMBER], "maxItems": 3, "items": WORD}, 3),
        ({"type": "array", "maxItems": 0}, 1),
        ({"$ref": "#/$defs/n", "$defs": {"n": NUMBER}}, 1),
        ({"type": "array", "maxItems": 1500, "items": LETTER}, 1500),
        ({"type": "array", "maxItems": 8000, "items": {"const": 0}}, 8000),
        ({"type": "array", "maxItems": 300, "items": {"type": "array", "maxItems": 0}}, 300),
        (closed(**{f"at{place}": ONE for place in range(200)}), 200),
        (False, 0),
        ({"anyOf": [NUMBER, closed(a=NUMBER, b=NUMBER)]}, 2),
        ({"allOf": [{"minProperties": 1}, closed(a=NUMBER)]}, 1),
        (True, None),
        ({}, None),
        ({"type": "string"}, None),
        ({"type": "string", "maxLength": 5}, None),
        ({"type": ["number", "string"]}, None),
        ({"type": "object", "properties": {"a": NUMBER}}, None),
        ({"additionalProperties": False, "properties": {"a": NUMBER}}, None),
        (closed(a={}), None),
        ({"type": "array", "items": NUMBER}, None),
        ({"type": "array", "maxItems": 5}, None),
        ({"type": "array", "prefixItems": [NUMBER]}, None),
        ({"anyOf": [NUMBER, {"type": "string"}]}, None),
        ({"$ref": "#/$defs/missing"}, None),
        ({"$ref": "#"}, None),
    ],
)
def test_values_are_counted_only_where_a_schema_bounds_them(schema: Json, values: int | None) -> None:
    assert most_values(schema) == values


# --- What init says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says", "approve_", "release"),
    [
        (("--admit-owner", "alice"), "trains of alice run unasked", "automatic", "small-json"),
        (("--admit-owner", "alice", "--release", "text/csv"), "schema and text/csv leave unseen", "automatic", "small-json"),
        (("--admit-owner", "alice", "--by-hand"), "a person approves each train and releases", "by-hand", "by-hand"),
        ((), "no owner is admitted yet", "by-hand", "by-hand"),
    ],
)  # fmt: skip
def test_init_says_in_one_line_who_decides(
    desk: Desk, words: tuple[str, ...], says: str, approve_: str, release: str
) -> None:
    init = ("station", "init", "new", "--party", "hospital-a", "--registry", "layout:registry", "--root", "1.root.json")
    shutil.copytree(desk.path / "hospital-a" / "keys", desk.path / "new" / "keys")  # making some takes a while
    typed = desk.pht(*init, *words, "--passphrase-file", "secret")
    assert [line for line in typed.out.splitlines() if says in line], str(typed)
    settings = (desk.path / "new" / "station.yaml").read_text().splitlines()
    assert f"  approve: {approve_}" in settings
    assert f"  release: {release}" in settings


@pytest.mark.parametrize("words", [(), ("--admit-owner", "alice", "--by-hand")])
def test_what_leaves_unseen_cannot_be_named_where_a_person_looks_at_everything(
    desk: Desk, words: tuple[str, ...]
) -> None:
    init = ("station", "init", "new", "--party", "hospital-a", "--registry", "layout:registry", "--release", "text/csv")
    assert desk.fails(*init, *words, "--passphrase-file", "secret") == "usage"
