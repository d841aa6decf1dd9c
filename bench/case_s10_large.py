"""S10: what do very many files take, and one very large one?"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from bench.bench import Bench, Case, prepared
from bench.case_s5_stop import COMMAND, place
from bench.figures import Figure, Goal
from bench.large import BINDING
from bench.stops import travelled
from bench.usage import function
from security.age import HybridIdentity
from security.archive import Budget, members_of
from security.train.manifest import Output
from security.train.seal import open_state, seal_state
from station.house.spool import Spool
from tests.support.world import ROUTE

_OUTPUTS = (Output(path="*.json", media_type="application/json", max_bytes=1 << 10, schema={"type": "integer"}),)
_MIB = 1 << 20


def measure(bench: Bench) -> Iterator[Figure]:
    """Let a station's loop pass on many files from a real container; seal and open one file of each size."""
    few, many = (10, 500) if bench.quick else (10, 10_000)
    took = {files: function("case_s10_large:stop", str(files)).printed.split() for files in (few, many)}
    (less, base), (more, peak) = ([float(one) for one in took[files]] for files in (few, many))
    fewer = f"{few} files"
    yield Figure(what=f"a stop that leaves {fewer}", value=less, unit="s")
    yield Figure(
        what=f"a stop that leaves {many} files",
        value=more,
        unit="s",
        to=fewer,
        ratio=more / less,
        note="a file is written by the run, printed and judged (.1 ms of processor), looked at, named and sealed (.14), and removed (.03 or more)",
    )
    yield Figure(what="its memory at the peak", value=peak / _MIB, unit="MiB", to=fewer, ratio=peak / base)
    small, large = 1, 64 if bench.quick else 4096
    used = {}
    for mebibytes in (small, large):
        folder = bench.folder / str(mebibytes)
        folder.mkdir()
        used[mebibytes] = function("case_s10_large:round_trip", str(folder), str(mebibytes))
    yield Figure(what=f"seal and open a state of {large} MiB", value=float(used[large].printed), unit="s")
    yield Figure(
        what="its memory at the peak",
        value=used[large].memory / _MIB,
        unit="MiB",
        to=f"{small} MiB",
        ratio=used[large].memory / used[small].memory,
        goal=Goal(most=1.1),
    )


def stop(files: str) -> str:
    """Let a train write so many files in a container, and pass one stop; return the seconds and this process's peak."""
    logging.disable(logging.CRITICAL)
    script = f'n=0; while [ $n -lt {files} ]; do echo $n > "$PHT_STATE/$n.json"; n=$((n+1)); done; rm -f "$PHT_STATE/sums.json"\n'
    with prepared(quick=True) as bench, place(bench) as ours:
        made = travelled(
            ours.here,
            ROUTE,
            1,
            files={"main.sh": script.encode()},
            command=COMMAND,
            environment={},
            data=(),
            outputs=_OUTPUTS,
        )
        took = ours.stop(made)
    return f"{took} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}"


def round_trip(folder: str, mebibytes: str) -> float:
    """Seal a file of zeros into a spool, and open it again; return the seconds."""
    root, size = Path(folder), int(mebibytes) << 20
    for name in ("in", "out"):
        (root / name).mkdir()
    with (root / "in" / "state.bin").open("wb") as out:
        out.truncate(size)
    identity, spool = HybridIdentity.generate(), Spool(root / "spool")
    begun = time.perf_counter()
    with spool.writing() as writer:
        sealed = seal_state(
            cast("BinaryIO", writer),
            members_of(root / "in"),
            binding=BINDING,
            recipients=[str(identity.recipient)],
        )
    with spool.read(writer.blob) as source:
        open_state(
            source,
            sealed.ref,
            binding=BINDING,
            identities=[identity],
            into=root / "out",
            budget=Budget(total_bytes=size, member_bytes=size, members=1),
        )
    return time.perf_counter() - begun


CASE = Case(id="S10", title="Very many files, and a very large one", measure=measure)
