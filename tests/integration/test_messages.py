"""What is told has the facts at hand, and a hint that fits them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.layout import LayoutRegistry
from registry.names import Repository
from rehearsal.samples import find_samples
from security.errors import FileMissing, KeyOutsideValidity, OutsideValidity, PhtError
from security.ids import PartyId
from security.train.manifest import DataNeed
from station.data.folder import FolderSource
from station.errors import DataSourceUnavailable
from tests.support.desk import in_a_process
from tests.support.owners import SPEC, OwnerWorld, write_train
from tests.support.trains import consortium
from train_builder.cli.render_journey import describe
from train_builder.code.sources import collect
from train_builder.code.wheels import MAX_FILES, Target, vendor
from train_builder.errors import SourcesRejected, SpecInvalid, WheelsUnresolved
from train_builder.follow.follow import follow
from train_builder.spec.spec import load_spec

NEED = DataNeed(name="patients", description="", files=("*.csv",))


def told(caught: pytest.ExceptionInfo[PhtError]) -> str:
    return f"{caught.value}; {caught.value.hint}"


def test_an_empty_code_folder_is_not_to_be_taken_out_of_itself(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    with pytest.raises(SourcesRejected) as caught:
        collect(tmp_path / "code")
    assert "put the analysis there" in told(caught)
    (tmp_path / "code" / "main.py").write_text("")
    (tmp_path / "code" / ".phtignore").write_text("*\n")
    with pytest.raises(SourcesRejected) as caught:
        collect(tmp_path / "code")
    assert ".phtignore" in told(caught)
    assert "ignored=2" in told(caught)


@pytest.mark.parametrize(
    ("names", "hint"), [(("a.py", "A.py"), "rename one of them"), (("x\\y",), "rename it"), (("x" * 201,), "bytes=201")]
)
def test_a_name_that_cannot_travel_is_to_be_changed(tmp_path: Path, names: Sequence[str], hint: str) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(SourcesRejected) as caught:
        collect(tmp_path)
    assert hint in told(caught)


def test_a_rehearsal_tells_a_failure_once_and_in_words_for_its_author(tmp_path: Path) -> None:
    folder = write_train(tmp_path / "t", files={"main.py": "raise SystemExit('no such column')\n"})
    typed = in_a_process(tmp_path, {}, "train", "rehearse", str(folder))
    assert "no such column" in typed.out
    assert "WARNING" not in typed.err
    assert "recorded" not in typed.err
    assert "recorded" in in_a_process(tmp_path, {}, "-v", "train", "rehearse", str(folder)).err


def test_a_list_that_is_too_long_says_how_long_it_is(tmp_path: Path) -> None:
    route = ", ".join(f"h{number}" for number in range(201))
    spec = SPEC.replace("hospital-a, hospital-b, hospital-c", route)
    with pytest.raises(SpecInvalid) as caught:
        load_spec(write_train(tmp_path / "t", spec))
    assert "route: is a list of 201, but should be the stations in order, as a list of 1 to 200" in told(caught)


def test_a_file_in_place_of_a_folder_is_called_a_file(tmp_path: Path) -> None:
    file = tmp_path / "heart.csv"
    file.write_text("age\n")
    train = write_train(tmp_path / "t", SPEC.replace("base: python", "base: python\ncode: main.py"))
    (train / "main.py").write_text("")
    with pytest.raises(SpecInvalid) as spec:
        load_spec(train)
    assert "code: 'main.py' is a file" in told(spec)
    with pytest.raises(FileMissing) as whole:
        load_spec(train / "train.yaml")
    assert f"name the folder that train.yaml is in: {train}" in told(whole)
    with pytest.raises(DataSourceUnavailable) as data:
        FolderSource(name="patients", folder=file).missing(NEED)
    assert "a data set is a file, and should be a folder" in told(data)
    (checked,) = FolderSource(name="patients", folder=file).check(None)
    assert checked.detail == f"is a file, not a folder: {file}"
    with pytest.raises(FileMissing) as registry:
        LayoutRegistry(file).list_tags(Repository("a"))
    assert "a registry in a folder cannot be a file" in told(registry)
    one = replace(load_spec(write_train(tmp_path / "u")), route=(PartyId("a"),), data=(NEED,))
    with pytest.raises(FileMissing) as samples:
        find_samples(tmp_path, one, {(PartyId("a"), "patients"): file})
    assert f"--data a/patients={tmp_path}" in told(samples)


def test_an_unknown_base_is_told_with_those_there_are() -> None:
    with pytest.raises(PhtError) as caught:
        consortium().trust.base_named("r")
    assert "approved=python" in told(caught)


def test_what_is_not_believed_for_the_time_it_bears_names_both_clocks(tmp_path: Path) -> None:
    here = OwnerWorld(tmp_path / "world")
    here.submit(write_train(tmp_path / "t"))
    record = here.home().find("latest")
    here.now += timedelta(hours=1)
    here.pass_stop("hospital-a")
    behind = here.now - timedelta(minutes=30)
    found = follow(record, here.depot, here.world.trust, now=behind)
    (doubt,) = found.doubts
    assert "dated later than our clock" in doubt
    assert "is this machine's clock right?" in doubt
    assert "now=2026-03-01T12:30:00Z" in doubt
    assert "do not use it" not in describe(found, now=behind)


def test_packages_that_are_too_large_to_travel_are_told_so_with_what_may(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with zipfile.ZipFile(tmp_path / "index" / "big-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("big-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: big\nVersion: 1.0\n")
        wheel.writestr("big-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for number in range(MAX_FILES):
            wheel.writestr(f"big/{number}.py", "")
    listed = tmp_path / "requirements.txt"
    listed.write_text(f"--no-index\n--find-links {tmp_path / 'index'}\nbig\n")
    with pytest.raises(WheelsUnresolved) as caught:
        vendor(listed, Target(), into=tmp_path / "into")
    assert "the packages are too large to travel (at=big-1.0-py3-none-any.whl)" in told(caught)
    assert "1 GiB and 10000 files travel at most: name fewer packages" in told(caught)
    assert "check the names" not in told(caught)


@pytest.mark.parametrize("kind", [OutsideValidity, KeyOutsideValidity])
def test_what_hangs_on_the_time_asks_for_this_machines_clock(kind: type[PhtError]) -> None:
    assert "this machine's clock" in str(kind("x").hint)
