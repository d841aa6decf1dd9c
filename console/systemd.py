"""How is a service of ours written as a systemd unit, with as few rights as it needs?

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
"""With these, a person must act first; see the exit statuses of ``pht``."""

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
    """A program that runs as `user` and may write below `writable` only.

    `credentials` are names and the private files that systemd reads for it, as root; `readable` are the other places it
    needs, which matters if they lie in somebody's home. Of what it writes below `shared`, others must be able to read.
    """

    user: str
    command: Sequence[str]
    credentials: Sequence[tuple[str, Path]]
    writable: Sequence[Path]
    readable: Sequence[Path]
    shared: Sequence[Path] = ()

    def settings(self) -> list[Setting]:
        """Return the statements of the ``[Service]`` section that follow from this."""
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
    """Return where the service finds a credential; to be used in a command as it is."""
    return f"%d/{name}"


def printed(sections: Iterable[tuple[str, Sequence[Setting]]], comment: str) -> str:
    """Print a unit file."""
    lines = [f"# {line}" for line in comment.splitlines()]
    for name, settings in sections:
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in settings)]
    return "\n".join(lines) + "\n"


def mounts(places: Iterable[Path]) -> Setting:
    """Return the statement that the file systems of these places must be mounted first."""
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
    """Return the absolute path of ``pht`` as it was started, which is how the service starts it."""
    started = Path(sys.argv[0])
    if started.name == "pht" and started.is_file():
        return str(started.absolute())
    return shutil.which("pht") or "/usr/local/bin/pht"


def owner_of(folder: Path, given: str | None) -> str:
    """Return the user a service runs as: the one given, or whoever the folder belongs to.

    Raises:
        InvalidInput: that is root, or nobody this machine knows.
    """
    number = folder.stat().st_uid
    try:
        user = given or pwd.getpwuid(number).pw_name
    except KeyError as error:
        msg = "the folder belongs to nobody this machine knows"
        raise InvalidInput(msg, folder=folder, user=number, hint="name the user: --user NAME") from error
    if user == "root":
        msg = "the service would run as root"
        hint = f"make it a user: useradd --system NAME && chown -R NAME: {folder}, then --user NAME"
        raise InvalidInput(msg, folder=folder, hint=hint)
    return user


def _below(place: Path, above: Iterable[Path]) -> bool:
    return any(place.is_relative_to(one) for one in above)


def _plain(text: str) -> str:
    """Refuse what could begin another statement, or is no name.

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
    text = _specifiers(os.path.abspath(place))  # noqa: PTH100 - links are for the service to follow
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(text) & set(" \"'\\") else text


def _word(text: str) -> str:
    """Write a word of a command so that it means exactly this; a credential's path is known to systemd alone."""
    if text.startswith("%d/"):
        return text
    text = _specifiers(text).replace("$", "$$")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(text) & set(" \"'\\;") else text
