"""Can a train break out of its container, use it up, or be run in another one than was ordered? (T12, T19).

Every attack is a program that really tries, in a real container, under runc and under gVisor. What it achieved is looked
up on the host, not in what it says.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from security.digest import digest_of
from station.errors import LimitExceeded, RunFailed, RunTimedOut, SandboxRefused, SandboxUnavailable, SandboxUnfit
from station.sandbox.docker.compare import differences
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.docker.image import engine_name, image_id
from station.sandbox.docker.payload import create_payload
from station.sandbox.folder import measure
from station.sandbox.image import BaseImage
from station.sandbox.order import MIB, NOBODY, RunOrder
from station.sandbox.port import Absent, Ended, Running
from station.sandbox.printed import read_printed
from tests.support.engine import Engine
from tests.support.images import archive_of, base_of, busybox, busybox_layer, file, folder, layer_of, link
from tests.support.runs import Room, ended, watched

CANARY = b"canary-of-the-host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A real sandbox and a room for one prisoner."""

    engine: Engine
    sandbox: DockerSandbox
    runtime: str
    room: Room
    base: BaseImage

    def order(self, script: str, **limits: int) -> RunOrder:
        image = self.sandbox.prepare(self.base)
        return self.room.order(("sh", "-c", script), image=image, profile=self.sandbox.profile, limits=limits)

    def run(self, script: str, **limits: int) -> tuple[Ended, str]:
        """Run a script to its end; return how it ended, and what it printed."""
        order = self.order(script, **limits)
        self.sandbox.start(order)
        found = ended(self.sandbox, order.name)
        return found, read_printed(order.printed, MIB).decode()


@pytest.fixture(scope="module")
def base(engine: Engine) -> Iterator[BaseImage]:
    base = base_of(busybox_layer(file("bin/busybox-suid", busybox(), 0o6755), file("etc/test", os.urandom(8))))
    yield base
    engine.forget(base)


@pytest.fixture(params=["runc", "runsc"])
def cell(request: pytest.FixtureRequest, tmp_path: Path, base: BaseImage) -> Iterator[Cell]:
    engine: Engine = request.getfixturevalue("engine" if request.param == "runc" else "gvisor_engine")
    yield from _cell(engine, request.param, tmp_path, base)


@pytest.fixture
def plain_cell(engine: Engine, tmp_path: Path, base: BaseImage) -> Iterator[Cell]:
    yield from _cell(engine, "runc", tmp_path, base)


def _cell(engine: Engine, runtime: str, path: Path, base: BaseImage) -> Iterator[Cell]:
    sandbox = engine.sandbox(runtime)
    cell = Cell(engine=engine, sandbox=sandbox, runtime=runtime, room=Room(path=path / "room"), base=base)
    yield cell
    sandbox.remove(cell.room.name)


# --- network ---------------------------------------------------------------------------------------------------------


def test_t19_no_address_of_the_host_or_beyond_can_be_reached(cell: Cell) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - reachable by any address the host has
        server.settimeout(0)
        port = server.getsockname()[1]
        addresses = {"127.0.0.1", "172.17.0.1", *_own_addresses()}
        tries = "\n".join(f"nc -w 2 {address} {port} < /dev/null && echo reached {address}" for address in addresses)
        _, said = cell.run(
            f"exec 2> /dev/null\n{tries}\n"  # errors come on a stream of their own, at any time
            "wget -T 2 -q -O - http://198.51.100.1/ && echo reached beyond\necho ---\ncat /proc/net/dev"
        )
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "reached" not in said
    assert set(re.findall(r"([\w.-]+):", said.partition("---")[2])) <= {"lo"}


def test_t19_an_abstract_socket_of_the_host_cannot_be_reached(cell: Cell) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(b"\0pht-test-" + os.urandom(8).hex().encode())
        server.listen()
        assert server.getsockname().decode("latin-1")[1:] in Path("/proc/net/unix").read_text(encoding="latin-1")
        _, said = cell.run("cat /proc/net/unix")
        assert "pht-test-" not in said


def _own_addresses() -> set[str]:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing
        return {probe.getsockname()[0]}
    return set()


# --- host, code, data ------------------------------------------------------------------------------------------------


def test_t19_nothing_but_state_and_tmp_can_be_written(cell: Cell) -> None:
    before = _tree(cell.room.path)
    places = "/ /bin /etc /dev /proc/sys /sys /pht /pht/code /pht/data /pht/data/patients"
    _, said = cell.run(
        f"""
        for place in {places}; do (echo x > $place/new) 2> /dev/null && echo wrote $place; done
        for name in /etc/passwd /pht/code/main.sh /pht/data/patients/patients.csv /pht/context.json; do
          (echo x >> $name) 2> /dev/null && echo wrote $name
          rm -f $name 2> /dev/null && echo removed $name
          chmod 777 $name 2> /dev/null && echo opened $name
        done
        umount /pht/data/patients 2> /dev/null && echo uncovered
        mount -o remount,rw,bind /pht/data/patients 2> /dev/null && echo remounted
        echo x > /tmp/new && echo room /tmp
        echo x > /pht/state/new && echo room /pht/state
        """
    )
    assert said == "room /tmp\nroom /pht/state\n"
    after = _tree(cell.room.path)
    assert after.pop("state/new") == b"x\n"
    assert after.pop("printed") == said.encode()  # by the station, from outside
    assert after == before


def test_t19_what_is_mounted_below_the_data_is_not_let_in(cell: Cell) -> None:
    """Engines before 25 leave it writable below a read-only mount."""
    below = cell.room.path / "data" / "below"
    below.mkdir()
    with _mounted_tmpfs(below):
        (below / "more.csv").write_bytes(CANARY)
        _, said = cell.run(
            "ls /pht/data/patients/below; (echo x > /pht/data/patients/below/new) 2> /dev/null; echo done"
        )
        assert not (below / "new").exists()
        assert (below / "more.csv").read_bytes() == CANARY
    assert said == "done\n"


def test_t19_no_path_of_the_host_can_be_read(cell: Cell) -> None:
    canary = cell.room.path / "canary"
    canary.write_bytes(CANARY)
    canary.chmod(0o644)
    cell.room.path.chmod(0o755)
    _, said = cell.run(
        f"""
        for name in {canary} /pht/state/../canary /pht/canary /proc/1/root{canary} /proc/1/cwd/../canary; do
          cat $name 2> /dev/null
        done
        ln -s {canary} /pht/state/out && cat /pht/state/out 2> /dev/null
        find / -name canary 2> /dev/null
        cat /proc/kcore 2> /dev/null | head -c 10
        ls /dev
        """
    )
    assert CANARY.decode() not in said
    assert "canary" not in said.replace(str(canary), "")
    assert not {"sda", "vda", "mem", "kmsg", "nvme0", "loop0"} & set(said.split())


def test_t19_a_link_to_the_host_is_counted_and_not_followed(cell: Cell) -> None:
    target = cell.room.path / "elsewhere"
    target.mkdir()
    for index in range(100):
        (target / str(index)).write_bytes(bytes(1000))
    found, _ = cell.run(f"ln -s {target} /pht/state/out")
    assert found.exit_code == 0
    assert (cell.room.state / "out").is_symlink()
    use = measure(cell.room.state, cell.order("true").limits)
    assert use.files == 1


# --- privileges ------------------------------------------------------------------------------------------------------


def test_t19_a_set_user_id_program_gains_nothing(cell: Cell) -> None:
    attack = "id -u; busybox-suid su root -c id"
    control = _ordinary_run(cell, attack)
    assert str(cell.order("true").uid) in control.splitlines()
    if cell.runtime == "runc":  # gVisor ignores the bit in any case
        assert "uid=0" in control
    _, said = cell.run(attack)
    assert "uid=0" not in said


def test_t19_there_are_no_capabilities_to_use(cell: Cell) -> None:
    _, said = cell.run(
        """
        mkdir /tmp/m; mount -t tmpfs none /tmp/m 2> /dev/null && echo mounted
        for disk in /tmp/disk /pht/state/disk; do
          mknod $disk b 254 0 2> /dev/null && head -c 1 $disk > /dev/null 2>&1 && echo device
        done
        chown 0:0 /tmp/m 2> /dev/null && echo given
        cat /proc/self/status
        """
    )
    assert not {"mounted", "device", "given"} & set(said.split())
    assert set(re.findall(r"^Cap(?:Prm|Eff|Bnd|Inh):\s*(\w+)", said, re.MULTILINE)) == {"0" * 16}
    assert re.search(r"^Uid:\s*0\b", said, re.MULTILINE) is None
    if cell.runtime == "runc":
        assert re.search(r"^NoNewPrivs:\s*1$", said, re.MULTILINE)
        assert re.search(r"^Seccomp:\s*2$", said, re.MULTILINE)


def _ordinary_run(cell: Cell, script: str) -> str:
    """Run the same in a container as engines make them by themselves: a control, so that the attack is known to work."""
    order = cell.order(script)
    name = f"{order.name}-control"
    with contextlib.closing(cell.engine.client()) as client:
        body = {
            "Image": str(order.image),
            "User": f"{order.uid}:{order.gid}",
            "Cmd": list(order.command),
            "HostConfig": {"NetworkMode": "none", "Runtime": cell.runtime},
        }
        client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
        try:
            client.start(name)
            client.wait(name, timeout=60)
            said: bytes = client.logs(name)
        finally:
            client.remove_container(name, force=True)
    return said.decode()


# --- using up --------------------------------------------------------------------------------------------------------


def test_t19_a_fork_bomb_is_held(cell: Cell) -> None:
    order = cell.order("bomb() { bomb | bomb & }; bomb; sleep 600", wall_seconds=2)
    cgroups_before = _processes_of_host()
    cell.sandbox.start(order)
    with pytest.raises((RunTimedOut, RunFailed)) as told:
        watched(cell.sandbox, order)
    assert told.value.code in {"run.timed-out", "run.failed"}
    assert not isinstance(cell.sandbox.look(order.name), Running)
    assert _processes_of_host() - cgroups_before < 400


def test_t19_no_more_processes_than_ordered(plain_cell: Cell) -> None:
    found, _ = plain_cell.run('n=0; while true; do sleep 60 & n=$((n+1)); echo $n > "$PHT_STATE/n"; done', processes=20)
    assert found.exit_code != 0
    assert int((plain_cell.room.state / "n").read_text()) < 20


def test_t19_a_run_that_needs_more_processes_fails_by_itself_and_its_neighbour_goes_on(
    plain_cell: Cell, tmp_path: Path
) -> None:
    """The kernel refuses the next one, and nobody else notices: what that means is the program's to decide."""
    neighbour = Cell(
        engine=plain_cell.engine,
        sandbox=plain_cell.sandbox,
        runtime=plain_cell.runtime,
        room=Room(path=tmp_path / "next door"),
        base=plain_cell.base,
    )
    more = "while true; do sleep 60 & done"
    beside = neighbour.order(
        "sleep 3; for n in 1 2 3 4; do sleep 1 & done; wait; echo well > $PHT_STATE/how", processes=8
    )
    try:
        plain_cell.sandbox.start(beside)
        order = plain_cell.order(more, processes=8)
        plain_cell.sandbox.start(order)
        with pytest.raises(RunFailed):  # and not a limit: there is none to be told
            watched(plain_cell.sandbox, order)
        watched(plain_cell.sandbox, beside)
        assert (neighbour.room.state / "how").read_text() == "well\n"
    finally:
        plain_cell.sandbox.remove(beside.name)
    plain_cell.sandbox.remove(order.name)
    found, said = plain_cell.run(f"sh -c '{more}'; echo went on", processes=8)
    assert found.exit_code == 0
    assert "went on" in said  # in the midst of what the processes say that could not be started


def test_t19_too_much_memory_ends_the_run(cell: Cell) -> None:
    order = cell.order("dd if=/dev/zero of=/dev/null bs=512M count=1; echo survived", memory_bytes=64 * MIB)
    cell.sandbox.start(order)
    with pytest.raises(LimitExceeded) as told:
        watched(cell.sandbox, order)
    assert told.value.code == "run.memory"


def test_t19_tmp_and_shared_memory_are_small(cell: Cell) -> None:
    _, said = cell.run(
        """
        dd if=/dev/zero of=/tmp/big bs=1M count=20 2> /dev/null; wc -c < /tmp/big
        dd if=/dev/zero of=/dev/shm/big bs=1M count=300 2> /dev/null; wc -c < /dev/shm/big
        """,
        tmp_bytes=8 * MIB,
        memory_bytes=256 * MIB,
        state_bytes=400 * MIB,
    )
    tmp, shared = (int(line) for line in said.split())
    assert tmp <= 8 * MIB
    assert shared <= 64 * MIB


def test_t19_no_single_file_is_larger_than_ordered(cell: Cell) -> None:
    found, _ = cell.run('dd if=/dev/zero of="$PHT_STATE/big" bs=1M count=20', state_bytes=4 * MIB)
    assert found.exit_code != 0
    assert (cell.room.state / "big").stat().st_size == 4 * MIB + 1


def test_t19_many_files_that_are_too_much_together_stop_the_run(cell: Cell) -> None:
    script = 'n=0; while true; do n=$((n+1)); dd if=/dev/zero of="$PHT_STATE/$n" bs=1M count=1; sleep 0.01; done'
    order = cell.order(script, state_bytes=6 * MIB, state_files=1000)
    cell.sandbox.start(order)
    with pytest.raises(LimitExceeded) as told:
        watched(cell.sandbox, order)
    assert told.value.fields == {"limit": 6 * MIB}
    assert isinstance(cell.sandbox.look(order.name), Ended)


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("files", 'n=0; while true; do n=$((n+1)); echo > "$PHT_STATE/$n"; done'),
        ("folders", 'n=0; while true; do n=$((n+1)); mkdir "$PHT_STATE/$n"; done'),
        ("links", 'n=0; while true; do n=$((n+1)); ln -s / "$PHT_STATE/$n"; done'),
        ("deep", 'cd "$PHT_STATE"; n=0; while [ $n -lt 90 ]; do n=$((n+1)); mkdir d; cd d; done; sleep 600'),
    ],
)
def test_t19_too_many_entries_stop_the_run(plain_cell: Cell, name: str, script: str) -> None:
    order = plain_cell.order(script, state_files=40 if name != "deep" else 1000)
    plain_cell.sandbox.start(order)
    with pytest.raises(LimitExceeded) as told:
        watched(plain_cell.sandbox, order)
    assert told.value.fields == {"limit": 64 if name == "deep" else 40}
    assert isinstance(plain_cell.sandbox.look(order.name), Ended)


def test_t19_the_clock_of_a_run_is_the_engine_s(cell: Cell) -> None:
    order = cell.order("sleep 600", wall_seconds=1)
    cell.sandbox.start(order)
    for _ in range(2):  # and the answer stays the same, for a station that was killed meanwhile
        with pytest.raises(RunTimedOut) as told:
            watched(cell.sandbox, order)
        assert told.value.code == "run.timed-out"
    assert isinstance(cell.sandbox.look(order.name), Ended)


def test_t19_endless_output_is_bounded(plain_cell: Cell) -> None:
    order = plain_cell.order("dd if=/dev/zero bs=1M count=60 2> /dev/null")
    plain_cell.sandbox.start(order)
    ended(plain_cell.sandbox, order.name)
    with contextlib.closing(plain_cell.engine.client()) as client:
        assert client.inspect_container(order.name)["LogPath"] == ""
    assert order.limits.output_bytes <= order.printed.stat().st_size <= 2 * order.limits.output_bytes


# --- the base image (T12) --------------------------------------------------------------------------------------------


POISON = {
    "Entrypoint": ["/bin/sh", "-c", "echo poisoned entrypoint"],
    "Env": ["LD_PRELOAD=/bin/evil.so", "PHT_STATE=/tmp", "POISONED=1"],
    "User": "0:0",
    "Volumes": {"/pht/state": {}, "/leak": {}},
    "WorkingDir": "/bin",
    "Healthcheck": {"Test": ["CMD-SHELL", "touch /tmp/health"], "Interval": 1_000_000_000},
    "OnBuild": ["RUN true"],
    "Labels": {"pht.order": "sha256:0"},
}


def test_t12_settings_of_the_base_image_never_reach_a_run(cell: Cell) -> None:
    """The poisoned image waits in the engine, under the very name ours will have."""
    fresh = replace(cell, base=base_of(busybox_layer(file("etc/test", os.urandom(8)))))
    with contextlib.closing(cell.engine.client()) as client:
        poisoned = _load_poisoned(client, fresh.base)
        assert client.inspect_image(poisoned)["Config"]["Env"] == POISON["Env"]  # type: ignore[no-untyped-call]
    found, said = fresh.run("echo mine; env; id -u; pwd")
    cell.sandbox.remove(cell.room.name)
    cell.engine.forget(fresh.base)
    assert found.exit_code == 0
    lines = said.splitlines()
    assert lines[0] == "mine"
    assert lines[-2:] == [str(cell.order("true").uid), "/pht/code"]
    assert not [line for line in lines if "POISON" in line or "LD_PRELOAD" in line or "poisoned" in line]
    assert "PHT_STATE=/pht/state" in lines


def test_t12_a_changed_layer_is_not_loaded(plain_cell: Cell) -> None:
    honest = busybox_layer(file("etc/marker", os.urandom(8)))
    base = base_of(honest)
    spoiled = bytearray(honest)
    spoiled[20_000] ^= 1  # in the midst of busybox
    swapped = replace(base, layers=base_of(bytes(spoiled)).layers)
    with pytest.raises(SandboxUnfit) as told:
        plain_cell.sandbox.prepare(swapped)
    assert told.value.code == "sandbox.unfit"
    assert "diffID" in str(told.value)
    assert plain_cell.sandbox.prepare(base) == image_id(base)
    plain_cell.engine.forget(base)


def test_t12_folders_of_the_base_image_decide_nothing(cell: Cell) -> None:
    """``/tmp`` closed to all, and links where the mounts go."""
    trap = layer_of((folder("tmp", 0o555), folder("trap", 0o777), link("pht", "trap")))
    trapped = replace(cell, base=base_of(busybox_layer(), trap))
    found, said = trapped.run("echo x > /tmp/new && echo x > /pht/state/new && ls /trap && ls -l / && echo done")
    assert (found.exit_code, said.splitlines()[-1]) == (0, "done")
    assert "pht -> " not in said
    cell.sandbox.remove(cell.room.name)
    cell.engine.forget(trapped.base)
    assert (cell.room.state / "new").read_text() == "x\n"


def _load_poisoned(client: Any, base: BaseImage) -> str:
    rootfs = {"type": "layers", "diff_ids": list(base.diff_ids)}
    config = {"architecture": base.architecture, "os": "linux", "rootfs": rootfs, "config": POISON}
    for line in client.load_image(archive_of(base, json.dumps(config).encode()), quiet=True):
        assert "error" not in line, line
    return engine_name(base)


# --- other containers than ordered -----------------------------------------------------------------------------------


def _host(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload["HostConfig"].update(values)


def _top(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda payload: payload.update(values)


def _one_more_mount(payload: dict[str, Any]) -> None:
    payload["HostConfig"]["Mounts"].append({"Type": "bind", "Source": "/", "Target": "/host"})


def _writable_data(payload: dict[str, Any]) -> None:
    payload["HostConfig"]["Mounts"][1]["ReadOnly"] = False


def _other_state(payload: dict[str, Any]) -> None:
    payload["HostConfig"]["Mounts"][2]["Source"] = payload["HostConfig"]["Mounts"][1]["Source"]


def _host_names(payload: dict[str, Any]) -> None:
    payload["HostConfig"]["UTSMode"] = "host"
    payload["Hostname"] = ""


def _exposed(payload: dict[str, Any]) -> None:
    payload["ExposedPorts"] = {"80/tcp": {}}


def _preload(payload: dict[str, Any]) -> None:
    payload["Env"].append("LD_PRELOAD=/pht/state/evil.so")


TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "Config.Cmd": _top(Cmd=["sh", "-c", "echo theirs > /pht/state/theirs"]),
    "Config.Entrypoint": _top(Entrypoint=["/bin/sh"]),
    "Config.Env": _preload,
    "Config.ExposedPorts": _exposed,
    "Config.Healthcheck": _top(Healthcheck={"Test": ["CMD-SHELL", "true"]}),
    "Config.Labels": _top(Labels={}),
    "Config.OpenStdin": _top(OpenStdin=True),
    "Config.StopSignal": _top(StopSignal="SIGTERM"),
    "Config.User": _top(User="0:0"),
    "Config.Volumes": _top(Volumes={"/leak": {}}),
    "Config.WorkingDir": _top(WorkingDir="/"),
    "HostConfig.AutoRemove": _host(AutoRemove=True),
    "HostConfig.Binds": _host(Binds=["/:/host:ro"]),
    "HostConfig.CapAdd": _host(CapAdd=["SYS_ADMIN"]),
    "HostConfig.CapDrop": _host(CapDrop=[]),
    "HostConfig.CgroupnsMode": _host(CgroupnsMode="host"),
    "HostConfig.Devices": _host(
        Devices=[{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/disk", "CgroupPermissions": "rwm"}]
    ),
    "HostConfig.ExtraHosts": _host(ExtraHosts=["leak:198.51.100.1"]),
    "HostConfig.GroupAdd": _host(GroupAdd=["0"]),
    "HostConfig.IpcMode": _host(IpcMode="host"),
    "HostConfig.LogConfig": _host(LogConfig={"Type": "json-file", "Config": {}}),
    "HostConfig.MaskedPaths": _host(MaskedPaths=[]),
    "HostConfig.Memory": _host(Memory=512 * MIB, MemorySwap=512 * MIB),
    "HostConfig.NanoCpus": _host(NanoCpus=0),
    "HostConfig.OomScoreAdj": _host(OomScoreAdj=-500),
    "HostConfig.PidMode": _host(PidMode="host"),
    "HostConfig.PidsLimit": _host(PidsLimit=0),
    "HostConfig.Privileged": _host(Privileged=True),
    "HostConfig.ReadonlyPaths": _host(ReadonlyPaths=[]),
    "HostConfig.ReadonlyRootfs": _host(ReadonlyRootfs=False),
    "HostConfig.RestartPolicy": _host(RestartPolicy={"Name": "always"}),
    "HostConfig.SecurityOpt": _host(SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]),
    "HostConfig.Tmpfs": _host(Tmpfs={"/tmp": "rw,exec"}),  # noqa: S108 - inside the container
    "HostConfig.Tmpfs more": _host(Tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=8388608,mode=1777", "/more": ""}),  # noqa: S108 - as above
    "HostConfig.UTSMode": _host_names,
    "HostConfig.Ulimits": _host(Ulimits=[]),
    "HostConfig.NetworkMode": _host(NetworkMode="host"),
    "Mounts": _one_more_mount,
    "Mounts data": _writable_data,
    "Mounts state": _other_state,
}


@pytest.mark.parametrize("field", TAMPERED)
def test_t19_a_container_with_other_options_under_our_name_is_replaced(plain_cell: Cell, field: str) -> None:
    order = plain_cell.order('echo mine > "$PHT_STATE/mine"')
    payload: dict[str, Any] = create_payload(order, "runc")
    TAMPERED[field](payload)
    with contextlib.closing(plain_cell.engine.client()) as client:
        planted = client.create_container_from_config(payload, order.name)["Id"]  # type: ignore[no-untyped-call]
        assert field.split(maxsplit=1)[0] in differences(order, "runc", client.inspect_container(order.name))
        plain_cell.sandbox.start(order)
        inspected = client.inspect_container(order.name)
        assert inspected["Id"] != planted
        assert differences(order, "runc", inspected) == ()
    assert ended(plain_cell.sandbox, order.name).exit_code == 0
    assert [path.name for path in plain_cell.room.state.iterdir()] == ["mine"]


def test_t19_an_engine_that_changes_what_was_ordered_is_refused(plain_cell: Cell) -> None:
    """A proxy before the engine, as a policy plugin would: the container is made with a writable root."""
    order = plain_cell.order("true")
    change = (b'"ReadonlyRootfs": true', b'"ReadonlyRootfs":false')
    with _meddling(plain_cell.engine.url, *change) as url, pytest.raises(SandboxRefused) as told:
        DockerSandbox(url=url).start(order)
    assert told.value.code == "sandbox.refused"
    assert told.value.fields["differs"] == "HostConfig.ReadonlyRootfs"
    assert isinstance(plain_cell.sandbox.look(order.name), Absent)
    assert order.name not in plain_cell.sandbox.leftovers(order.house)


def test_an_engine_that_is_away_is_not_the_train_s_fault(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable) as told:
        DockerSandbox(url=f"unix://{tmp_path}/nobody").look("pht-any")
    assert (told.value.code, told.value.exit) == ("sandbox.unavailable", 20)


def test_a_runtime_the_engine_has_not_is_the_station_s_fault(plain_cell: Cell) -> None:
    sandbox = plain_cell.engine.sandbox("no-such-runtime")
    order = replace(plain_cell.order("true"), profile=sandbox.profile)
    with pytest.raises(SandboxUnfit) as told:
        sandbox.start(order)
    assert told.value.exit == 40


def test_an_image_that_is_not_loaded_is_the_station_s_fault(plain_cell: Cell) -> None:
    with pytest.raises(SandboxUnfit) as told:
        plain_cell.sandbox.start(replace(plain_cell.order("true"), image=digest_of(b"another")))
    assert told.value.exit == 40


def test_the_doctor_finds_nothing_wrong_and_leaves_nothing(cell: Cell) -> None:
    findings = cell.sandbox.doctor(cell.base)
    assert [finding for finding in findings if not finding.ok] == []
    assert {"engine", "seccomp", "cgroups", "runtime", "probe", "no network", "no privileges"} <= {
        finding.name for finding in findings
    }
    assert cell.sandbox.leftovers("pht-doctor") == ()


def test_t19_nobody_runs_as_root(cell: Cell) -> None:
    assert cell.order("true").uid not in {0, None}
    _, said = cell.run("id -u; id -g")
    assert "0" not in said.split()
    assert cell.order("true").uid == (NOBODY if os.geteuid() == 0 else os.geteuid())


@contextlib.contextmanager
def _meddling(url: str, old: bytes, new: bytes) -> Iterator[str]:
    """Pass everything on to the engine, with `old` replaced by `new` in what is asked of it."""
    assert len(old) == len(new)
    path = Path(url.removeprefix("unix://")).parent / f"m{os.urandom(4).hex()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, url.removeprefix("unix://"), old, new, stop))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            stop.set()
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join()
            path.unlink()


def _serve(listener: socket.socket, engine: str, old: bytes, new: bytes, stop: threading.Event) -> None:
    threads = []
    while True:
        near, _ = listener.accept()
        if stop.is_set():
            near.close()
            break
        far = socket.socket(socket.AF_UNIX)
        far.connect(engine)
        for source, sink, change in ((near, far, True), (far, near, False)):
            thread = threading.Thread(target=_pass_on, args=(source, sink, (old, new) if change else (b"", b"")))
            thread.start()
            threads.append((thread, source))
    for thread, source in threads:
        thread.join()
        source.close()


def _pass_on(source: socket.socket, sink: socket.socket, change: tuple[bytes, bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 20):
            sink.sendall(data.replace(*change) if change[0] else data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _mounted_tmpfs(path: Path) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", str(path).encode(), b"tmpfs", 0, None) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert libc.umount2(str(path).encode(), 2) == 0


def _processes_of_host() -> int:
    return sum(1 for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _tree(path: Path) -> dict[str, bytes]:
    return {str(item.relative_to(path)): item.read_bytes() for item in sorted(path.rglob("*")) if item.is_file()}
