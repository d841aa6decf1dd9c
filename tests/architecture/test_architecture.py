"""What the code promises about its own shape."""

from __future__ import annotations

import ast
import importlib
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from security.version import VERSION

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("security", "registry", "console", "train_builder", "station", "rehearsal")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULES = sorted({ROOT / "pht.py", ROOT / "pht_command.py", *SOURCES})


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def test_import_contracts_hold() -> None:
    linted = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_the_generic_package_names_are_ours(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert pathlib.Path(module.__file__).parent == ROOT / package


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_which_question_it_answers(path: pathlib.Path) -> None:
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert documentation, f"{path} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_read_at_one_sitting(path: pathlib.Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_version_stands_in_one_module_and_the_package_has_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
    assert [name_of(path) for path in MODULES if f'"{VERSION}"' in path.read_text(encoding="utf-8")] == [
        "security/version.py"
    ]


def test_only_the_envelope_module_makes_verified_values() -> None:
    makers = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) == "Verified" or getattr(node.func, "attr", None) == "Verified")
    }
    assert makers == {"security/statement/envelope.py"}


def test_broad_handlers_stand_at_the_two_boundaries_only() -> None:
    broad = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", None) in {"Exception", "BaseException"})
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    }
    assert broad <= {"pht.py", "station/daemon/reconcile.py"}


def test_no_promise_is_left_open() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK|raise NotImplementedError)\b")
    found = [name_of(path) for path in MODULES if words.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_tests_patch_and_skip_nothing() -> None:
    words = re.compile(r"mock\.patch|unittest\.mock|pytest\.skip|mark\.skip|importorskip|mark\.xfail")
    here = pathlib.Path(__file__)
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if path != here and words.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_generated_documents_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.generated().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run 'make docs'"


def test_every_arrow_of_the_picture_points_down() -> None:
    """What the document draws follows from the code; that it is what the contracts allow, and that all is there, is held here."""
    spec = importlib.util.spec_from_file_location("rooms_under_test", ROOT / "docs" / "rooms.py")
    assert spec is not None
    assert spec.loader is not None
    rooms = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = rooms
    spec.loader.exec_module(rooms)
    house, drawn = rooms.house(), (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    on_disk = {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).glob("*/__init__.py")}
    shown = {pathlib.Path(*one.split(".")) for one in re.findall(r"^ +([a-z_]+\.[a-z_]+)\[", drawn, re.MULTILINE)}
    assert shown == on_disk
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    heights: dict[str, int] = {}
    for contract in (one for one in contracts if one["type"] == "layers"):
        for height, layer in enumerate(reversed(contract["layers"])):
            for name in layer.split(" | "):
                heights |= {".".join((*contract.get("containers", ()), name)): height}
    arrows = re.findall(r"^ +([a-z_.]+) --> ([a-z_.]+)$", drawn, re.MULTILINE)
    assert len(arrows) > len(PACKAGES)
    assert [one for one in arrows if heights[one[0]] <= heights[one[1]]] == []
    inside = {one for one in house.arrows if "." in one[0] and one[0].split(".")[0] == one[1].split(".")[0]}
    assert rooms.reduced(inside) == {one for one in arrows if "." in one[0]}


def test_every_place_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = set(re.findall(rf"`((?:{'|'.join(PACKAGES)}|docs|tests)/[a-z_./]+)`", text))
    assert len(places) > len(PACKAGES)
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


def test_error_codes_are_unique_and_stable_in_form() -> None:
    from security.errors import PhtError

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
    waiting, seen = [PhtError], dict[str, type]()
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.startswith(PACKAGES):
            assert re.fullmatch(r"[a-z]+(?:[.-][a-z]+)*", one.code), one
            assert seen.setdefault(one.code, one) is one, f"{one} and {seen[one.code]} share {one.code}"
            assert one.__doc__
