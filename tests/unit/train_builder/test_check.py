"""What is found before departure."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from security.age import X25519Identity
from security.archive import Member
from security.directory.trust import Base, Policy
from security.encoding import Json
from security.ids import PartyId
from security.keys.keyset import Secrets
from tests.support.owners import ROUNDS, SPEC, write_train
from tests.support.trains import BASE, NOW, Consortium, consortium
from train_builder.code.check import BY_HAND, Finding, Level, finding_document, preflight, stops_departure
from train_builder.code.contents import state_paths
from train_builder.code.sources import SourceTree
from train_builder.spec.spec import load_spec

MAIN = {"main.py": b"print('hello')\n"}


def members(files: Mapping[str, bytes]) -> tuple[Member, ...]:
    def one(path: str, data: bytes) -> Member:
        return Member(path=path, size=len(data), executable=path.endswith(".run"), open=lambda: io.BytesIO(data))

    return tuple(one(path, files[path]) for path in sorted(files))


def look(
    tmp_path: Path,
    files: Mapping[str, bytes],
    *,
    spec: str = SPEC,
    world: Consortium | None = None,
    allow: Sequence[str] = (),
) -> tuple[Finding, ...]:
    read = load_spec(write_train(tmp_path / "t", spec))
    tree = SourceTree(members=members({**MAIN, **files}), ignored=0)
    return apart(preflight(read, tree, None if world is None else world.trust, now=NOW, allow=allow))


def apart(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Leave out that results without a schema wait for a person, which is always so here."""
    return tuple(one for one in found if one.code != BY_HAND)


def test_nothing_to_find(tmp_path: Path) -> None:
    assert look(tmp_path, {}, world=consortium()) == ()


FINISHING = {"combine.py": b"(state / 'finished').touch()\nopen('/pht/state/finished')\n"}


def test_nothing_to_find_in_rounds(tmp_path: Path) -> None:
    assert look(tmp_path, FINISHING, spec=ROUNDS, world=consortium()) == ()


def test_rounds_that_nothing_ends_are_told(tmp_path: Path) -> None:
    (found,) = look(tmp_path, {"combine.py": b"state = 'unfinished'\n"}, spec=ROUNDS)
    assert (found.code, found.level, found.line) == ("rounds.endless", Level.WARNING, 11)
    assert "all 20 rounds" in found.text


def test_finished_is_an_output_where_there_are_no_rounds(tmp_path: Path) -> None:
    (found,) = look(tmp_path, FINISHING)
    assert (found.code, found.path, found.line) == ("output.undeclared", "combine.py", 2)


def test_a_sum_over_so_few_stations_that_most_refuse_it_is_told(tmp_path: Path) -> None:
    spec = ROUNDS.replace("task: contribute}", "task: contribute, sum: {shape: [2], bound: 9}}")
    (found,) = look(tmp_path, FINISHING, spec=spec)
    assert (found.code, found.level, found.line) == ("sum.few", Level.WARNING, 7)


@pytest.mark.parametrize(("name", "line"), [("main.py", 10), ("combine.py", 11)])
def test_both_commands_of_rounds_travel(tmp_path: Path, name: str, line: int) -> None:
    spec = ROUNDS.replace(f"[python3, {name}]", "[python3, nowhere.py]")
    (found,) = look(tmp_path, FINISHING, spec=spec)
    assert (found.code, found.line) == ("command.missing", line)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("[hospital-a, hospital-b]", "[hospital-a, hospital-q]", 7), ("junction: hospital-a", "junction: hub", 8)],
)
def test_an_unknown_station_of_rounds_is_told_where_it_is_named(tmp_path: Path, old: str, new: str, line: int) -> None:
    (found,) = look(tmp_path, FINISHING, spec=ROUNDS.replace(old, new), world=consortium())
    assert (found.code, found.line) == ("party.unknown", line)


DATA = {
    "patients.csv": b"name,age\n",
    "PATIENTS.CSV": b"",
    "x.parquet": b"",
    "table.tsv.gz": b"\x1f\x8b",
    "noname": b"PAR1....",
    "image": b"\0" * 128 + b"DICM",
    "cache": b"SQLite format 3\0rest",
    "model.bin": pickle.dumps({"weights": [1, 2, 3]}),
    "weights.pkl": b"",
    "array": b"\x93NUMPY\x01",
    "study.sav": b"$FL2",
    "deep/down/scan.nii.gz": b"",
    "sheet.xlsx": b"PK\x03\x04",
    "store": b"\x89HDF\r\n\x1a\n",
}


@pytest.mark.parametrize("name", DATA)
def test_data_are_found(tmp_path: Path, name: str) -> None:
    (found,) = look(tmp_path, {name: DATA[name]})
    assert (found.code, found.path, found.level) == ("data.file", name, Level.ERROR)
    assert stops_departure([found])


SECRETS = {
    "key.pem": (b"x\n-----BEGIN PRIVATE KEY-----\nMC4", "secret.private-key", 2),
    "id": (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "secret.private-key", 1),
    "rsa": (b"-----BEGIN RSA PRIVATE KEY-----\n", "secret.private-key", 1),
    "notes.txt": (b"AGE-SECRET-KEY-1" + b"Q" * 58, "secret.age-key", 1),
    "notes2.txt": (b"\n\nAGE-SECRET-KEY-PQ-1" + b"Q" * 58, "secret.age-key", 3),
    "config.py": (b"A = 'AKIA" + b"ABCDEFGHIJKLMNOP'", "secret.aws-key", 1),
    "ci.yml": (b"token: ghp_" + b"a" * 36, "secret.token", 1),
    "gl": (b"glpat-" + b"a" * 20, "secret.token", 1),
    "slack": (b"xoxb-" + b"1" * 12, "secret.token", 1),
    "jwt": (b"eyJ" + b"a" * 20 + b".eyJ" + b"b" * 20 + b"." + b"c" * 20, "secret.token", 1),
    "url": (b"postgresql://user:" + b"hunter22@db.example/x", "secret.url", 1),
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_found_and_not_repeated(tmp_path: Path, name: str) -> None:
    data, code, line = SECRETS[name]
    (found,) = look(tmp_path, {name: data})
    assert (found.code, found.line, found.level) == (code, line, Level.ERROR)
    told = str(found) + str(finding_document(found))
    assert data.strip()[-12:].decode() not in told


@pytest.mark.parametrize(
    "name", [".env", ".env.local", "a/.netrc", "id_rsa", "id_ed25519", "x.p12", "y.kdbx", ".pgpass"]
)
def test_files_for_secrets_are_found_by_name(tmp_path: Path, name: str) -> None:
    (found,) = look(tmp_path, {name: b""})
    assert found.code == "secret.file"


def test_what_looks_like_a_password_is_a_warning(tmp_path: Path) -> None:
    (found,) = look(tmp_path, {"db.py": b"import os\nDB_PASSWORD = 'correct-horse-battery'\n"})
    assert (found.code, found.line, found.level) == ("secret.assignment", 2, Level.WARNING)
    assert not stops_departure([found])


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN PUBLIC KEY-----\n",
        b"password = getpass()\n",
        b"token = '${TOKEN}'\n",
        b"https://example.org/a:b",
        b"age1qqq",
    ],
)
def test_no_false_alarm(tmp_path: Path, data: bytes) -> None:
    assert look(tmp_path, {"x.txt": data}) == ()


def test_a_finding_may_be_allowed_by_its_path(tmp_path: Path) -> None:
    files = {"codes/icd.csv": b"", "patients.csv": b""}
    first, second = look(tmp_path, files, allow=["codes/*"])
    assert (first.allowed, second.allowed) == (True, False)
    assert not stops_departure([first])
    assert stops_departure([first, second])
    assert str(first).startswith("allowed: codes/icd.csv")


PYTHON = """
import os, pathlib
from pathlib import Path
STATE = Path("/pht/state")
ENV = pathlib.Path(os.environ["PHT_STATE"])
"""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('open("/pht/state/debug.log", "w")', "debug.log"),
        ('(STATE / "debug.log").write_text("x")', "debug.log"),
        ('(STATE / "a" / "b.txt").touch()', "a/b.txt"),
        ('(ENV / "debug.log").touch()', "debug.log"),
        ('open(os.path.join("/pht/state", "x.json"))', "x.json"),
        ('open(os.path.join(os.getenv("PHT_STATE"), "x.json"))', "x.json"),
        ('open("/pht/state/" + "x.json")', "x.json"),
        ("open(f'/pht/state/run-{1}.txt')", "run-*.txt"),
        ("(STATE / f'{n}.json').touch()", "*.json"),
        ("(STATE / name).touch()", "*"),
        ('("/pht/state" if x else y)', None),
        ('"see /pht/state/x.json for more"', None),
        ('STATE / "sums.json"', "sums.json"),
    ],
)
def test_paths_in_python(code: str, found: str | None) -> None:
    (member,) = members({"main.py": (PYTHON + code).encode()})
    assert [path for path, _ in state_paths(member)] == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("echo 1 > /pht/state/out.txt", ["out.txt"]),
        ('echo 1 > "$PHT_STATE/out.txt"; cat ${PHT_STATE}/b', ["out.txt", "b"]),
        ('cp x "$PHT_STATE"/y.csv', ["y.csv"]),
        ("ls /pht/state /pht/data", []),
    ],
)
def test_paths_in_shell(code: str, found: list[str]) -> None:
    (member,) = members({"main.sh": code.encode()})
    assert sorted(path for path, _ in state_paths(member)) == sorted(found)


def test_python_that_is_none_is_read_as_text() -> None:
    (member,) = members({"old.py": b"print '/pht/state/x.txt'"})
    assert state_paths(member) == (("x.txt", 1),)


@pytest.mark.parametrize(
    ("path", "level"),
    [("sums.json", None), ("debug.log", Level.ERROR), ("a/sums.json", Level.ERROR), ("run-{n}.txt", Level.WARNING)],
)
def test_undeclared_outputs(tmp_path: Path, path: str, level: Level | None) -> None:
    found = look(tmp_path, {"w.py": f"n = input()\nopen(f'/pht/state/{path}', 'w')\n".encode()})
    assert [(one.code, one.level, one.line) for one in found] == (
        [] if level is None else [("output.undeclared", level, 2)]
    )


def test_a_guess_that_may_be_declared_is_none(tmp_path: Path) -> None:
    spec = SPEC.replace("path: sums.json", "path: run-*.txt")
    assert look(tmp_path, {"w.py": b"open(f'/pht/state/run-{n}.txt')"}, spec=spec) == ()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("[python3, main.py]", None),
        ("[python3, /pht/code/main.py]", None),
        ("[python3, mian.py]", "command.missing"),
        ("[python3, -m, json.tool]", None),
        ("[./main.py]", "command.not-executable"),
        ("[./go.run]", None),
        ("[./nope]", "command.missing"),
        ("[/usr/bin/env, python3, main.py]", None),
        ("[cat, /etc/passwd]", None),
    ],
)
def test_the_command_travels(tmp_path: Path, command: str, code: str | None) -> None:
    spec = SPEC.replace("[python3, main.py]", command)
    found = look(tmp_path, {"go.run": b""}, spec=spec)
    assert [(one.code, one.line) for one in found] == ([] if code is None else [(code, 5)])


def test_a_near_name_is_suggested(tmp_path: Path) -> None:
    (found,) = look(tmp_path, {}, spec=SPEC.replace("[python3, main.py]", "[python3, mian.py]"))
    assert found.hint == "did you mean 'main.py'?"


def test_large_files_are_a_warning(tmp_path: Path) -> None:
    big = Member(path="big", size=(100 << 20) + 1, executable=False, open=lambda: io.BytesIO(b""))
    tree = SourceTree(members=(*members(MAIN), big), ignored=0)
    found = apart(preflight(load_spec(write_train(tmp_path / "t")), tree, None, now=NOW))
    assert [(one.code, one.level) for one in found] == [("size.file", Level.WARNING), ("size.code", Level.WARNING)]


def test_an_unknown_station(tmp_path: Path) -> None:
    (found,) = look(tmp_path, {}, spec=SPEC.replace("hospital-b", "hospitl-b"), world=consortium())
    assert (found.code, found.line, found.hint) == ("party.unknown", 6, "did you mean 'hospital-b'?")


def test_an_owner_is_no_station(tmp_path: Path) -> None:
    (found,) = look(tmp_path, {}, spec=SPEC.replace("hospital-b", "mallory"), world=consortium())
    assert found.code == "party.unknown"


def test_a_revoked_station(tmp_path: Path) -> None:
    world = consortium()
    world.revoked.add(world.secrets[PartyId("hospital-b")].key_set.fingerprint)
    (found,) = look(tmp_path, {}, world=world)
    assert found.code == "key.revoked"


def test_an_unknown_base_and_a_withdrawn_one(tmp_path: Path) -> None:
    world = consortium()
    (found,) = look(tmp_path / "a", {}, spec=SPEC.replace("base: python", "base: pyhton"), world=world)
    assert (found.code, found.line, found.hint) == (
        "base.not-approved",
        4,
        "did you mean 'python'? approved are: python",
    )
    world.bases[BASE] = Base(name="python", digest=BASE, note="", withdrawn=True)
    (found,) = look(tmp_path / "b", {}, world=world)
    assert found.code == "base.not-approved"


def test_longer_than_the_policy_allows(tmp_path: Path) -> None:
    world = consortium()
    world.policy = Policy(max_train_days=7)
    (found,) = look(tmp_path, {}, world=world)
    assert (found.code, found.line) == ("train.outside-validity", 10)


def test_stations_that_cannot_share_a_seal(tmp_path: Path) -> None:
    world = consortium()
    odd = PartyId("hospital-b")
    world.secrets[odd] = Secrets(signers=world.secrets[odd].signers, identity=X25519Identity.generate())
    (found,) = look(tmp_path, {}, world=world)
    assert (found.code, found.line) == ("seal.mixed", 6)
    assert "hospital-b" in (found.hint or "")


@pytest.mark.parametrize(
    ("media_type", "schema", "told"),
    [
        ("application/json", {"type": "object"}, None),
        ("text/csv", {"properties": {"n": {"type": "integer"}}}, None),
        ("application/json", {"uniqueItems": True}, "uses uniqueItems"),
        ("application/json", {"$id": "urn:x"}, "uses $id"),
        ("application/json", {"patternProperties": {"a": {}}}, "uses patternProperties"),
        ("application/json", {"pattern": "(a+)+$"}, "pattern is not"),
        ("application/json", {"items": {"$ref": "#/items"}}, "refers to itself"),
        ("text/plain", {"type": "string"}, "only JSON and CSV"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_schemas_that_every_gate_would_refuse_are_told_before_departure(
    tmp_path: Path, media_type: str, schema: Json, told: str | None
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "sums.schema.json").write_text(json.dumps(schema))
    found = look(tmp_path, {}, spec=SPEC.replace("application/json", f"{media_type}, schema: sums.schema.json"))
    assert [(one.code, one.level, one.path) for one in found] == (
        [] if told is None else [("output.schema", Level.ERROR, "train.yaml")]
    )
    assert told is None or told in found[0].text
