"""What does a stop with a large state take, compared to bare tools and to the predecessor?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, Run, alternating
from bench.large import BINDING, bare, line, write_random
from bench.usage import ROOT, function, program
from security.age import HybridIdentity, parse_identity
from security.archive import Budget, content_of, members_of
from security.digest import Digest
from security.train.journey import StateRef
from security.train.seal import open_state, seal_state
from station.house.spool import Spool
from station.visit.events import Blob

_PREDECESSOR = "pht-train-container-library==2.0.2"
_VENV = ROOT / ".state" / "bench" / "predecessor"
_TOOLS = "`curl -o`, `sync`, `openssl dgst`, `curl -T`"
_THEIRS = """
import sys
from io import BytesIO
from pathlib import Path
from loguru import logger
logger.remove()
from train_lib.security.encryption import FileEncryptor
from train_lib.security.hashing import hash_results
folder = Path(sys.argv[1])
if not (folder / "theirs.sealed").exists():
    plain = BytesIO((folder / "in" / "state.bin").read_bytes())
    (folder / "theirs.sealed").write_bytes(FileEncryptor(bytes(32)).encrypt_files([plain], binary_files=True)[0].read())
    sys.exit()
(opened,) = FileEncryptor(bytes(32)).decrypt_files([BytesIO((folder / "theirs.sealed").read_bytes())], binary_files=True)
hash_results([opened], bytes(8), binary_files=True)
(folder / "theirs.plain").write_bytes(opened.getvalue())
del opened
left = BytesIO((folder / "theirs.plain").read_bytes())
hash_results([left], bytes(8), binary_files=True)
(sealed,) = FileEncryptor(bytes(32)).encrypt_files([left], binary_files=True)
(folder / "theirs.new").write_bytes(sealed.read())
"""
"""Its functions as its protocol calls them around a run, on files in place of container images: decrypt, hash; hash, encrypt."""


def measure(bench: Bench) -> Iterator[Figure]:
    """A whole stop beside bare tools at two sizes, then the leg without transfer beside the predecessor's."""
    sizes = ((8, 4),) if bench.quick else ((100, 6), (1024, 3))
    for mebibytes, stations in sizes:
        yield _stop(bench, mebibytes, stations)
    yield Figure(
        what="SHA-256 passes of a stop over a state",
        value=float(function("hashed:passes", str(32 << 20)).printed),
        unit="passes",
        goal=Goal(most=3, absolute=True),
        note="one each over what arrives, what is opened and what is sealed; two more over the plaintext, when it is judged "
        "and when it is sealed, so that nothing else leaves than was judged",
    )
    yield from _leg(bench, 8 if bench.quick else 100)


def _stop(bench: Bench, mebibytes: int, stations: int) -> Figure:
    made = line(
        bench.folder / f"line-{mebibytes}",
        bench.registries,
        stations=stations,
        make=lambda state: write_random(state / "state.bin", mebibytes << 20),
    )
    url, waiting = bench.registries.address("http"), list(made.stations)
    made.stop(waiting.pop(0))
    here = iter(waiting)
    ours: list[float] = []

    def tools() -> None:
        at = made.stations[len(ours) + 1] if len(ours) + 1 < len(made.stations) else made.stations[-1]
        bare(url, *made.arriving(at), bench.folder)

    def stop() -> float:
        station, begun = next(here), time.perf_counter()
        made.stop(station)
        ours.append(time.perf_counter() - begun)
        made.forget(station)
        return ours[-1]

    runs: dict[str, Run] = {"ours": stop, "tools": tools}
    took = alternating(runs, rounds=len(waiting))
    made.here.close()
    return Figure(
        what=f"a stop over {mebibytes} MiB",
        value=took["ours"],
        unit="s",
        to=_TOOLS,
        ratio=took["ours"] / took["tools"],
        goal=Goal(most=1.2),
        note="the container left out on both sides; besides what the tools write, the state is written once unsealed and once sealed "
        "for the next, and the disk's pace decides",
    )


def _leg(bench: Bench, mebibytes: int) -> Iterator[Figure]:
    folder = bench.folder / "leg"
    (folder / "in").mkdir(parents=True)
    write_random(folder / "in" / "state.bin", mebibytes << 20)
    identity = HybridIdentity.generate()
    (folder / "key").write_text(identity.secret_text())
    (folder / "recipient").write_text(str(identity.recipient))
    spool = Spool(folder / "spool")
    with spool.writing() as writer:
        seal_state(
            cast("BinaryIO", writer),
            members_of(folder / "in"),
            binding=BINDING,
            recipients=[str(identity.recipient)],
        )
    (folder / "sealed").write_text(f"{writer.blob.digest} {writer.blob.size}")
    memory: dict[str, int] = {}

    def ours() -> float:
        used = function("case_s6_transfer:leg", str(folder))
        memory["ours"] = max(memory.get("ours", 0), used.memory)
        return float(used.printed)

    runs: dict[str, Run] = {"ours": ours}
    there = _predecessor()
    if there is not None:
        python = str(there)
        program([python, "-c", _THEIRS, str(folder)])

        def theirs() -> float:
            used = program(
                [
                    python,
                    "-c",
                    f"import time; b = time.perf_counter()\n{_THEIRS}\nprint(time.perf_counter() - b)",
                    str(folder),
                ]
            )
            memory["theirs"] = max(memory.get("theirs", 0), used.memory)
            return float(used.printed)

        runs["theirs"] = theirs
    took = alternating(runs, rounds=1 if bench.quick else 3)
    note = "" if there is not None else f"{_PREDECESSOR} cannot be installed here"
    to = _PREDECESSOR if there is not None else ""
    yield Figure(
        what=f"unseal, hash, seal {mebibytes} MiB, no transfer",
        value=took["ours"],
        unit="s",
        to=to,
        ratio=took["ours"] / took["theirs"] if to else None,
        note=note or "its decryption, hashes and encryption alone, with files in place of its container images",
    )
    yield Figure(
        what="its memory at the peak",
        value=memory["ours"] / (1 << 20),
        unit="MiB",
        to=to,
        ratio=memory["ours"] / memory["theirs"] if to else None,
        note=note,
    )


def leg(folder: str) -> float:
    """Open the sealed state of a folder, hash what came out as the gate does, and seal it again; return the seconds."""
    root = Path(folder)
    digest, size = (root / "sealed").read_text().split()
    identity, spool, out = parse_identity((root / "key").read_text()), Spool(root / "spool"), root / "out"
    begun = time.perf_counter()
    out.mkdir()
    blob = Blob(digest=Digest(digest), size=int(size))
    budget = Budget(total_bytes=8 << 30, member_bytes=8 << 30, members=100_000)
    with spool.read(blob) as source:
        ref = StateRef(digest=blob.digest, size=blob.size)
        open_state(source, ref, binding=BINDING, identities=[identity], into=out, budget=budget)
    members = members_of(out)
    content_of(members)
    with spool.writing() as writer:
        seal_state(cast("BinaryIO", writer), members, binding=BINDING, recipients=[(root / "recipient").read_text()])
    took = time.perf_counter() - begun
    spool.drop(writer.blob.digest)
    for member in members:
        (out / member.path).unlink()
    out.rmdir()
    return took


def _predecessor() -> Path | None:
    """Return a Python that has it, installing it once; None where that does not work."""
    python = _VENV / "bin" / "python"
    if not (_VENV / "complete").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(_VENV)], check=True, capture_output=True)
            subprocess.run(
                [str(python), "-m", "pip", "install", "-q", _PREDECESSOR], check=True, capture_output=True, timeout=300
            )
            subprocess.run([str(python), "-c", "import train_lib.security.encryption"], check=True, capture_output=True)
        except (subprocess.SubprocessError, OSError):
            return None
        (_VENV / "complete").touch()
    return python


CASE = Case(id="S6", title="A stop with a large state", measure=measure)
