"""Every attack of the threat model is mounted, and what its table says it is refused as is what its tests demand.

A test of attack 7 is named ``test_t7_…`` (``test_t7_t8_…`` for two). What a test demands is read from its source, with the
functions and tables of its module that it uses: the code itself, or the class of the error that has it.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from security.errors import PhtError

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| T(\d+) \|.*\| ([^|]+) \|$", re.MULTILINE)
TEXT = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
TABLE = {int(number): answers for number, answers in ROW.findall(TEXT)}
NAME = re.compile(r"test_((?:t\d+_)+)")
ASSERTION = "assert"


def errors(above: type[PhtError] = PhtError) -> Iterator[type[PhtError]]:
    """Yield every error of the project."""
    for module in (
        "security.errors",
        "security.keys.errors",
        "security.sums.errors",
        "registry.errors",
        "train_builder.errors",
        "station.errors",
        "rehearsal.errors",
    ):
        importlib.import_module(module)
    for one in above.__subclasses__():
        yield one
        yield from errors(one)


def words_for(code: str) -> set[str]:
    """Return what a test may say for an error: code or class, its own or that of a kind of it; ``*`` is any ending."""
    pattern = re.compile(re.escape(code).replace(r"\*", ".*"))
    meant = {one for one in errors() if pattern.fullmatch(one.code)}
    meant |= {kind for one in meant for kind in errors(one)}
    assert meant, f"there is no error {code}"
    return {one.__name__ for one in meant} | {one.code for one in meant}


def said_by(test: ast.FunctionDef, around: dict[str, ast.stmt]) -> set[str]:
    """Return the names and strings in a test and in what it uses of its module."""
    said, waiting, seen = set[str](), [test.name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(around[name]):
            match node:
                case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word):
                    said.add(word)
                    waiting += [word] if word in around else []
                case ast.Constant(value=str(text)):
                    said.add(text)
                case ast.Assert():
                    said.add(ASSERTION)
                case _:
                    pass
    return said


@cache
def mounted() -> dict[int, dict[str, set[str]]]:
    """Return for each attack its tests, and what each of them says."""
    found: dict[int, dict[str, set[str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        around: dict[str, ast.stmt] = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                around[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                around |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        for name, test in around.items():
            if isinstance(test, ast.FunctionDef) and (named := NAME.match(name)):
                said = said_by(test, around)
                for number in re.findall(r"\d+", named[1]):
                    found.setdefault(int(number), {})[f"{path.name}::{name}"] = said
    return found


def test_the_table_is_read() -> None:
    assert sorted(TABLE) == list(range(1, 30))


def test_no_test_is_named_after_an_attack_that_is_not_in_the_table() -> None:
    assert set(mounted()) <= set(TABLE)


@pytest.mark.parametrize("attack", sorted(TABLE), ids="T{}".format)
def test_every_attack_is_refused_as_the_table_says(attack: int) -> None:
    tests = mounted().get(attack, {})
    assert tests, f"no test is named test_t{attack}_…"
    said = set[str]().union(*tests.values())
    demanded = re.findall(r"`([a-z.*-]+)`", TABLE[attack])
    assert demanded or TABLE[attack].strip() == "—"
    assert [code for code in demanded if not words_for(code) & said] == []


def test_the_tests_that_are_named_are_there_and_are_of_the_attacks_named_beside_them() -> None:
    there = {
        f"{path.name}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    rows = [row.split(" | ") for row in TEXT.splitlines() if "::" in row]
    assert len(rows) > 20
    for _, attacks, tests, _ in rows:
        named = set(re.findall(r"`(\w+\.py::\w+)`", tests))
        assert named <= there
        for number in re.findall(r"T(\d+)", attacks):
            assert named & set(mounted()[int(number)])


def test_every_test_of_an_attack_looks_at_what_became_of_it() -> None:
    looks = {ASSERTION, "raises", "suppress"}  # what is not suppressed fails
    blind = {name for tests in mounted().values() for name, said in tests.items() if not said & looks}
    assert blind == set()
