"""How is the directory's timestamp renewed on time without manual work?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from console.answer import Answer
from console.root import Root
from console.systemd import CREDENTIAL, Service, Setting, credential, mounts, owner_of, printed, program, told_units
from registry.places import Login, anchored
from security.directory.workspace import Workspace

_PATH: Final = click.Path(path_type=Path)
_REGISTRY_PASSWORD: Final = "registry-password"  # noqa: S105 - the name of a credential
_LOCAL: Final = ("folder:", "layout:")
NAME: Final = "pht-directory"


@click.command("unit")
@click.argument("workspace", metavar="FOLDER", type=_PATH)
@click.option("--to", "place", required=True, metavar="PLACE", help="Where the directory is published.")
@click.option("--online-passphrase-file", type=_PATH, help="Private file. Default: FOLDER/online-passphrase.")
@click.option("--user", help="Who it runs as. Default: the user FOLDER belongs to.")
@click.option("--into", type=_PATH, help="Write the two files into this folder, such as /etc/systemd/system.")
@click.pass_obj
def directory_unit(
    context: Root,
    *,
    workspace: Path,
    place: str,
    online_passphrase_file: Path | None,
    user: str | None,
    into: Path | None,
) -> Answer:
    """Print a systemd service and timer that renew the directory every day.

    They run 'pht directory publish --refresh', which needs the online key and nothing else. systemd reads the
    passphrase, as root, and hands it to the service alone.

    \b
    pht directory unit /srv/consortium --to https://registry.example --into /etc/systemd/system
    """
    folder = Workspace(workspace).path.absolute()
    units = directory_units(
        folder,
        anchored(place, Path.cwd()),
        context.login(),
        passphrase_file=(online_passphrase_file or folder / "online-passphrase").absolute(),
        user=owner_of(folder, user),
        pht=program(),
    )
    return told_units(units, into, f"{NAME}.timer")


def directory_units(
    folder: Path, place: str, login: Login, *, passphrase_file: Path, user: str, pht: str
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Print the service and the timer, each with its file name."""
    account = []
    credentials = [(CREDENTIAL, passphrase_file)]
    if login.username is not None and login.password_file is not None:
        account += ["--registry-user", login.username, "--registry-password-file", credential(_REGISTRY_PASSWORD)]
        credentials.append((_REGISTRY_PASSWORD, login.password_file.absolute()))
    if login.ca_file is not None:
        account += ["--registry-ca-file", str(login.ca_file.absolute())]
    for host in login.token_hosts:
        account += ["--registry-token-host", host]
    account += ["--registry-insecure"] if login.insecure else []
    publish = ["directory", "publish", str(folder), "--to", place, "--refresh"]
    service = Service(
        user=user,
        command=[pht, *account, *publish, "--online-passphrase-file", credential(CREDENTIAL)],
        credentials=credentials,
        writable=[folder],
        shared=[Path(place.removeprefix(kind)) for kind in _LOCAL if place.startswith(kind)],
        readable=[] if login.ca_file is None else [login.ca_file.absolute()],
    )
    about = f"Renewal of the directory in {folder}"
    unit: Sequence[Setting] = [
        ("Description", about),
        ("Wants", "network-online.target"),
        ("After", "network-online.target"),
        mounts([*service.writable, *service.shared]),
    ]
    return (
        (
            f"{NAME}.service",
            printed(
                [("Unit", unit), ("Service", [("Type", "oneshot"), *service.settings(), ("RestartSec", "15min")])],
                f"{NAME}.service, printed by 'pht directory unit'. It fails when the directory was not renewed:\n"
                "have your monitoring look at it, and at when the timestamp runs out (pht directory show).",
            ),
        ),
        (
            f"{NAME}.timer",
            printed(
                [
                    ("Unit", [("Description", about)]),
                    ("Timer", [("OnCalendar", "daily"), ("RandomizedDelaySec", "1h"), ("Persistent", "yes")]),
                    ("Install", [("WantedBy", "timers.target")]),
                ],
                f"{NAME}.timer, printed by 'pht directory unit'",
            ),
        ),
    )
