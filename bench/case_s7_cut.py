"""S7: what goes over the network again when a connection breaks half-way?"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bench.bench import Bench, Case
from bench.case_s3_route import client
from bench.figures import Figure, Goal
from bench.large import write_random
from registry.blobs import BlobFolder
from registry.errors import RegistryUnavailable
from registry.names import Repository
from registry.oci import Descriptor
from registry.retry import RetryingRegistry
from security.digest import digest_stream
from tests.support.cutter import Cutter
from tests.support.keeper import Keeper

_GOAL = Goal(most=1.03)
_FORGETS = (
    "docker-registry 2.8 forgets an upload whose chunk was cut: it logs 'upload resumed at wrong offest', because the "
    "position in its own address is that of the last whole chunk, and drops all that came"
)


def measure(bench: Bench) -> Iterator[Figure]:
    """Cut a large blob on its way down and up; count what is carried afterwards."""
    file = bench.folder / "blob"
    size = 100 << 20
    write_random(file, size)
    with file.open("rb") as source:
        digest, _ = digest_stream(source)
    blob = Descriptor(media_type="application/octet-stream", digest=digest, size=size)
    url = bench.registries.address("http")
    yield _down(bench.folder / "fetched", file, url, blob)
    yield _up(file, url, blob, "up, to docker-registry", _FORGETS)
    with closing(Keeper()) as keeper:
        yield _up(
            file, keeper.url, blob, "up, to a registry that keeps what came", "chunks as OCI distribution 1.1 has them"
        )


def _down(folder: Path, file: Path, url: str, blob: Descriptor) -> Figure:
    repo = Repository("cut/down")
    client(url).put_blob(repo, blob, partial(_opened, file))
    with closing(Cutter(url, down=blob.size // 2, times=1)) as cutter:
        into, rest = BlobFolder(folder), partial(client(cutter.url).open_blob, repo, blob)
        with contextlib.suppress(RegistryUnavailable):
            into.fetch(blob.digest, blob.size, rest)
        before, cutter.received = cutter.received, 0
        into.fetch(blob.digest, blob.size, rest)
        lost = "what had come and was not written yet comes again: a mebibyte at most"
        return _figure("down, from docker-registry", cutter.received, blob.size - before, lost)


def _up(file: Path, url: str, blob: Descriptor, what: str, note: str) -> Figure:
    with closing(Cutter(url, after=blob.size // 2, times=1)) as cutter:
        before = list[int]()

        def wait(seconds: float) -> None:
            time.sleep(seconds)  # as it would: a registry notices a break later than we do
            before.append(cutter.sent)
            cutter.sent = 0

        registry = RetryingRegistry(client(cutter.url), sleep=wait)
        registry.put_blob(Repository(f"cut/{os.urandom(6).hex()}"), blob, partial(_opened, file))
        return _figure(what, cutter.sent, blob.size - sum(before), note)


def _figure(what: str, carried: int, rest: int, note: str) -> Figure:
    return Figure(
        what=f"carried after the break, {what}",
        value=carried / (1 << 20),
        unit="MiB",
        to="what was missing",
        ratio=carried / rest,
        goal=_GOAL,
        note=note,
    )


def _opened(file: Path, offset: int) -> BinaryIO:
    source = file.open("rb")
    source.seek(offset)
    return source


CASE = Case(id="S7", title="A connection that breaks half-way through a large state", measure=measure)
