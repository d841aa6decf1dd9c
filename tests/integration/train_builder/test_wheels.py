"""Requirements are met with wheels, by pip itself, from a folder instead of an index."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry.depot import Depot
from registry.errors import RegistryUnavailable
from registry.layout import LayoutRegistry
from tests.support.desk import typed
from tests.support.owners import SPEC, OwnerWorld, write_train
from train_builder.build.submit import Submitted, submit
from train_builder.code.wheels import Target, vendor
from train_builder.errors import PreflightFailed, WheelsUnresolved

VENDORED = 'import sys\n\nsys.path.insert(0, "vendor")\nimport helper\n'


def wheel(folder: Path, name: str, files: Mapping[str, bytes], *, tag: str = "py3-none-any", needs: str = "") -> Path:
    """Write a wheel (PEP 427)."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    whole = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in whole.items()
    )
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as out:
        for inside, data in whole.items():
            out.writestr(inside, data)
        out.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def requirements(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("\n".join(["--no-index", f"--find-links {tmp_path / 'index'}", *lines]) + "\n")
    return path


def test_wheels_are_fetched_with_what_they_need_and_unpacked(tmp_path: Path) -> None:
    first = wheel(tmp_path / "index", "adder", {"adder/__init__.py": b"from helper import ONE\n"}, needs="helper")
    wheel(tmp_path / "index", "helper", {"helper.py": b"ONE = 1\n"})
    wheels, members = vendor(requirements(tmp_path, "adder"), Target(), into=tmp_path / "into")
    assert [one.file for one in wheels] == ["adder-1.0-py3-none-any.whl", "helper-1.0-py3-none-any.whl"]
    assert wheels[0].digest.hex == hashlib.sha256(first.read_bytes()).hexdigest()
    inside = {member.path for member in members}
    assert {"vendor/adder/__init__.py", "vendor/helper.py", "vendor/WHEELS.txt"} <= inside
    note = next(member for member in members if member.path == "vendor/WHEELS.txt")
    with note.open() as source:
        assert source.read().decode().splitlines()[0] == f"{wheels[0].digest.hex}  adder-1.0-py3-none-any.whl"
    code = "import sys; sys.path.insert(0, 'vendor'); import adder; print(adder.ONE)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path / "into" / "tree", capture_output=True, check=True
    )
    assert done.stdout == b"1\n"


def test_a_relative_folder_is_meant_from_here_and_not_from_the_code(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "helper", {"helper.py": b"ONE = 1\n"})
    listed = requirements(tmp_path, "helper")
    (tmp_path / "here").mkdir()
    with contextlib.chdir(tmp_path / "here"):
        wheels, members = vendor(listed, Target(), into=Path("home") / "into")
    assert [one.file for one in wheels] == ["helper-1.0-py3-none-any.whl"]
    assert "vendor/helper.py" in {member.path for member in members}
    assert not (listed.parent / "home").exists()


def test_a_wheel_for_the_stations_machine_not_for_this_one(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "fast", {"fast.py": b""}, tag="cp311-cp311-manylinux_2_17_aarch64")
    listed = requirements(tmp_path, "fast")
    wheels, _ = vendor(listed, Target(machine="aarch64"), into=tmp_path / "a")
    assert wheels[0].file == "fast-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"
    with pytest.raises(WheelsUnresolved) as caught:
        vendor(listed, Target(machine="x86_64"), into=tmp_path / "b")
    assert "fast" in str(caught.value.fields["reason"])


def test_a_newer_glibc_or_python_than_the_base_has(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "late", {"late.py": b""}, tag="cp311-cp311-manylinux_2_39_x86_64")
    wheel(tmp_path / "index", "young", {"young.py": b""}, tag="cp313-cp313-manylinux_2_17_x86_64")
    for name in ("late", "young"):
        with pytest.raises(WheelsUnresolved):
            vendor(requirements(tmp_path, name), Target(), into=tmp_path / name)


def test_what_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(WheelsUnresolved) as caught:
        vendor(requirements(tmp_path, "no-such-package"), Target(), into=tmp_path / "into")
    assert caught.value.code == "wheels.unresolved"


def test_source_packages_are_not_built(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "evil-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(WheelsUnresolved):
        vendor(requirements(tmp_path, "evil"), Target(), into=tmp_path / "into")


def test_a_wheel_whose_files_do_not_unpack_is_told(tmp_path: Path) -> None:
    packed = wheel(tmp_path / "index", "torn", {})
    raw = b"x = 1\n" * 1000
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr("torn.py", raw)
        at = out.getinfo("torn.py").header_offset + len("torn.py") + 30  # the local header of a file
    whole = packed.read_bytes()
    packed.write_bytes(whole[:at] + b"\xff\xff\xff" + whole[at + 3 :])
    with pytest.raises(WheelsUnresolved) as caught:
        vendor(requirements(tmp_path, "torn"), Target(), into=tmp_path / "into")
    assert caught.value.fields["wheel"] == packed.name


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py"])
def test_t16_a_wheel_that_writes_elsewhere(tmp_path: Path, name: str) -> None:
    wheel(tmp_path / "index", "evil", {name: b"x"})
    with pytest.raises(WheelsUnresolved):
        vendor(requirements(tmp_path, "evil"), Target(), into=tmp_path / "into")
    assert list(tmp_path.rglob("evil.py")) == []


def test_modules_of_the_data_folder_come_scripts_do_not(tmp_path: Path) -> None:
    files = {"x-1.0.data/purelib/x.py": b"", "x-1.0.data/scripts/run": b"#!python", "x-1.0.data/data/etc/x": b""}
    wheel(tmp_path / "index", "x", files)
    _, members = vendor(requirements(tmp_path, "x"), Target(), into=tmp_path / "into")
    inside = [member.path for member in members if "dist-info" not in member.path]
    assert inside == ["vendor/WHEELS.txt", "vendor/x.py"]


def test_a_train_takes_its_packages_along_and_leaves_the_folder_alone(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "helper", {"helper.py": b"ONE = 1\n"})
    listed = requirements(tmp_path, "helper").read_text()
    folder = write_train(tmp_path / "train", files={"main.py": VENDORED, "requirements.txt": listed})
    here = OwnerWorld(tmp_path / "world")
    sent = here.submit(folder)
    assert [one.file for one in sent.wheels] == ["helper-1.0-py3-none-any.whl"]
    here.pass_stop("hospital-a")
    (room,) = (here.path / "rooms").iterdir()
    assert (room / "code" / "vendor" / "helper.py").read_bytes() == b"ONE = 1\n"
    assert sorted(path.name for path in (folder / "code").iterdir()) == ["main.py", "requirements.txt"]


def test_what_no_wheel_brings_is_found_before_the_train_is_signed(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "helper", {"helper.py": b"ONE = 1\n"})
    listed = requirements(tmp_path, "helper").read_text()
    code = {"main.py": VENDORED + "import helpers_tools\n", "requirements.txt": listed}
    here = OwnerWorld(tmp_path / "world")
    with pytest.raises(PreflightFailed) as caught:
        here.submit(write_train(tmp_path / "train", files=code))
    assert "imports 'helpers_tools'" in str(caught.value)
    assert here.home().records() == ()


def test_check_fetches_what_travels_along_and_looks_into_it(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "helper", {"helper.py": b"ONE = 1\n"})
    listed = requirements(tmp_path, "helper").read_text()
    folder = write_train(tmp_path / "t", files={"main.py": VENDORED, "requirements.txt": listed})
    checked = typed(tmp_path, "--json", "train", "check", "t")
    assert (checked.exit, checked.document["packages"]) == (0, True), str(checked)
    offline = typed(tmp_path, "train", "check", "t", "--offline")
    assert offline.exit == 0
    assert "not known to be ready" in offline.out
    (folder / "code" / "main.py").write_text(VENDORED + "import helpers_tools\n")
    checked = typed(tmp_path, "--json", "train", "check", "t")
    assert checked.exit == 40
    (missing,) = [one for one in checked.document["findings"] if one["code"] == "import.missing"]
    assert (missing["level"], "helpers_tools" in missing["text"]) == ("error", True)
    (folder / "code" / "requirements.txt").write_text(listed + "no-such-package\n")
    checked = typed(tmp_path, "--json", "train", "check", "t")
    assert checked.exit == 40
    assert [one["path"] for one in checked.document["findings"] if one["code"] == WheelsUnresolved.code] == [
        "requirements.txt"
    ]


def test_an_unsent_train_is_sent_again_only_with_packages_for_the_same_python(tmp_path: Path) -> None:
    for tag in ("cp311-none-any", "cp312-none-any"):
        wheel(tmp_path / "index", "helper", {"helper.py": tag.encode()}, tag=tag)
    here = OwnerWorld(tmp_path / "world")
    lines = f"--no-index\n--find-links {tmp_path / 'index'}\nhelper\n"
    folder = write_train(tmp_path / "t", files={"main.py": "pass\n", "requirements.txt": lines})
    away = Depot(LayoutRegistry(tmp_path / "nowhere"))

    def send(depot: Depot, python: str) -> Submitted:
        return submit(
            folder,
            here.home(),
            depot=depot,
            trust=here.world.trust,
            unlock=lambda: here.secrets("alice"),
            now=here.now,
            target=Target(python=python),
        )

    with pytest.raises(RegistryUnavailable):
        send(away, "3.11")
    other = send(here.depot, "3.12")
    assert not other.resumed
    assert [one.file for one in other.wheels] == ["helper-1.0-cp312-none-any.whl"]
    first = send(here.depot, "3.11")
    assert first.resumed
    assert len({one.train for one in here.home().records()}) == 2


@pytest.mark.parametrize(("options", "tag"), [((), "cp311"), (("--python", "3.12"), "cp312")])
def test_a_rehearsal_takes_the_packages_that_would_travel(tmp_path: Path, options: tuple[str, ...], tag: str) -> None:
    for one in ("cp311", "cp312"):
        wheel(tmp_path / "index", "helper", {"helper.py": f"TAG = '{one}'\n".encode()}, tag=f"{one}-none-any")
    code = (
        "import sys; sys.path.insert(0, 'vendor')\nimport helper, json, os, pathlib\n"
        "(pathlib.Path(os.environ['PHT_STATE']) / 'sums.json').write_text(json.dumps(helper.TAG))\n"
    )
    lines = f"--no-index\n--find-links {tmp_path / 'index'}\nhelper\n"
    spec = SPEC.replace("[hospital-a, hospital-b, hospital-c]", "[hospital-a]")
    write_train(tmp_path / "t", spec, {"main.py": code, "requirements.txt": lines})
    done = typed(tmp_path, "train", "rehearse", "t", "--into", "out", *options)
    assert done.exit == 0, str(done)
    assert json.loads((tmp_path / "out" / "sums.json").read_text()) == tag


@pytest.mark.parametrize("name", ["pip", "logging", "platform"])
def test_a_module_of_the_code_is_not_run_by_pip(tmp_path: Path, name: str) -> None:
    """The code folder is a stranger's, perhaps: fetching its packages must not run what lies in it."""
    wheel(tmp_path / "index", "helper", {"helper.py": b"ONE = 1\n"})
    listed = requirements(tmp_path, "helper")
    mark = tmp_path / "it ran"
    (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\nraise SystemExit(0)\n")
    wheels, _ = vendor(listed, Target(), into=tmp_path / "into")
    assert [one.file for one in wheels] == ["helper-1.0-py3-none-any.whl"]
    assert not mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        "--no-binary=:all:",
        "--no-binary :all:",
        "-e .",
        "./evil",
        "evil/",
        "evil @ file:///somewhere/evil",
        "git+https://example.org/evil.git",
        "https://example.org/evil-1.0.tar.gz",
        "-r other.txt",
        "-c other.txt",
        "ev\\\nil @ git+https://example.org/evil.git",
        "evil @ https://example.org/evil.tar.gz ; python_version > '3' # x.whl",
    ],
)
def test_lines_that_would_have_something_built_are_refused(tmp_path: Path, line: str) -> None:
    mark = tmp_path / "it ran"
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "setup.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    with pytest.raises(WheelsUnresolved, match="asks for a build"):
        vendor(requirements(tmp_path, line), Target(), into=tmp_path / "into")
    assert not mark.exists()


def test_a_wheel_may_be_named_by_its_path(tmp_path: Path) -> None:
    path = wheel(tmp_path / "elsewhere", "helper", {"helper.py": b"ONE = 1\n"})
    wheels, _ = vendor(requirements(tmp_path, f"{path}  # ours", "", "# nothing"), Target(), into=tmp_path / "into")
    assert [one.file for one in wheels] == [path.name]
