"""Code that Python would stumble over is found before it departs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from security.archive import Member
from tests.support.owners import SPEC, write_train
from tests.support.trains import NOW
from train_builder.code.check import Finding, Level, packed, preflight, stops_departure
from train_builder.code.imports import gaps
from train_builder.code.python import standard_modules
from train_builder.code.sources import SourceTree
from train_builder.code.wheels import Target
from train_builder.spec.spec import load_spec

RUN = ("python3", "main.py")
VENDOR = "import sys\nsys.path.insert(0, 'vendor')\n"


def tree(files: Mapping[str, str | bytes]) -> SourceTree:
    def one(path: str, text: str | bytes) -> Member:
        data = text.encode() if isinstance(text, str) else text
        return Member(path=path, size=len(data), executable=False, open=lambda: io.BytesIO(data))

    return SourceTree(members=tuple(one(path, files[path]) for path in sorted(files)), ignored=0)


def found(
    files: Mapping[str, str | bytes],
    *,
    command: Sequence[str] = RUN,
    python: str = "3.11",
    vendored: Sequence[str] | None = None,
) -> list[tuple[str, str | None, int | None, bool]]:
    packages = None if vendored is None else tree(dict.fromkeys(vendored, "")).members
    looked = gaps(command, tree(files), Target(python=python), packages)
    return [(one.code, one.path, one.line, one.certain) for one in looked]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = (", 1),
        ("def f():\n    x\n  y\n", 3),
        ("print 'hello'", 1),
        ("import os\nreturn 1\n", 2),
        ("\0", None),
        ("(" * 3000, 1),
        (b"x = '\xff'\n", None),
        ("type X = int\n", 1),
    ],
)
def test_what_python_does_not_compile(text: str | bytes, line: int | None) -> None:
    ((code, path, at, certain),) = found({"main.py": text})
    assert (code, path, certain) == ("python.syntax", "main.py", True)
    assert line is None or at == line


def test_the_grammar_is_that_of_the_base() -> None:
    assert found({"main.py": "match 1:\n    case _:\n        pass\n"}) == []
    assert found({"main.py": "match 1:\n    case _:\n        pass\n"}, python="3.9") != []


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("import json, os.path, xml.etree.ElementTree", None),
        ("import distutils", None),
        ("from __future__ import annotations", None),
        ("import helper", None),
        ("from helper import x", None),
        ("from pack import inner, VALUE", None),
        ("import pack.inner", None),
        ("import space.deep", None),
        ("import fast", None),
        ("try:\n    import ujson\nexcept ImportError:\n    import json", None),
        ("from contextlib import suppress\nwith suppress(ModuleNotFoundError):\n    import ujson", None),
        ("import typing\nif typing.TYPE_CHECKING:\n    import pandas", None),
        ("import pandas", True),
        ("import pandas.core", True),
        ("from numpy import array", True),
        ("def main():\n    import pandas", True),
        ("if __name__ == '__main__':\n    import pandas", True),
        ("import sys\nif sys.platform == 'win32':\n    import winreg_tools", False),
        ("try:\n    pass\nexcept ImportError:\n    import ujson", True),
        ("import helpr", True),
        ("import pack.other", True),
        ("from . import helper", None),
        ("from .gone import x", True),
        ("from .. import x", True),
    ],
)
def test_imports(text: str, gap: bool | None) -> None:
    here: dict[str, str | bytes] = {
        "main.py": text,
        "helper.py": "",
        "pack/__init__.py": "VALUE = 1",
        "pack/inner.py": "",
        "space/deep.py": "",
        "fast.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
    }
    assert [(one[0], one[3]) for one in found(here)] == ([] if gap is None else [("import.missing", gap)])


def test_imports_are_followed_and_what_nothing_uses_only_warns() -> None:
    files = {
        "main.py": "import a",
        "a.py": "from b import c",
        "b/__init__.py": "",
        "b/c.py": "import gone",
        "z.py": "import lost\n",
    }
    assert found(files) == [("import.missing", "b/c.py", 1, True), ("import.missing", "z.py", 1, False)]
    assert found({"main.py": "pass", "old.py": "print 'x'"}) == [("python.syntax", "old.py", 1, False)]


@pytest.mark.parametrize(
    ("command", "files", "expected"),
    [
        (("python3", "-u", "-W", "ignore", "sub/run.py"), {"sub/run.py": "import near", "sub/near.py": ""}, []),
        (("python3", "sub/run.py"), {"sub/run.py": "import far", "far.py": ""}, [("import.missing", "sub/run.py", 1, True)]),
        (
            ("python3", "sub/run.py"),
            {"sub/run.py": "import sys\nsys.path.append('/pht/code')\nimport far", "far.py": ""},
            [],
        ),
        (
            ("python3", "sub/run.py"),
            {"sub/run.py": "import sys, os\nsys.path.append(os.path.dirname(os.getcwd()))\nimport far", "far.py": ""},
            [],
        ),
        (("/usr/bin/python3.11", "-m", "pack"), {"pack/__init__.py": "", "pack/__main__.py": "x = ("}, [("python.syntax", "pack/__main__.py", 1, True)]),
        (("python3", "-c", "import helper; helper.go("), {"helper.py": ""}, [("python.syntax", None, 1, True)]),
        (("python3", "-c", "import gone"), {"helper.py": ""}, [("import.missing", None, 1, True)]),
        (("sh", "main.sh"), {"main.sh": "python3 main.py", "main.py": "x = ("}, [("python.syntax", "main.py", 1, True)]),
        (("sh", "main.sh"), {"main.sh": "", "a/main.py": "import near, gone", "b/near.py": ""}, [("import.missing", "a/main.py", 1, False)]),
        (("python3", "main"), {"main": "x = ("}, [("python.syntax", "main", 1, True)]),
    ],
)  # fmt: skip
def test_what_the_command_runs(
    command: Sequence[str], files: Mapping[str, str], expected: list[tuple[str, str | None, int, bool]]
) -> None:
    assert found(files, command=command) == expected


def test_packages_that_travel_along() -> None:
    listed = {"requirements.txt": "numpy==1.26\nscikit_learn >= 1\n# pandas\n"}
    names = "import numpy.linalg\nimport sklearn\n"
    assert found({**listed, "main.py": VENDOR + names}) == []
    assert found({**listed, "main.py": VENDOR + "import pandas"}) == [("import.missing", "main.py", 3, False)]
    packages = ["vendor/numpy/__init__.py", "vendor/six.py"]
    assert found({**listed, "main.py": VENDOR + "import numpy, six"}, vendored=packages) == []
    assert found({**listed, "main.py": VENDOR + "import pandas"}, vendored=packages) == [
        ("import.missing", "main.py", 3, True)
    ]
    assert found({**listed, "main.py": names}) == [("import.vendor", "main.py", 1, True)]


@pytest.mark.parametrize(("minor", "there", "gone"), [(11, "distutils", "compression"), (13, "tomllib", "cgi"), (10, "imp", "tomllib")])  # fmt: skip
def test_the_standard_library_is_that_of_the_base(minor: int, there: str, gone: str) -> None:
    assert there in standard_modules(minor)
    assert gone not in standard_modules(minor)


def look(tmp_path: Path, spec: str, allow: Sequence[str] = (), main: str = "print(1)\n") -> tuple[Finding, ...]:
    read = load_spec(write_train(tmp_path / "t", spec))
    return preflight(read, tree({"main.py": main}), None, now=NOW, allow=allow)


def test_a_missing_import_stops_the_train_unless_the_base_is_known_to_have_it(tmp_path: Path) -> None:
    found = look(tmp_path / "a", SPEC, main="import sklearn\n")
    missing = next(one for one in found if one.code == "import.missing")
    assert stops_departure(found)
    assert "scikit-learn" in str(missing.hint)
    assert "--allow import.missing:sklearn" in str(missing.hint)
    accepted = ["import.missing:sklearn"]
    assert not stops_departure(look(tmp_path / "b", SPEC, accepted, main="import sklearn\n"))
    assert stops_departure(look(tmp_path / "d", SPEC, accepted, main="import sklearn, pandsa\n"))
    assert stops_departure(look(tmp_path / "e", SPEC, ["import.missing"], main="import sklearn\n"))
    read, code = load_spec(tmp_path / "a" / "t"), tree({"main.py": "import sklearn\n"})
    assert stops_departure(packed(read, code, (), Target()))
    assert not stops_departure(packed(read, code, (), Target(), allow=["import.missing:sklearn"]))


@pytest.mark.parametrize(
    "reference",
    [
        "TODO",
        "todo: ask Anna",
        "ethics-vote-placeholder",
        "Put the reference of your ethics vote here",
        "<reference>",
        "...",
        "xxx",
        "tbd",
        "your ethics vote",
    ],
)
def test_a_placeholder_is_not_signed(tmp_path: Path, reference: str) -> None:
    spec = SPEC.replace("reference: ethics 1/2026", f'reference: "{reference}"')
    (one,) = (one for one in look(tmp_path / "a", spec) if one.code == "placeholder")
    assert (one.level, one.path, one.line) == (Level.ERROR, "train.yaml", 3)
    assert not stops_departure(look(tmp_path / "b", spec, ["placeholder"]))


@pytest.mark.parametrize("reference", ["ethics 1/2026", "EK 12-34", "Todoran et al. 2026", "none: public data"])
def test_a_reference_is_no_placeholder(tmp_path: Path, reference: str) -> None:
    assert "placeholder" not in {one.code for one in look(tmp_path, SPEC.replace("ethics 1/2026", f'"{reference}"'))}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("{path: sums.json, media_type: application/json, max_bytes: 10KB, schema: s.json}", None),
        ("{path: sums.json, media_type: application/json, max_bytes: 10KB, schema: wide.json}", "leaves open"),
        ("{path: sums.json, media_type: application/json, max_bytes: 10KB}", "is JSON without a schema"),
        ("{path: t.csv, media_type: text/csv, max_bytes: 10KB}", "is text/csv"),
        ("{path: m.bin, media_type: application/octet-stream, max_bytes: 10KB}", "is application/octet-stream"),
        ("{path: m.pkl, media_type: application/octet-stream, max_bytes: 10KB}", "pickled objects"),
        ("{path: m.bin, media_type: application/x-pickle, max_bytes: 10KB}", "pickled objects"),
    ],
)
def test_outputs_that_wait_for_a_person_are_named(tmp_path: Path, output: str, told: str | None) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "s.json").write_text('{"type": "integer"}')
    (tmp_path / "t" / "wide.json").write_text('{"type": "object"}')
    found = look(tmp_path, SPEC.replace("{path: sums.json, media_type: application/json, max_bytes: 10KB}", output))
    assert [(one.code, one.level, one.line) for one in found] == (
        [] if told is None else [("output.by-hand", Level.WARNING, 8)]
    )
    assert told is None or told in found[0].text
