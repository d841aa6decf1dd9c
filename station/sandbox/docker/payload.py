"""How is an order said in the words of the Docker Engine API (v1.41, ``POST /containers/create``)?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from security.digest import digest_of
from security.encoding import dump_json
from station.sandbox.order import CODE, MIB, TMP, Mount, RunOrder

Payload: TypeAlias = "dict[str, object]"

LABEL_HOUSE: Final = "pht.house"
LABEL_ORDER: Final = "pht.order"
LABEL_KILLS: Final = "pht.kills"
"""What the kernel had killed for want of memory when the container was made: kept where the container is."""
UNLOGGED: Final[Mapping[str, object]] = {"Type": "none", "Config": {}}
"""No log of the engine's: it could outlive the visit (attack T20)."""
GVISOR: Final = "runsc"
_GVISOR_THREADS: Final = 256  # gVisor's kernel is a process of the same cgroup and needs about 90 by itself


def create_payload(order: RunOrder, runtime: str, *, kills: str | None = None) -> Payload:
    """Return the body of the engine's ``create`` call for this order, under the runtime of that name."""
    payload = _unlabelled(order, runtime)
    digest = digest_of(dump_json(payload))  # of everything the engine is told, except of itself and of `kills`
    noted = {} if kills is None else {LABEL_KILLS: kills}
    return {**payload, "Labels": {LABEL_HOUSE: order.house, LABEL_ORDER: str(digest), **noted}}


def _unlabelled(order: RunOrder, runtime: str) -> Payload:
    return {
        "Image": str(order.image),
        "Hostname": "pht",
        "Domainname": "",
        "User": f"{order.uid}:{order.gid}",
        "Entrypoint": [],
        "Cmd": list(order.command),
        "Env": [f"{name}={value}" for name, value in sorted(order.variables.items())],
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
        "HostConfig": _host_config(order, runtime),
    }


def _host_config(order: RunOrder, runtime: str) -> Payload:
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
        "LogConfig": dict(UNLOGGED),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        "Mounts": [_mount(mount) for mount in order.mounts],
        "NanoCpus": limits.cpu_millis * 1_000_000,
        "NetworkMode": "none",
        "OomKillDisable": False,
        "PidMode": "",
        "PidsLimit": limits.processes + (_GVISOR_THREADS if runtime == GVISOR else 0),
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Runtime": runtime,
        "SecurityOpt": ["no-new-privileges:true"],  # and, by saying no more, the engine's default seccomp profile
        "ShmSize": min(64 * MIB, limits.memory_bytes),
        "Sysctls": {},
        "Tmpfs": {TMP: _tmpfs(order)},
        "Ulimits": [
            {"Name": "core", "Hard": 0, "Soft": 0},
            {"Name": "fsize", "Hard": limits.file_bytes, "Soft": limits.file_bytes},
            {"Name": "nofile", "Hard": limits.open_files, "Soft": limits.open_files},
        ],
        "UTSMode": "",
        "UsernsMode": "",
        "VolumesFrom": [],
    }


def _tmpfs(order: RunOrder) -> str:
    # runc 1.1 gives a tmpfs the mode of the folder it covers, whatever ``mode=`` says; the owner makes it writable.
    return f"rw,noexec,nosuid,nodev,size={order.limits.tmp_bytes},mode=1777,uid={order.uid},gid={order.gid}"


def _mount(one: Mount) -> Payload:
    mount: Payload = {
        "Type": "bind",
        "Source": str(one.source),
        "Target": one.target,
        # Engines before 25 leave what is mounted *below* a read-only bind writable; so nothing below comes along.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }
    return mount if one.writable else {**mount, "ReadOnly": True}
