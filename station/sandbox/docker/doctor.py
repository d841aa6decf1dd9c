"""Can this engine hold a train that tries to break out?

`examine` judges what the engine says about itself; `probe` runs a container that tries, and judges what it saw.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from security.errors import PhtError
from station.check import CheckResult
from station.sandbox.folder import hand_over
from station.sandbox.image import BaseImage
from station.sandbox.order import MIB, NOBODY, RunLimits, RunOrder, mounts_of
from station.sandbox.port import Ended, Sandbox
from station.sandbox.printed import read_printed

_OLDEST: Final = (1, 41)  # Docker 20.10: private cgroup namespaces
_NAME: Final = "pht-doctor"
_LIMITS: Final = RunLimits(
    memory_bytes=128 * MIB, cpu_millis=1000, processes=32, wall_seconds=30, state_bytes=MIB, state_files=8
)
_CHANGED: Final = "not as ordered: find the engine plugin or setting that changes containers on this machine"
_SCRIPT: Final = """
for place in / /pht/code /pht/context.json /proc/sys/kernel/hostname; do
  if (: >> "$place/probe" || : >> "$place") 2> /dev/null; then echo "wrote $place"; fi
done
for place in /tmp /pht/state; do
  if (: > "$place/probe") 2> /dev/null; then echo "room $place"; fi
done
while read -r line; do echo "status $line"; done < /proc/self/status
while read -r line; do echo "net $line"; done < /proc/net/dev
echo done
"""


def examine(version: Mapping[str, object], info: Mapping[str, object], *, runtime: str) -> tuple[CheckResult, ...]:
    """Judge an engine by its answers to ``GET /version`` and ``GET /info``."""
    api = str(version.get("ApiVersion", "0.0"))
    options = info.get("SecurityOptions")
    security = " ".join(map(str, options)) if isinstance(options, list) else ""
    runtimes = info.get("Runtimes")
    names = sorted(runtimes) if isinstance(runtimes, dict) else []
    missing = [name for name in ("MemoryLimit", "SwapLimit", "PidsLimit", "CpuCfsQuota") if not info.get(name, False)]
    remapped = "name=userns" in security or "name=rootless" in security
    return (
        CheckResult(
            name="engine",
            ok=_numbers(api) >= _OLDEST,
            detail=f"version {version.get('Version')}, API {api}, storage {info.get('Driver')}",
            hint=None if _numbers(api) >= _OLDEST else "Docker 20.10 or later is needed",
        ),
        CheckResult(
            name="seccomp",
            ok=seccomp_on(info),
            detail=security or "none",
            hint=None if seccomp_on(info) else "start the engine with its default seccomp profile",
        ),
        CheckResult(
            name="cgroups",
            ok=not missing,
            detail=f"version {info.get('CgroupVersion')}, "
            + (f"without {', '.join(missing)}" if missing else "complete"),
            hint=f"the kernel or the engine cannot enforce {', '.join(missing)}" if missing else None,
        ),
        CheckResult(
            name="users",
            ok=not remapped,
            detail="remapped" if remapped else "not remapped",
            hint="with remapped users (userns-remap, rootless) a run cannot write its state" if remapped else None,
        ),
        CheckResult(
            name="runtime",
            ok=runtime in names,
            detail=runtime if runtime in names else f"{runtime} is not among {', '.join(names)}",
            hint=None if runtime in names else "add it under 'runtimes' in the engine's daemon.json",
        ),
    )


def seccomp_on(info: Mapping[str, object]) -> bool:
    """Whether containers get a seccomp profile unless told otherwise."""
    options = info.get("SecurityOptions")
    told = [str(option) for option in options] if isinstance(options, list) else []
    return any(option.startswith("name=seccomp") and "unconfined" not in option for option in told)


def probe(sandbox: Sandbox, base: BaseImage | None, *, gvisor: bool) -> tuple[CheckResult, ...]:
    """Run a container that tries to write, to find a network and to have privileges, and judge what it found."""
    if base is None:
        return (CheckResult(name="probe", ok=True, detail="not tried: no approved base image is available"),)
    try:
        told = _run(sandbox, base)
    except PhtError as error:
        return (CheckResult(name="probe", ok=False, detail=str(error), hint=error.hint),)
    return judge(told, gvisor=gvisor)


def judge(told: str, *, gvisor: bool) -> tuple[CheckResult, ...]:
    """Judge what the probe printed. gVisor filters system calls outside, and shows no seccomp mode inside."""
    lines = told.splitlines()
    status = dict(re.findall(r"^status (\w+):\s*(.*?)\s*$", told, re.MULTILINE))
    interfaces = set(re.findall(r"^net ([\w.-]+):", told, re.MULTILINE)) - {"lo"}
    wrote = [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]
    privileged = [
        *(name for name in ("CapPrm", "CapEff", "CapBnd") if int(status.get(name, "1"), 16) != 0),
        *(["user 0"] if status.get("Uid", "0").split()[0] == "0" else []),
        *(["no-new-privileges"] if not gvisor and status.get("NoNewPrivs") != "1" else []),
        *(["seccomp"] if not gvisor and status.get("Seccomp") != "2" else []),
    ]
    room = {line.removeprefix("room ") for line in lines if line.startswith("room ")}
    if "done" not in lines:
        detail, hint = "did not finish", "check that the base image has /bin/sh, and read the engine's log"
        return (CheckResult(name="probe", ok=False, detail=detail, hint=hint),)
    results = (
        CheckResult(name="probe", ok=True, detail="ran"),
        CheckResult(name="no network", ok=not interfaces, detail=", ".join(sorted(interfaces)) or "only loopback"),
        CheckResult(name="read-only", ok=not wrote, detail=", ".join(wrote) or "nothing could be written"),
        CheckResult(name="room to work", ok=room == {"/tmp", "/pht/state"}, detail=", ".join(sorted(room)) or "none"),  # noqa: S108 - inside the container
        CheckResult(name="no privileges", ok=not privileged, detail=", ".join(privileged) or "none"),
    )
    return tuple(one if one.ok else replace(one, hint=_CHANGED) for one in results)


def _run(sandbox: Sandbox, base: BaseImage) -> str:
    with tempfile.TemporaryDirectory(prefix="pht-doctor-") as room:
        name = f"{_NAME}-{Path(room).name[-8:]}"
        folders = {part: Path(room) / part for part in ("code", "in", "keep", "state")}
        for folder in folders.values():
            folder.mkdir()
        context = Path(room) / "context.json"
        context.write_text("{}", encoding="ascii")
        uid, gid = _user(Path(room))
        for path in (*folders.values(), context):
            hand_over(path, uid, gid)
        order = RunOrder(
            name=name,
            house=_NAME,
            profile=sandbox.profile,
            image=sandbox.prepare(base),
            printed=Path(room) / "printed",
            command=("/bin/sh", "-c", _SCRIPT),
            environment={},
            mounts=mounts_of(
                code=folders["code"],
                data={},
                incoming=folders["in"],
                keep=folders["keep"],
                state=folders["state"],
                context=context,
            ),
            uid=uid,
            gid=gid,
            limits=_LIMITS,
        )
        try:
            sandbox.start(order)
            for _ in range(_LIMITS.wall_seconds * 10):
                if isinstance(sandbox.look(name), Ended):
                    break
                time.sleep(0.1)
            return read_printed(order.printed, MIB).decode("utf-8", "replace")
        finally:
            sandbox.remove(name)


def _user(room: Path) -> tuple[int, int]:
    facts = room.stat()
    return (facts.st_uid, facts.st_gid) if facts.st_uid else (NOBODY, NOBODY)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
