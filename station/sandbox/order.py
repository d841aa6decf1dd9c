"""What exactly is a run allowed?

Everything here is a value or a function of values. The order says what the station wants; `create_payload` says it in
the words of the Docker Engine API (v1.41, ``POST /containers/create``). All of it is chosen by the station; a train contributes its command, its environment and, within the station's
policy, its limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from security.digest import Digest, digest_of
from security.encoding import dump_json
from security.ids import TrainId

Payload: TypeAlias = "dict[str, object]"

CODE: Final = "/pht/code"
DATA: Final = "/pht/data"
STATE: Final = "/pht/state"
CONTEXT: Final = "/pht/context.json"
TMP: Final = "/tmp"  # noqa: S108 - inside the container

NOBODY: Final = 65532  # the "nonroot" user of distroless images; has no rights on any usual host
LABEL_HOUSE: Final = "pht.house"
LABEL_ORDER: Final = "pht.order"

# Set before the train's own variables: nothing of the engine's, the image's or the daemon's environment is inherited.
ENVIRONMENT: Final[Mapping[str, str]] = {
    "HOME": TMP,
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PHT_CODE": CODE,
    "PHT_CONTEXT": CONTEXT,
    "PHT_DATA": DATA,
    "PHT_STATE": STATE,
    "TMPDIR": TMP,
}

MIB: Final = 1 << 20
_GVISOR_THREADS: Final = 256  # gVisor's kernel is a process of the same cgroup and needs about 90 by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What a run may use. The defaults are for what no train declares."""

    memory_bytes: int  # memory and swap together; /tmp and /dev/shm count
    cpu_millis: int  # 1000 is one processor
    processes: int  # with threads
    wall_seconds: int
    state_bytes: int  # of the state folder; also of any single file
    state_files: int  # files, folders and links of the state folder
    open_files: int = 4096
    tmp_bytes: int = 64 * MIB
    output_bytes: int = 1 * MIB  # of what the program prints, kept for the operator
    disk_reserve_bytes: int = 256 * MIB  # stop the run when the state's file system has less room than this


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """One run, entirely. ``house`` names the station installation, so that engines can be shared."""

    name: str
    house: str
    image: Digest
    command: tuple[str, ...]
    environment: Mapping[str, str]
    code: Path
    data: Mapping[str, Path]
    state: Path
    context: Path
    uid: int
    gid: int
    limits: RunLimits
    runtime: str = "runc"

    @property
    def mounts(self) -> tuple[tuple[Path, str, bool], ...]:
        """Source, target and whether it may be written, in the order they are made."""
        data = tuple((self.data[name], f"{DATA}/{name}", False) for name in sorted(self.data))
        return (
            (self.code, CODE, False),
            *data,
            (self.state, STATE, True),
            (self.context, CONTEXT, False),
        )

    @property
    def digest(self) -> Digest:
        """The digest of everything the engine is told, except of itself."""
        return digest_of(dump_json(_unlabelled(self)))


def container_name(train: TrainId, stop: int, attempt: int) -> str:
    """Return the name of a visit's container: the same for the same attempt, so that it is found after a restart."""
    return f"pht-{train[:32]}-{stop}-{attempt}"


def run_user(uid: int, gid: int) -> tuple[int, int]:
    """Return who a run of a station with this user and group runs as: itself, but nobody if the station is root."""
    return (NOBODY, NOBODY) if uid == 0 else (uid, gid or NOBODY)


def create_payload(order: RunOrder) -> Payload:
    """Return the body of the engine's ``create`` call for this order."""
    payload = _unlabelled(order)
    payload["Labels"] = {LABEL_HOUSE: order.house, LABEL_ORDER: str(order.digest)}
    return payload


def _unlabelled(order: RunOrder) -> Payload:
    return {
        "Image": str(order.image),
        "Hostname": "pht",
        "Domainname": "",
        "User": f"{order.uid}:{order.gid}",
        "Entrypoint": [],
        "Cmd": list(order.command),
        "Env": [f"{name}={value}" for name, value in sorted({**ENVIRONMENT, **order.environment}.items())],
        "WorkingDir": CODE,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Tty": False,
        "NetworkDisabled": True,
        "StopSignal": "SIGKILL",  # an engine going down must not look like a program that ended by itself
        "Healthcheck": {"Test": ["NONE"]},
        "Volumes": {},
        "Labels": {LABEL_HOUSE: order.house},
        "HostConfig": _host_config(order),
    }


def _host_config(order: RunOrder) -> Payload:
    limits = order.limits
    return {
        "AutoRemove": False,
        "Binds": [],
        "CapAdd": [],
        "CapDrop": ["ALL"],
        "CgroupParent": "",
        "CgroupnsMode": "private",
        "DeviceCgroupRules": [],
        "DeviceRequests": [],
        "Devices": [],
        "GroupAdd": [],
        "Init": False,
        "IpcMode": "private",
        "LogConfig": {"Type": "json-file", "Config": {"max-file": "1", "max-size": str(limits.output_bytes)}},
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        "Mounts": [_mount(*mount) for mount in order.mounts],
        "NanoCpus": limits.cpu_millis * 1_000_000,
        "NetworkMode": "none",
        "OomKillDisable": False,
        "PidMode": "",
        "PidsLimit": limits.processes + (_GVISOR_THREADS if order.runtime == "runsc" else 0),
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Runtime": order.runtime,
        "SecurityOpt": ["no-new-privileges:true"],  # and, by saying no more, the engine's default seccomp profile
        "ShmSize": min(64 * MIB, limits.memory_bytes),
        "Sysctls": {},
        "Tmpfs": {TMP: _tmpfs(order)},
        "Ulimits": [
            {"Name": "core", "Hard": 0, "Soft": 0},
            {"Name": "fsize", "Hard": limits.state_bytes, "Soft": limits.state_bytes},
            {"Name": "nofile", "Hard": limits.open_files, "Soft": limits.open_files},
        ],
        "UTSMode": "",
        "UsernsMode": "",
        "VolumesFrom": [],
    }


def _tmpfs(order: RunOrder) -> str:
    # runc 1.1 gives a tmpfs the mode of the folder it covers, whatever ``mode=`` says; the owner makes it writable.
    return f"rw,noexec,nosuid,nodev,size={order.limits.tmp_bytes},mode=1777,uid={order.uid},gid={order.gid}"


def _mount(source: Path, target: str, writable: bool) -> Payload:
    mount: Payload = {
        "Type": "bind",
        "Source": str(source),
        "Target": target,
        # Engines before 25 leave what is mounted *below* a read-only bind writable; so nothing below comes along.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }
    return mount if writable else {**mount, "ReadOnly": True}
