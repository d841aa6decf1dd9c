"""What a run is allowed, and how what the engine says is judged: values in, values out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rehearsal.process import ProcessSandbox
from security.digest import digest_of
from security.errors import DigestMismatch, DiskFull
from security.ids import TrainId
from station.errors import LimitExceeded, RunTimedOut, SandboxUnfit
from station.sandbox.docker.compare import differences
from station.sandbox.docker.doctor import examine, judge, probe, seccomp_on
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.docker.image import image_id, load_archive, loaded_diff_ids, mismatches, mount_points
from station.sandbox.docker.payload import LABEL_ORDER, create_payload
from station.sandbox.folder import hand_over, measure
from station.sandbox.image import BaseImage, ImageLayer
from station.sandbox.order import MIB, NOBODY, TMP, RunLimits, RunOrder, mounts_of, run_name, run_user
from station.sandbox.watch import watch
from tests.support.runs import ended
from tests.support.scripted_sandbox import BEGINNING, ScriptedSandbox

LIMITS = RunLimits(
    memory_bytes=64 * MIB,
    cpu_millis=1500,
    processes=32,
    wall_seconds=60,
    state_bytes=1000,
    state_files=10,
    disk_reserve_bytes=0,
)
FOLDERS: dict[str, Any] = {
    "code": Path("/room/code"),
    "data": {"b": Path("/data/b"), "a": Path("/data/a")},
    "incoming": Path("/room/incoming"),
    "keep": Path("/room/keep"),
    "state": Path("/room/state"),
    "context": Path("/room/context.json"),
}
ORDER = RunOrder(
    name="pht-x-0-1",
    house="clinic",
    profile="docker-runc-v1",
    image=digest_of(b"image"),
    printed=Path("/room/printed"),
    command=("python3", "main.py"),
    environment={"THREADS": "2"},
    mounts=mounts_of(**FOLDERS),
    uid=1000,
    gid=1000,
    limits=LIMITS,
)


def mounted(**changes: object) -> RunOrder:
    return replace(ORDER, mounts=mounts_of(**{**FOLDERS, **changes}))


CHANGES: dict[str, RunOrder] = {
    "image": replace(ORDER, image=digest_of(b"other")),
    "house": replace(ORDER, house="other"),
    "command": replace(ORDER, command=("python3", "other.py")),
    "environment": replace(ORDER, environment={}),
    "code": mounted(code=Path("/other")),
    "data": mounted(data={"a": Path("/data/a")}),
    "state": mounted(state=Path("/other")),
    "context": mounted(context=Path("/other")),
    "uid": replace(ORDER, uid=1001),
    "gid": replace(ORDER, gid=1001),
    "memory": replace(ORDER, limits=replace(LIMITS, memory_bytes=65 * MIB)),
    "cpu": replace(ORDER, limits=replace(LIMITS, cpu_millis=1)),
    "processes": replace(ORDER, limits=replace(LIMITS, processes=1)),
    "state bytes": replace(ORDER, limits=replace(LIMITS, state_bytes=1)),
    "open files": replace(ORDER, limits=replace(LIMITS, open_files=1)),
    "tmp": replace(ORDER, limits=replace(LIMITS, tmp_bytes=1)),
}


@pytest.mark.parametrize("field", CHANGES)
def test_whatever_the_engine_is_told_is_in_the_label_of_the_order(field: str) -> None:
    assert label(CHANGES[field]) != label(ORDER)


def test_the_runtime_is_in_the_label_too() -> None:
    assert label(ORDER, "runsc") != label(ORDER)


def label(order: RunOrder, runtime: str = "runc") -> str:
    labels = create_payload(order, runtime)["Labels"]
    assert isinstance(labels, dict)
    return str(labels[LABEL_ORDER])


def test_an_order_says_the_same_every_time() -> None:
    again = mounted(data=dict(reversed(list(FOLDERS["data"].items()))))
    assert again == ORDER
    assert create_payload(again, "runc") == create_payload(ORDER, "runc")
    json.dumps(create_payload(ORDER, "runc"))


def test_only_the_state_and_what_is_kept_can_be_written() -> None:
    assert [(str(one.source), one.target) for one in ORDER.mounts if one.writable] == [
        ("/room/keep", "/pht/keep"),
        ("/room/state", "/pht/state"),
    ]


def test_what_is_mounted_is_found_by_where_the_run_finds_it() -> None:
    assert ORDER.source("/pht/data/a") == Path("/data/a")
    with pytest.raises(LookupError):
        ORDER.source("/pht/data/c")


def test_nobody_runs_as_root() -> None:
    assert run_user(0, 0) == (NOBODY, NOBODY)
    assert run_user(1000, 0) == (1000, NOBODY)
    assert run_user(1000, 100) == (1000, 100)


def test_the_same_attempt_has_the_same_name() -> None:
    train = TrainId("ab" * 32)
    names = {run_name(train, stop, attempt) for stop in range(3) for attempt in range(3)}
    assert len(names) == 9
    assert run_name(train, 1, 2) in names


def test_an_empty_answer_is_no_container_of_ours() -> None:
    assert {"Name", "Image", "Mounts", "HostConfig.MaskedPaths", "Config.Cmd"} <= set(differences(ORDER, "runc", {}))


# --- images ----------------------------------------------------------------------------------------------------------


def _base(*layers: bytes) -> BaseImage:
    return BaseImage(
        digest=digest_of(b"manifest"),
        diff_ids=tuple(digest_of(layer) for layer in layers),
        layers=tuple(ImageLayer(size=len(layer), open=partial(io.BytesIO, layer)) for layer in layers),
        architecture="amd64",
    )


def test_an_archive_holds_the_layers_and_no_setting() -> None:
    base = _base(b"one" * 1000, b"", b"three")
    with tarfile.open(fileobj=io.BytesIO(b"".join(load_archive(base)))) as archive:
        held = {name: _read(archive, name) for name in archive.getnames()}
    (manifest,) = json.loads(held["manifest.json"])
    assert [held[name] for name in manifest["Layers"]] == [b"one" * 1000, b"", b"three", mount_points()]
    assert digest_of(held[manifest["Config"]]) == image_id(base)
    assert json.loads(held[manifest["Config"]])["config"] == {}


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None
    return member.read()


@pytest.mark.parametrize("size", [2, 4])
def test_a_layer_of_another_size_is_not_passed_on(size: int) -> None:
    base = replace(_base(b"one"), layers=(ImageLayer(size=size, open=lambda: io.BytesIO(b"one")),))
    with pytest.raises(DigestMismatch):
        list(load_archive(base))


def test_an_image_of_the_engine_is_compared() -> None:
    base = _base(b"one")
    good = {"RootFS": {"Layers": list(loaded_diff_ids(base))}, "Architecture": "amd64", "Config": {"Env": None}}
    assert mismatches(base, good) == ()
    assert mismatches(base, {**good, "Config": {"Env": ["LD_PRELOAD=x"]}}) == ("Config.Env",)
    assert mismatches(base, {**good, "Architecture": "arm64"}) == ("Architecture",)
    assert mismatches(base, {**good, "RootFS": {"Layers": list(base.diff_ids)}}) == ("RootFS.Layers",)
    assert mismatches(base, {}) == ("RootFS.Layers", "Architecture")


# --- the state folder ------------------------------------------------------------------------------------------------


def test_a_state_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"")
    (tmp_path / "link").symlink_to("/")
    use = measure(tmp_path, LIMITS)
    assert use.files == 3
    assert use.bytes < 1000


def _many(folder: Path) -> None:
    for index in range(11):
        (folder / str(index)).touch()


def _large(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(1001))


def _sparse(folder: Path) -> None:
    with (folder / "a").open("wb") as out:
        out.truncate(1 << 40)


def _deep(folder: Path) -> None:
    for _ in range(70):
        folder = folder / "d"
    folder.mkdir(parents=True)


def _reserved(folder: Path) -> None:
    """Blocks without bytes."""
    (folder / "a").touch()
    subprocess.run(["fallocate", "--keep-size", "--length", "1MiB", folder / "a"], check=True)
    assert (folder / "a").stat().st_size == 0


@pytest.mark.parametrize("fill", [_many, _large, _sparse, _deep, _reserved])
def test_a_state_over_its_limits_is_refused(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    fill(tmp_path)
    limits = replace(LIMITS, state_files=1000) if fill is _deep else LIMITS
    with pytest.raises(LimitExceeded):
        measure(tmp_path, limits)


@pytest.mark.parametrize("sizes", [(1000,), (1,) * 10, (999, 1)])
def test_a_state_of_exactly_as_many_bytes_as_declared_is_in_order(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    for index, size in enumerate(sizes):
        (tmp_path / str(index)).write_bytes(bytes(size))
    use = measure(tmp_path, LIMITS)
    assert (use.bytes, use.files) == (sum(sizes), len(sizes))


def test_the_last_room_of_a_disk_is_kept(tmp_path: Path) -> None:
    with pytest.raises(DiskFull):
        measure(tmp_path, replace(LIMITS, disk_reserve_bytes=1 << 62))


def test_handing_over_follows_no_link(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.write_text("")
    inside.mkdir()
    (inside / "file").write_text("")
    (inside / "link").symlink_to(outside)
    before = outside.stat()
    hand_over(inside, NOBODY, NOBODY)
    assert (outside.stat().st_uid, outside.stat().st_gid) == (before.st_uid, before.st_gid)
    assert (inside / "file").stat().st_uid == (NOBODY if os.geteuid() == 0 else os.geteuid())


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_run_that_ended_too_late_while_nobody_looked_is_too_late(tmp_path: Path) -> None:
    clock = [BEGINNING]
    sandbox = ScriptedSandbox(lambda _order, _say: 0, turns=0, clock=lambda: clock[0])
    order = replace(mounted(state=tmp_path), profile=sandbox.profile, printed=tmp_path.with_suffix(".printed"))
    sandbox.start(order)
    clock[0] += timedelta(seconds=60)
    with pytest.raises(RunTimedOut):
        watch(sandbox, order, now=datetime.now(UTC), spoiled=set())


# --- the doctor ------------------------------------------------------------------------------------------------------

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41"}
INFO: dict[str, object] = {
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Runtimes": {"runc": {}},
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "CgroupVersion": "2",
    "Driver": "overlay2",
}


def _bad(version: dict[str, object], info: dict[str, object], runtime: str = "runc") -> list[str]:
    return [finding.name for finding in examine(version, info, runtime=runtime) if not finding.ok]


def test_an_engine_is_judged_by_what_it_says() -> None:
    assert _bad({**VERSION}, INFO) == []
    assert _bad({**VERSION, "ApiVersion": "1.40"}, INFO) == ["engine"]
    assert _bad({**VERSION}, {**INFO, "SecurityOptions": ["name=seccomp,profile=unconfined"]}) == ["seccomp"]
    assert _bad({**VERSION}, {**INFO, "SecurityOptions": None}) == ["seccomp"]
    assert _bad({**VERSION}, {**INFO, "PidsLimit": False}) == ["cgroups"]
    assert _bad({**VERSION}, INFO, runtime="runsc") == ["runtime"]
    rootless = ["name=seccomp,profile=builtin", "name=rootless"]
    assert _bad({**VERSION}, {**INFO, "SecurityOptions": rootless}) == ["users"]
    assert seccomp_on({**INFO, "SecurityOptions": ["name=apparmor", "name=seccomp,profile=/etc/strict.json"]})


GOOD = """room /tmp
room /pht/state
status Uid: 65532 65532 65532 65532
status CapPrm: 0000000000000000
status CapEff: 0000000000000000
status CapBnd: 0000000000000000
status NoNewPrivs: 1
status Seccomp: 2
net lo: 0 0
done
"""


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("lo:", "eth0:"), "no network"),
        (("done", "wrote /pht/code"), "probe"),
        (("done", "wrote /\ndone"), "read-only"),
        (("room /tmp\n", ""), "room to work"),
        (("CapBnd: 0", "CapBnd: 1"), "no privileges"),
        (("Uid: 65532", "Uid: 0"), "no privileges"),
        (("Seccomp: 2", "Seccomp: 0"), "no privileges"),
        (("NoNewPrivs: 1", "NoNewPrivs: 0"), "no privileges"),
    ],
)
def test_what_the_probe_saw_is_judged(change: tuple[str, str], finding: str) -> None:
    assert [found.name for found in judge(GOOD, gvisor=False) if not found.ok] == []
    assert finding in {found.name for found in judge(GOOD.replace(*change), gvisor=False) if not found.ok}


def test_a_probe_that_fails_is_a_finding() -> None:
    away = ScriptedSandbox({})
    away.away = True
    (finding,) = probe(away, _base(b"one"), gvisor=False)
    assert not finding.ok


def test_only_an_engine_of_this_machine_will_do(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnfit):
        DockerSandbox(url="tcp://198.51.100.1:2375")
    (finding,) = DockerSandbox(url=f"unix://{tmp_path}/nobody").doctor(None)
    assert not finding.ok
    assert finding.hint is not None


def test_a_plain_process_finds_its_folders_and_programs_of_this_machine(tmp_path: Path) -> None:
    for part in ("code", "state", "sample"):
        (tmp_path / part).mkdir()
    (tmp_path / "sample" / "x").write_text("1")
    programs = f"{TMP}/programs:/usr/bin:/bin"  # a path that a run has too, but not this one
    sandbox = ProcessSandbox(room=tmp_path / "room", path=programs)
    order = replace(
        mounted(
            code=tmp_path / "code",
            data={"a": tmp_path / "sample"},
            state=tmp_path / "state",
            context=tmp_path / "context.json",
        ),
        command=("sh", "-c", 'cp "$PHT_DATA/a/x" "$1/x"; printf %s "$PATH" >"$1/path"', "sh", "/pht/state"),
        printed=tmp_path / "printed",
        profile=sandbox.profile,
    )
    sandbox.start(order)
    assert ended(sandbox, order.name).exit_code == 0
    assert (tmp_path / "state" / "x").read_text() == "1"
    assert (tmp_path / "state" / "path").read_text() == programs
    assert not sandbox.sealed
    sandbox.remove(order.name)
