"""Is this container the one that was ordered?

The engine is asked what it made, and everything it reports is compared: what was ordered must be there as ordered, and
anything else must be empty. So a container made by somebody else under our name, an engine plugin that adds a mount, or a
setting that only a later engine knows is a difference, not a surprise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from station.sandbox.docker.payload import LABEL_KILLS, create_payload
from station.sandbox.order import RunOrder

# Set by every engine since 20.10 in each container that is not privileged; later ones add more.
_MASKED: Final = frozenset({"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"})
_READ_ONLY: Final = frozenset({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"})

# Not ordered, not empty, and harmless.
_TOLERATED: Final[Mapping[str, tuple[object, ...]]] = {
    "ConsoleSize": ([0, 0],),
    "Isolation": ("default",),
    "MemorySwappiness": (-1,),
}


def differences(order: RunOrder, runtime: str, inspected: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of the fields in which a container, as the engine's ``inspect`` reports it, is not as ordered."""
    wanted = create_payload(order, runtime)
    host = _mapping(wanted.pop("HostConfig"))
    found_host = dict(_mapping(inspected.get("HostConfig")))
    masked, read_only = found_host.pop("MaskedPaths", None), found_host.pop("ReadonlyPaths", None)
    checks: dict[str, bool] = {
        "Name": inspected.get("Name") == f"/{order.name}",
        "Image": inspected.get("Image") == str(order.image),
        "Path": inspected.get("Path") == order.command[0],
        "Args": inspected.get("Args") == list(order.command[1:]),
        "AppArmorProfile": inspected.get("AppArmorProfile") != "unconfined",
        "ExecIDs": not inspected.get("ExecIDs"),
        "RestartCount": not inspected.get("RestartCount"),
        "Mounts": _mounts(inspected.get("Mounts")) == _ordered_mounts(order),
        "NetworkSettings.Networks": set(_networks(inspected)) <= {"none"},
        "HostConfig.MaskedPaths": isinstance(masked, list) and set(masked) >= _MASKED,
        "HostConfig.ReadonlyPaths": isinstance(read_only, list) and set(read_only) >= _READ_ONLY,
    }
    wrong = [name for name, good in checks.items() if not good]
    wrong += _compare("Config", wanted, _without_kills(_mapping(inspected.get("Config"))))
    wrong += _compare("HostConfig", host, found_host)
    return tuple(wrong)


def _without_kills(config: Mapping[str, object]) -> Mapping[str, object]:
    """Leave out the one label that is not of the order, and differs each time."""
    labels = {name: value for name, value in _mapping(config.get("Labels")).items() if name != LABEL_KILLS}
    return {**config, "Labels": labels}


def _compare(where: str, wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """Compare field by field. Engines use a missing field, ``null``, ``false``, ``0`` and ``[]`` interchangeably.

    That holds for a whole field only: inside one, ``{"/leak": {}}`` is a volume, and an empty argument is an argument.
    """
    wrong = []
    for name in sorted({*wanted, *found}):
        there = found.get(name) or None
        if name not in wanted and there in _TOLERATED.get(name, ()):
            continue
        if (wanted.get(name) or None) != there:
            wrong.append(f"{where}.{name}")
    return wrong


def _mounts(listed: object) -> set[tuple[object, ...]]:
    items = listed if isinstance(listed, list) else []
    return {
        tuple(item.get(key) for key in ("Type", "Source", "Destination", "RW", "Propagation"))
        for item in items
        if item.get("Type") != "tmpfs"  # newer engines list them here too; HostConfig.Tmpfs is compared
    }


def _ordered_mounts(order: RunOrder) -> set[tuple[object, ...]]:
    return {("bind", str(one.source), one.target, one.writable, "rprivate") for one in order.mounts}


def _networks(inspected: Mapping[str, object]) -> Mapping[str, object]:
    return _mapping(_mapping(inspected.get("NetworkSettings")).get("Networks"))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
