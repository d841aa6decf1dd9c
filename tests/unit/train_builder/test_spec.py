"""train.yaml: what is read from it, and what its author is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from console.problems import Problem
from security.errors import FileMissing
from security.train.route import MOST_ABOARD
from tests.support.owners import ROUNDS, SPEC, write_train
from train_builder.errors import SpecInvalid
from train_builder.spec.spec import load_spec, read_spec


def problems(tmp_path: Path, spec: str) -> tuple[Problem, ...]:
    found, told = read_spec(write_train(tmp_path / "t", spec))
    assert found is None
    with pytest.raises(SpecInvalid) as caught:
        load_spec(tmp_path / "t")
    assert caught.value.code == "spec.invalid"
    assert caught.value.fields["line"] == told[0].line
    return told


def changed(old: str, new: str) -> str:
    assert old in SPEC
    return SPEC.replace(old, new)


def test_a_whole_spec(tmp_path: Path) -> None:
    text = SPEC + (
        "environment: {TZ: Europe/Vienna, TRAIN_ROUNDS: '3'}\n"
        "data:\n  - {name: patients, description: a row for each, files: ['*.csv', 'more/*.csv']}\n"
    )
    text = text.replace("reference: ethics 1/2026", "reference: ethics 1/2026, legal_basis: GDPR Art. 9(2)(j)")
    text = text.replace("max_bytes: 10KB", "max_bytes: 10KB, schema: schemas/sums.json")
    folder = write_train(tmp_path / "t", text)
    (folder / "schemas").mkdir()
    (folder / "schemas" / "sums.json").write_text('{"type": "object"}')
    spec = load_spec(folder)
    assert spec.name == "sums"
    assert spec.approval.legal_basis == "GDPR Art. 9(2)(j)"
    assert spec.route == ("hospital-a", "hospital-b", "hospital-c")
    assert spec.data[0].files == ("*.csv", "more/*.csv")
    assert spec.environment == {"TZ": "Europe/Vienna", "TRAIN_ROUNDS": "3"}
    assert spec.outputs[0].schema == {"type": "object"}
    assert (spec.limits.memory_bytes, spec.limits.wall_seconds) == (64 << 20, 300)
    assert spec.valid == timedelta(days=14)
    assert spec.code == "code"


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "says"),
    [
        ("memory: 64MiB", "memroy: 64MiB", 9, "limits.memroy", "did you mean 'memory'?"),
        ("purpose:", "porpose:", 2, "porpose", "did you mean 'purpose'?"),
        ("memory: 64MiB", "memory: 64 megabytes", 9, "limits.memory", "a size, such as 256MiB"),
        ("memory: 64MiB", "memory: 64", 9, "limits.memory", "16MiB is the least"),
        ("memory: 64MiB", "memory: 0.0001KB", 9, "limits.memory", "but should be a size"),
        ("memory: 64MiB", "memory: 16.001B", 9, "limits.memory", "whole number of bytes"),
        ("valid: 14d", "valid: 14", 10, "valid", "such as 14d"),
        ("valid: 14d", "valid: 400d", 10, "valid", "longer than a year"),
        ("wall_time: 5min", "wall_time: 40d", 9, "limits.wall_time", "longer than 31 days"),
        ("cpu: 0.5", "cpu: 0", 9, "limits.cpu", "0.05 to 1024"),
        ("processes: 8", "processes: many", 9, "limits.processes", "'many', but should be a whole number"),
        ("train: sums", "train: My Sums", 1, "train", "'My Sums', but should be a name"),
        ("train: sums", "train: 7", 1, "train", "7, but should be a name"),
        ("train: sums", 'train: "sums\\n"', 1, "train", "should be a name"),
        ("purpose: add numbers", "purpose:", 2, "purpose", "empty, but should be what the analysis is for"),
        ("command: [python3, main.py]", "command: python3 main.py", 5, "command", "as a list of 1 to 64 words"),
        ("command: [python3, main.py]", "command: []", 5, "command", "an empty list, but should be"),
        ("command: [python3, main.py]", "command: [python3, 5]", 5, "command[1]", "a word of the command"),
        ("route: [hospital-a, ", "route: [Hospital A, ", 6, "route[0]", "a party name"),
        ("path: sums.json", "path: ../sums.json", 8, "outputs[0].path", "below /pht/state"),
        ("path: sums.json", "path: /pht/state/sums.json", 8, "outputs[0].path", "below /pht/state"),
        ("media_type: application/json", "media_type: json", 8, "outputs[0].media_type", "a media type"),
        ("base: python", "base: python\ncode: other", 5, "code", "no folder 'other'"),
        ("base: python", "base: python\ncode: ../t", 5, "code", "a folder beside train.yaml"),
        (
            "base: python",
            "base: python\nenvironment: {LD_PRELOAD: x.so}",
            5,
            "environment.LD_PRELOAD",
            "allowed are LANG",
        ),
        (
            "base: python",
            "base: python\nenvironment: {PYTHONPATH: vendor}",
            5,
            "environment.PYTHONPATH",
            "not allowed here",
        ),
        ("base: python", "base: python\nenvironment: {TZ: 5}", 5, "environment.TZ", "put numbers in quotes"),
        ("max_bytes: 10KB", "max_bytes: 10KB, schema: nowhere.json", 8, "outputs[0].schema", "no such file"),
        ("valid: 14d", "valid: no", 10, "valid", "'no', but should be"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, place: str, says: str
) -> None:
    told = problems(tmp_path, changed(old, new))
    assert (told[0].line, told[0].place) == (line, place)
    assert says in str(told[0])


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "says"),
    [
        ("  junction: hospital-a\n", "", 6, "rounds.junction", "is missing"),
        ("junction: hospital-a", "junction: Hospital A", 8, "rounds.junction", "'Hospital A', but should be a party"),
        ("most: 20", "most: 0", 9, "rounds.most", "0, but should be how many rounds there are at most, from 1"),
        ("most: 20", "most: 101", 9, "rounds.most", "from 1 to 100"),
        ("[hospital-a, hospital-b]", "[]", 7, "rounds.stations", "an empty list, but should be the stations"),
        ("[hospital-a, hospital-b]", "[hospital-a, hospital-a]", 7, "rounds.stations[1]", "is given twice"),
        ("combine: [python3, combine.py]\n", "", 1, "combine", "it is the program and its arguments that combine"),
        ("contribute: [python3, main.py]\n", "", 1, "contribute", "is missing"),
        ("contribute:", "command: [a]\ncontribute:", 10, "command", "does not belong to a train of rounds"),
        ("combine:", "route: [hospital-a]\ncombine:", 11, "route", "does not belong to a train of rounds"),
        (", task: combine", "", 14, "outputs[1]", "says no task"),
        (", task: combine", ", task: contribute", 12, "outputs", "no output is that of the task 'combine'"),
        (", task: contribute", ", task: combine", 12, "outputs", "no output is that of the task 'contribute'"),
        (", task: combine", ", task: join", 14, "outputs[1].task", "contribute or combine"),
    ],
)
def test_what_is_wrong_with_rounds_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, place: str, says: str
) -> None:
    assert old in ROUNDS
    told = problems(tmp_path, ROUNDS.replace(old, new))
    assert (line, place) in [(one.line, one.place) for one in told], told
    assert says in "".join(str(one) for one in told if one.place == place)


def test_what_belongs_to_rounds_is_told_where_there_are_none(tmp_path: Path) -> None:
    told = problems(tmp_path, changed("max_bytes: 10KB", "max_bytes: 10KB, task: combine") + "combine: [a]\n")
    assert [(one.line, one.place) for one in told] == [(12, "combine"), (8, "outputs[0]")]


def test_everybody_of_a_train_of_rounds_is_on_its_route(tmp_path: Path) -> None:
    spec = load_spec(write_train(tmp_path / "t", ROUNDS.replace("junction: hospital-a", "junction: hub")))
    assert spec.route == ("hospital-a", "hospital-b", "hub")
    assert spec.data_at == ("hospital-a", "hospital-b")
    assert [spec.lines[spec.place_of(index)] for index in range(3)] == [7, 7, 8]
    assert dict(spec.commands) == {"contribute": ("python3", "main.py"), "combine": ("python3", "combine.py")}


@pytest.mark.parametrize(
    ("spec", "line", "says"),
    [
        ("", 1, "empty"),
        ("a: [\n", 2, "not YAML"),
        (changed("base:", "base: x\nbase:"), 5, "'base' is given twice (the first one is in line 4)"),
        ("a: &x [1]\nb: *x\n", 1, "anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "tags (!)"),
        ("a: 1\n---\nb: 2\n", 2, "more than one document"),
        ("a:\n  <<: {b: 1}\n", 2, "not plain text"),
        ("? [a, b]\n: 1\n", 1, "not plain text"),
        ("[" * 40 + "]" * 40, 1, "nested too deeply"),
        ("- a\n- b\n", 1, "a list, but should be a group of fields"),
        ("a: b: c\n", 1, "not YAML"),
        ("\ttrain: x\n", 1, "not YAML"),
    ],
)
def test_t23_yaml_that_is_not_read(tmp_path: Path, spec: str, line: int, says: str) -> None:
    (told, *_) = problems(tmp_path, spec)
    assert told.line == line
    assert says in str(told)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    folder = write_train(tmp_path / "t")
    (folder / "train.yaml").write_bytes(b"train: x\npurpose: \xff\n")
    with pytest.raises(SpecInvalid) as caught:
        load_spec(folder)
    assert caught.value.fields["line"] == 2


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("{", "not readable as strict JSON"),
        ('{"type": "object", "type": "array"}', "not readable as strict JSON"),
        ('{"type": "objekt"}', "not a JSON Schema"),
        ("[]", "not an object"),
        ('{"$ref": "https://example.org/schema.json"}', "stations fetch nothing"),
        ('{"properties": {"a": {"$ref": "other.json"}}}', "stations fetch nothing"),
    ],
)
def test_a_schema_that_is_none(tmp_path: Path, schema: str, says: str) -> None:
    folder = write_train(tmp_path / "t", changed("max_bytes: 10KB", "max_bytes: 10KB, schema: s.json"))
    (folder / "s.json").write_text(schema)
    _, told = read_spec(folder)
    assert told[0].place == "outputs[0].schema"
    assert says in told[0].text


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    told = problems(tmp_path, changed("purpose: add numbers", "porpose: x").replace("cpu: 0.5", "cpu: lots"))
    assert {one.place for one in told} == {"porpose", "purpose", "limits.cpu"}


def test_names_that_are_there_twice(tmp_path: Path) -> None:
    need = "{name: p, description: d, files: []}"
    told = problems(tmp_path, SPEC + f"data:\n  - {need}\n  - {need}\n")
    assert (told[0].line, str(told[0])) == (14, "line 14: data[1]: 'p' is given twice")


def test_no_train_here(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        load_spec(tmp_path)


@pytest.mark.parametrize(
    ("route", "told", "boarded"),
    [
        ("[hospital-a, hospital-b]", "", True),
        ("[hospital-a, hospital-b]", "boarding: true\n", True),
        ("[hospital-a, hospital-b]", "boarding: false\n", False),
        ("[hospital-a]", "", False),
        ("[hospital-a, hospital-a]", "", False),
        ("[hospital-a]", "boarding: true\n", True),
    ],
)
def test_a_train_of_more_than_one_station_is_boarded_unless_it_says_otherwise(
    tmp_path: Path, route: str, told: str, boarded: bool
) -> None:
    spec = changed("[hospital-a, hospital-b, hospital-c]", route).replace("boarding: false\n", told)
    assert load_spec(write_train(tmp_path / "t", spec)).boarding is boarded


@pytest.mark.parametrize("told", ["", "boarding: true\n"])
def test_rounds_are_always_boarded(tmp_path: Path, told: str) -> None:
    assert load_spec(write_train(tmp_path / "t", ROUNDS + told)).boarding


def test_rounds_without_boarding_are_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, ROUNDS + "boarding: false\n")
    assert (found.line, found.place) == (17, "boarding")
    assert "does not belong to a train of rounds" in found.text


@pytest.mark.parametrize("told", ["", "boarding: true\n"])
def test_more_stations_than_can_board_are_told_before_anything_is_signed(tmp_path: Path, told: str) -> None:
    many = "[" + ", ".join(f"hospital-{one}" for one in range(MOST_ABOARD + 1)) + "]"
    spec = changed("[hospital-a, hospital-b, hospital-c]", many)
    (found,) = problems(tmp_path, spec.replace("boarding: false\n", told))
    assert (found.place, found.hint) == ("route", "boarding: false, or fewer stations")
    assert not load_spec(write_train(tmp_path / "plain", spec)).boarding


def test_what_is_kept_needs_boarding_and_its_line_is_told(tmp_path: Path) -> None:
    spec = SPEC + "keep: 10KB\n"
    (found,) = problems(tmp_path, spec)
    assert (found.line, found.place, found.hint) == (12, "keep", "boarding: true")
    boarded = write_train(tmp_path / "boarded", spec.replace("boarding: false\n", ""))
    assert load_spec(boarded).keep_bytes == 10_000
