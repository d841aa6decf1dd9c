"""Measure: all cases, or those named (``python -m bench S1 S4``); ``--quick`` to try, ``--only-show`` to change no file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import bench
from bench.bench import Case, prepared
from bench.figures import Figure
from bench.report import line, machine, write_table
from bench.usage import ROOT

RESULTS = ROOT / ".state" / "bench" / "results.json"


def cases() -> tuple[Case, ...]:
    """Return every case: the modules of this package whose name begins with ``case_``."""
    names = [one.name for one in iter_modules(bench.__path__) if one.name.startswith("case_")]
    found = [import_module(f"bench.{name}").CASE for name in names]
    return tuple(sorted(found, key=lambda case: int(case.id[1:])))


def main() -> int:
    """Measure, print, and keep the results as JSON and in the document."""
    known = {case.id: case for case in cases()}
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(known)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, to try a case; keeps nothing")
    parser.add_argument("--only-show", action="store_true", help="do not write the results and the document")
    chosen = parser.parse_args()
    if unknown := set(chosen.case) - set(known):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    results: dict[str, list[Figure]] = {}
    for case in [known[one] for one in chosen.case] or known.values():
        print(f"{case.id}  {case.title}", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        with prepared(quick=chosen.quick) as ready:
            for figure in case.measure(ready):
                results.setdefault(case.id, []).append(figure)
                print(line(figure), file=sys.stderr, flush=True)
        print(f"    {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    if not chosen.quick and not chosen.only_show:
        keep(results, known)
    return 0


def keep(results: dict[str, list[Figure]], known: dict[str, Case]) -> None:
    """Replace the results of the cases that were measured."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    for name, figures in results.items():
        kept[name] = [{**asdict(one), "met": one.met} for one in figures]
    whole = {"machine": machine(), "cases": {name: kept[name] for name in known if name in kept}}
    RESULTS.write_text(json.dumps(whole, indent=2) + "\n")
    write_table(Path(ROOT / "docs" / "performance.md"), whole, {case.id: case.title for case in known.values()})


if __name__ == "__main__":
    sys.exit(main())
