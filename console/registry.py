"""What can a registry operator do from the command line?

Each command parses, calls one function and returns an `Answer`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import click

from console.answer import Answer
from console.progress import showing
from console.prompts import clock
from console.root import Root
from registry.base.engine import saved_image
from registry.base.store import base_repository, push_base, push_base_folder
from registry.depot import Depot
from registry.errors import RegistryIndexUnreadable
from registry.layout import LayoutRegistry
from registry.names import FolderLocation, Location, Repository, location
from registry.places import registry_at
from registry.port import Registry
from registry.server.config import LOOPBACK
from registry.server.options import SETTINGS, ServerOptions, options_of
from registry.server.process import RunningServer, down, status, sweep, up
from security.encoding import Json
from security.errors import InvalidInput, PhtError, Refused
from security.files import make_folder, told
from security.ids import PartyId

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)
_DEFAULT_STATE: Final = Path("pht-registry")
_TAG_SHOWN: Final = 14
_LAYOUT: Final = "layout:"
_NO_PROCESS: Final = "no process is needed: this folder is the registry"


@click.group()
def registry() -> None:
    """Run a registry, publish base images in it, and list what waits in it.

    \b
    pht registry up /srv/pht-registry                      a registry process, for this machine
    pht registry up layout:/media/stick/registry           a folder instead: no process, no network
    pht registry base push http://127.0.0.1:5000 python python.tar
    pht registry ls http://127.0.0.1:5000 hospital-a alice

    There is no registry server of our own: 'up' configures and starts the CNCF one (Debian: docker-registry), or the
    image registry:2. Any other OCI registry works as well.
    """


def _state(function: F) -> F:
    return click.argument("state", metavar="[FOLDER]", type=_PATH, default=_DEFAULT_STATE)(function)


def _address(function: F) -> F:
    return click.argument("address", metavar="REGISTRY")(function)


@registry.command("up")
@click.argument("state", metavar="[FOLDER]", default=str(_DEFAULT_STATE))
@click.option(
    "--host",
    show_default=LOOPBACK,
    help="Address to listen on; 0.0.0.0 means all. To serve other machines, accounts and a certificate are needed.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Default, or 0: a free port, which is kept.")
@click.option("--certificate", type=_PATH, help="TLS certificate (PEM), with --key.")
@click.option("--key", type=_PATH, help="The certificate's private key (PEM).")
@click.option("--account", "accounts", multiple=True, metavar="NAME=PASSWORD-FILE", help="Repeatable.")
@click.option("--engine", help="For the registry container: the engine's address, as in docker --host.")
@click.option("--anew", is_flag=True, help="Do not take over earlier options.")
def registry_up(
    *,
    state: str,
    host: str | None,
    port: int | None,
    certificate: Path | None,
    key: Path | None,
    accounts: tuple[str, ...],
    engine: str | None,
    anew: bool,
) -> Answer:
    """Start a registry with its state in FOLDER, wait until it responds, and print its address.

    The registry keeps running until 'pht registry down'. If it is running, its address is printed. Options that are not
    given keep their last value: 'pht registry up FOLDER' starts it again as it was.
    FOLDER may be layout:/path for a registry without a process: an OCI image layout on a disk or a stick.
    """
    if _is_layout(state):
        place = location(state)
        assert isinstance(place, FolderLocation)  # noqa: S101 - what the prefix means
        make_folder(place.path, mode=0o755)
        return Answer(
            text=f"{place}\n{_NO_PROCESS}",
            data={"url": str(place), "runs": "folder", "storage": str(place.path), "started": False},
        )
    said = ServerOptions(
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        accounts=tuple(map(_account, accounts)),
        engine=engine,
    )
    options = said if anew else said.over(options_of(Path(state)))
    server = up(options.settings(Path(state)), sleep=time.sleep)
    options.keep(Path(state))
    return _told(server)


@registry.command("down")
@_state
def registry_down(state: Path) -> Answer:
    """Stop the registry of FOLDER. Its storage stays."""
    if _is_layout(state):
        return Answer(text=_NO_PROCESS, data={"stopped": False, "runs": "folder"})
    stopped = down(state, sleep=time.sleep)
    return Answer(text="stopped" if stopped else "it was not running", data={"stopped": stopped})


@registry.command("status")
@_state
def registry_status(state: Path) -> Answer:
    """Say whether the registry of FOLDER is running, and at which address."""
    if _is_layout(state):
        there = Path(str(state).removeprefix(_LAYOUT)).is_dir()
        text = _NO_PROCESS if there else f"no such folder; make it: pht registry up {state}"
        return Answer(text=text, data={"running": False, "runs": "folder", "there": there})
    running = status(state)
    if running is None:
        before = " (with its last options)" if (state / SETTINGS).exists() else ""
        return Answer(text=f"not running; start it with: pht registry up {state}{before}", data={"running": False})
    answer = _told(running)
    return Answer(text=answer.text, data={**answer.data, "running": True})


@registry.command("sweep")
@click.argument("state", metavar="[FOLDER]", default=str(_DEFAULT_STATE))
@click.option(
    "--hours",
    type=click.IntRange(0, 24 * 365),
    default=24,
    show_default=True,
    help="In a layout: leave newer blobs, whose manifest may be yet to arrive. 0 only if nobody is using it.",
)
def registry_sweep(state: str, hours: int) -> Answer:
    """Free the space of trains and receipts that were removed.

    Removes unreferenced blobs. A registry that is running from FOLDER is stopped for it and started again; stations and
    scientists retry in the meantime. A layout is swept while it is in use.

    \b
    pht registry sweep /srv/pht-registry
    pht registry sweep layout:/media/stick/registry
    """
    if _is_layout(state):
        return _swept_layout(location(state), clock.now() - timedelta(hours=hours))
    swept = sweep(options_of(Path(state)).settings(Path(state)), sleep=time.sleep)
    again = "; the registry is running again" if swept.restarted else ""
    return Answer(
        text=f"{_size(swept.freed)} freed{again}",
        data={"freed": swept.freed, "restarted": swept.restarted},
    )


def _swept_layout(place: Location, before: datetime) -> Answer:
    """Sweep every repository of a layout; one that cannot be read does not stop the others."""
    assert isinstance(place, FolderLocation)  # noqa: S101 - what the prefix means
    layout = LayoutRegistry(place.path)
    blobs = freed = 0
    odd: list[tuple[Repository, PhtError]] = []
    for repo in layout.repositories():
        try:
            swept = layout.sweep(repo, before=before)
        except (Refused, RegistryIndexUnreadable) as error:
            odd.append((repo, error))
            continue
        blobs, freed = blobs + swept.blobs, freed + swept.freed
    lines = [f"{blobs} blobs removed, {_size(freed)} freed"]
    lines += [f"left unchanged: {repo}: {error}" for repo, error in odd]
    return Answer(
        text="\n".join(lines),
        data={"blobs": blobs, "freed": freed, "left": [str(repo) for repo, _ in odd]},
        error=odd[0][1] if odd else None,
    )


@registry.command("ls")
@_address
@click.argument("parties", nargs=-1, required=True, metavar="PARTY...")
@click.pass_obj
def registry_ls(root: Root, address: str, parties: tuple[str, ...]) -> Answer:
    """List the trains and receipts that wait in the mailboxes of PARTIES, by their tags.

    Tags and what is under them say which train it is only to its owner and to the stations of its route.
    """
    depot = Depot(registry_at(address, root.login()))
    lines: list[str] = []
    found: dict[str, Json] = {}
    for party in map(PartyId, parties):
        trains, receipts = depot.arrivals(party), depot.receipt_tags(party)
        lines.append(f"{party}: {len(trains)} trains, {len(receipts)} receipts")
        lines += [f"  train {one.tag[:_TAG_SHOWN]}  {one.digest.short}" for one in trains]
        lines += [f"  receipt {tag[:_TAG_SHOWN]}" for tag in receipts]
        found[party] = {
            "trains": [{"digest": str(one.digest), "tag": str(one.tag)} for one in trains],
            "receipts": [{"tag": str(tag)} for tag in receipts],
        }
    return Answer(text="\n".join(lines), data={"mailboxes": found})


# --- Base images -----------------------------------------------------------------------------------------------------


@registry.group("base")
def base() -> None:
    """Publish and list base images, which trains run on.

    Stations use a base image only once the consortium has approved its digest: pht directory approve-base.
    """


@base.command("push")
@_address
@click.argument("name")
@click.argument("image", metavar="[IMAGE]", type=_PATH, required=False)
@click.option("--from-engine", metavar="IMAGE", help="Take this image from a container engine, not a file.")
@click.option("--engine", help="The engine's address. Default: DOCKER_HOST, or the local socket.")
@click.pass_obj
def base_push(
    root: Root, *, address: str, name: str, image: Path | None, from_engine: str | None, engine: str | None
) -> Answer:
    """Publish a base image as NAME and print its digest.

    IMAGE is what 'docker save' wrote, an image layout (folder or tar), or '-' for standard input.

    \b
    pht registry base push http://127.0.0.1:5000 python python.tar
    pht registry base push http://127.0.0.1:5000 python --from-engine my/python:3.11
    """
    if (image is None) == (from_engine is None):
        msg = "name the image: a file, '-', or --from-engine IMAGE"
        raise InvalidInput(msg)
    registry_, repo = registry_at(address, root.login()), base_repository(name)
    with tempfile.TemporaryDirectory(prefix="pht-base-") as room:
        if image is not None and image.is_dir():
            digest = push_base_folder(registry_, repo, image, room=Path(room))
        else:
            opened = _opened(image) if image is not None else saved_image(from_engine or "", engine)
            with opened as source, showing("publishing") as tell:
                digest = push_base(registry_, repo, source, room=Path(room), progress=tell)
    return Answer(
        text=f"{repo}@{digest}\nnext: the consortium approves it: pht directory approve-base FOLDER {name} {digest}",
        data={"repository": str(repo), "digest": str(digest)},
    )


@base.command("ls")
@_address
@click.argument("name")
@click.pass_obj
def base_ls(root: Root, address: str, name: str) -> Answer:
    """List the digests published as NAME. The directory says which of them are approved."""
    digests = ["sha256:" + tag for tag in _tags(registry_at(address, root.login()), name)]
    return Answer(text="\n".join(digests) or f"nothing was published as {name}", data={"digests": list(digests)})


def _tags(registry_: Registry, name: str) -> list[str]:
    return [tag for tag in registry_.list_tags(base_repository(name)) if len(tag) == 64]  # noqa: PLR2004 - a digest's


@contextmanager
def _opened(image: Path) -> Iterator[BinaryIO]:
    if str(image) == "-":
        yield sys.stdin.buffer
        return
    with told(image):
        source = image.open("rb")
    with source:
        yield source


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _is_layout(state: str | Path) -> bool:
    return str(state).startswith(_LAYOUT)


def _account(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found or not path:
        msg = "not an account (NAME=PASSWORD-FILE)"
        raise InvalidInput(msg, value=name[:40])
    return name, Path(path)


def _told(server: RunningServer) -> Answer:
    verb = "started" if server.started else "running"
    text = f"{server.address}\n{verb} with {server.runs}; storage in {server.storage}; log: {server.log}"
    if server.everywhere:
        text += "\nit listens on every address of this machine; its certificate must contain the host name above"
    return Answer(
        text=text,
        data={
            "url": server.address,
            "runs": server.runs,
            "storage": str(server.storage),
            "log": server.log,
            "started": server.started,
        },
    )
