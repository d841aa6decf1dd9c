"""How is one of our services written as a systemd unit, with the least rights it needs?

What a unit means is in ``systemd.exec(5)`` and ``systemd.service(5)``. Nothing is installed or started here.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from console.answer import Answer
from security.errors import InvalidInput
from security.files import write_file

Setting: TypeAlias = tuple[str, str]

CREDENTIAL: Final = "passphrase"
"""The name under which systemd hands the service its passphrase."""

_HOMES: Final = tuple(map(Path, ("/home", "/root", "/run/user")))
_TEMPORARY: Final = tuple(map(Path, ("/tmp", "/var/tmp")))  # noqa: S108 - whether something lies below them is asked
_EXITS: Final = "2 10 30 40"
"""Exit statuses of ``pht`` after which a person must act first."""

_HARDENING: Final[tuple[Setting, ...]] = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("PrivateDevices", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectProc", "invisible"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RemoveIPC", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
    ("SystemCallErrorNumber", "EPERM"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program that runs as `user` and may write below `writable` and `shared` only; others read what is in `shared`.

    `credentials` are names and private files that systemd reads for it, as root. `readable` are other places it needs,
    which matters if they are in a home.
    """

    user: str
    command: Sequence[str]
    credentials: Sequence[tuple[str, Path]]
    writable: Sequence[Path]
    readable: Sequence[Path]
    shared: Sequence[Path] = ()

    def settings(self) -> list[Setting]:
        """Return the statements of the ``[Service]`` section."""
        writable = [*self.writable, *self.shared]
        places = [*writable, *self.readable]
        homes = any(_below(place, _HOMES) for place in (*places, Path(self.command[0])))
        temporary = any(_below(place, _TEMPORARY) for place in places)
        return [
            ("User", _plain(self.user)),
            ("ExecStart", " ".join(map(_word, self.command))),
            *(("LoadCredential", f"{name}:{_specifiers(str(path))}") for name, path in self.credentials),
            ("Restart", "on-failure"),
            ("RestartPreventExitStatus", _EXITS),
            *_HARDENING,
            ("ProtectHome", "read-only" if homes else "yes"),
            ("PrivateTmp", "no" if temporary else "yes"),
            ("UMask", "0022" if self.shared else "0077"),
            *(("ReadWritePaths", _path(place)) for place in writable),
        ]


def credential(name: str) -> str:
    """Return the path of a credential, for use in the service's command."""
    return f"%d/{name}"


def printed(sections: Iterable[tuple[str, Sequence[Setting]]], comment: str) -> str:
    """Print a unit file."""
    lines = [f"# {line}" for line in comment.splitlines()]
    for name, settings in sections:
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in settings)]
    return "\n".join(lines) + "\n"


def mounts(places: Iterable[Path]) -> Setting:
    """Return the statement that these places must be mounted first."""
    return "RequiresMountsFor", " ".join(map(_path, places))


def told_units(units: Sequence[tuple[str, str]], into: Path | None, start: str) -> Answer:
    """Show units, or write them into a folder and say how to start them."""
    data: dict[str, str] = dict(units)
    if into is None:
        return Answer(text="\n".join(text for _, text in units).rstrip("\n"), data={"units": {**data}})
    for name, text in units:
        write_file(into / name, text.encode(), mode=0o644)
    lines = [f"wrote {into / name}" for name, _ in units]
    return Answer(
        text="\n".join([*lines, f"next: systemctl daemon-reload && systemctl enable --now {start}"]),
        data={"units": {**data}, "folder": str(into)},
    )


def program() -> str:
    """Return the absolute path of the running ``pht``: the service starts the same."""
    started = Path(sys.argv[0])
    if started.name == "pht" and started.is_file():
        return str(started.absolute())
    return shutil.which("pht") or "/usr/local/bin/pht"


def owner_of(folder: Path, given: str | None) -> str:
    """Return the user a service runs as: the one given, or the owner of the folder.

    Raises:
        InvalidInput: it is root, or unknown on this machine.
    """
    number = folder.stat().st_uid
    try:
        user = given or pwd.getpwuid(number).pw_name
    except KeyError as error:
        msg = "the owner of the folder is unknown on this machine"
        raise InvalidInput(msg, folder=folder, user=number, hint="name the user: --user NAME") from error
    if user == "root":
        msg = "the service would run as root"
        hint = f"make it a user: useradd --system NAME && chown -R NAME: {folder}, then --user NAME"
        raise InvalidInput(msg, folder=folder, hint=hint)
    return user


def _below(place: Path, above: Iterable[Path]) -> bool:
    return any(place.is_relative_to(one) for one in above)


def _plain(text: str) -> str:
    """Refuse what could start another statement.

    Raises:
        InvalidInput: it holds a line break or another control character.
    """
    if not text.isprintable():
        msg = "not a line of plain text"
        raise InvalidInput(msg, value=repr(text)[:80])
    return text


def _specifiers(text: str) -> str:
    return _plain(text).replace("%", "%%")


def _path(place: Path) -> str:
    text = _specifiers(os.path.abspath(place))  # noqa: PTH100 - the service follows links
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(text) & set(" \"'\\") else text


def _word(text: str) -> str:
    """Quote a word of a command; only systemd knows the path of a credential."""
    if text.startswith("%d/"):
        return text
    text = _specifiers(text).replace("$", "$$")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(text) & set(" \"'\\;") else text
