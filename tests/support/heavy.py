"""Seals a state and opens it again as stations do, and tells how much memory that took. Run as a process of its own.

The peak is that of this program's memory alone (``VmHWM``): ``ru_maxrss`` would remember the test runner it was forked
from. ``RLIMIT_AS`` makes holding the state in memory impossible rather than merely visible.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from security.age import HybridIdentity
from security.archive import Budget, members_of
from security.digest import digest_of
from security.ids import PartyId, TrainId
from security.train.seal import StateBinding, open_state, seal_state

ADDRESS_SPACE = 450 << 20


def main(folder: Path, size: int) -> None:
    """Make, seal and open a state of `size` bytes below `folder`; print the peak of resident memory in bytes."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for name in ("in", "out"):
        (folder / name).mkdir()
    block = bytes(range(256)) * 4096
    with (folder / "in" / "state").open("wb") as out:
        for _ in range(size // len(block)):
            out.write(block)
    identity = HybridIdentity.generate()
    binding = StateBinding(
        train=TrainId("0" * 64),
        stop=0,
        sender=PartyId("hospital-a"),
        recipients=(PartyId("hospital-b"),),
        previous=(digest_of(b"manifest"),),
    )
    with (folder / "sealed").open("wb") as sink:
        ref = seal_state(sink, members_of(folder / "in"), binding=binding, recipients=[str(identity.recipient)]).ref
    (folder / "in" / "state").unlink()
    budget = Budget(total_bytes=size, member_bytes=size, members=1)
    with (folder / "sealed").open("rb") as source:
        found = open_state(source, ref, binding=binding, identities=[identity], into=folder / "out", budget=budget)
    assert found.bytes == size
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    sys.stdout.write(str(int(peak[1]) << 10))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
