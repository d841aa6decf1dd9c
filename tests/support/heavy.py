"""Seals a folder and opens it again, and tells how much memory that took. Run as a process of its own.

The peak is that of this program's memory alone (``VmHWM``): ``ru_maxrss`` would remember the test runner it was forked
from. ``RLIMIT_AS`` makes holding the state in memory impossible rather than merely visible.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from security.age import HybridIdentity, decrypt, encrypt
from security.archive import Budget, members_of, pack, unpack

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
    with (folder / "sealed").open("wb") as sink, encrypt(sink, [identity.recipient]) as writer:
        packed = pack(writer, b"{}", members_of(folder / "in"))
    (folder / "in" / "state").unlink()
    budget = Budget(total_bytes=size, member_bytes=size, members=1)
    with (folder / "sealed").open("rb") as source, decrypt(source, [identity]) as reader:
        found = unpack(reader, into=folder / "out", budget=budget, check_meta=lambda _: None)
    assert found.bytes == size
    assert found.content == packed.content
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    sys.stdout.write(str(int(peak[1]) << 10))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
