"""What does a station's daemon need of its machine, written as a systemd unit?

It writes to its state folder and its workrooms, opens the engine's socket, and uses the network. It only reads keys,
configuration and data sets. Containers belong to the engine and outlive a restart of the daemon, so workrooms must too.
"""

from __future__ import annotations

import grp
from pathlib import Path
from typing import Final

from console.systemd import CREDENTIAL, Service, Setting, credential, mounts, printed
from station.house.config import StationConfig

_SOCKET: Final = "unix://"
_LAYOUT: Final = "layout:"
_RUN: Final = Path("/run")
_ENGINES: Final = "docker"


def unit_name(config: StationConfig) -> str:
    """Return the name of the unit's file."""
    return f"pht-station-{config.party}.service"


def station_unit(config: StationConfig, *, passphrase_file: Path, user: str, group: str, pht: str) -> str:
    """Print the unit; `group` may open the engine's socket."""
    folder = config.file.parent
    in_memory = config.workrooms.is_relative_to(_RUN)
    writable = [
        config.folder,
        *([] if in_memory or config.workrooms.is_relative_to(config.folder) else [config.workrooms]),
    ]
    shared = [Path(config.registry.removeprefix(_LAYOUT))] if config.registry.startswith(_LAYOUT) else []
    data = [path for one in config.data.values() for path in one.reads]
    service = Service(
        user=user,
        command=[pht, "station", "run", str(folder), "--passphrase-file", credential(CREDENTIAL)],
        credentials=[(CREDENTIAL, passphrase_file)],
        writable=writable,
        shared=shared,
        readable=[
            folder,
            config.keys,
            *config.earlier_keys,
            *data,
        ],
    )
    unit: list[Setting] = [
        ("Description", f"Personal Health Train station {config.party}"),
        ("Wants", "network-online.target"),
        ("After", "network-online.target docker.service"),
        mounts(dict.fromkeys([folder, *writable, *shared, *data])),
    ]
    settings: list[Setting] = [("Type", "exec"), *service.settings(), ("RestartSec", "30"), ("TimeoutStopSec", "300")]
    settings.append(("SupplementaryGroups", group))
    if in_memory:
        # kept while the daemon restarts: runs continue in them
        settings += [
            ("RuntimeDirectory", str(config.workrooms.relative_to(_RUN))),
            ("RuntimeDirectoryMode", "0700"),
            ("RuntimeDirectoryPreserve", "yes"),
        ]
    return printed(
        [("Unit", unit), ("Service", settings), ("Install", [("WantedBy", "multi-user.target")])],
        f"{unit_name(config)}, printed by 'pht station unit'. Local changes go into a drop-in: systemctl edit\n"
        f"systemd reads {passphrase_file} as root: it may belong to root, with mode 600.",
    )


def engine_group(engine: str) -> str:
    """Return the group that may open the engine's socket: its group, or the usual one if there is no socket."""
    socket = Path(engine.removeprefix(_SOCKET))
    try:
        owner = grp.getgrgid(socket.stat().st_gid).gr_name
    except (OSError, KeyError):
        return _ENGINES
    return _ENGINES if owner == "root" else owner
