"""How fast does the gate take in a table and a document with a schema, from the state of a run to what is sealed?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.gated import KINDS
from bench.usage import Usage, function
from tests.support.trains import consortium, train

MB: Final = 1_000_000
MIB: Final = 1 << 20

DICTS: Final = (
    "json.loads and dumps alone take the better part of a second, and Python's objects 86 MiB:"
    " faster and smaller only with a reader that never holds a document"
)


def measure(bench: Bench) -> Iterator[Figure]:
    """The table and the documents are shaped like those of real analyses; every gate is a process of its own."""
    scale = 0.1 if bench.quick else 1
    files = {kind: bench.folder / kind for kind in KINDS}
    megabytes = {"table": 100 * scale, "other": 20 * scale, "numbers": 15 * scale, "objects": 15 * scale}
    for kind, file in files.items():  # not here: a process begins with the peak of the one that started it
        function("gated:make", kind, str(file), str(megabytes[kind]))
    signed = bench.folder / "manifest"
    signed.write_bytes(train(consortium()).envelope.payload)
    used: dict[str, list[Usage]] = {kind: [] for kind in KINDS}

    def gate(kind: str) -> float:
        taken = function("gated:gate", kind, str(files[kind]), str(signed), str(bench.folder / "room"))
        used[kind].append(taken)
        return float(taken.printed)

    def bare(kind: str) -> float:
        return float(function("gated:bare", kind, str(files[kind])).printed)

    runs = {
        f"{kind} {of}": (lambda do=do, kind=kind: do(kind))
        for kind in KINDS
        for of, do in (("gate", gate), ("bare", bare))
    }
    seconds = alternating(runs, rounds=1 if bench.quick else 3)
    for kind, what, goal, note in (
        ("table", "a table of 100 MB, as pandas writes it", Goal(least=40, absolute=True), ""),
        ("other", "a table of which every cell is quoted", None, ""),
    ):
        took, reference = seconds[f"{kind} gate"], seconds[f"{kind} bare"]
        yield Figure(
            what=what,
            value=files[kind].stat().st_size / MB / took,
            unit="MB/s",
            ratio=took / reference,
            to="csv.reader alone (time)",
            goal=goal,
            note=note,
        )
    for kind, what, note in (("numbers", "15 MB of numbers", ""), ("objects", "15 MB of objects", DICTS)):
        took, reference = seconds[f"{kind} gate"], seconds[f"{kind} bare"]
        yield Figure(
            what=f"JSON, {what}",
            value=took,
            unit="s",
            ratio=took / reference,
            to="json.loads and dumps alone",
            goal=Goal(most=1, absolute=True),
            note=note,
        )
        memory = max(one.memory for one in used[kind]) / MIB
        yield Figure(
            what=f"JSON, {what}: peak memory", value=memory, unit="MiB", goal=Goal(most=96, absolute=True), note=note
        )


CASE = Case(id="S2", title="The gate with a schema: a table of 100 MB, documents of 15 MB", measure=measure)
