"""Measure: all cases, or those named (``python -m bench S1 S4``); ``--quick`` to try, ``--only-show`` to change no file."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import bench
from bench.bench import Case, prepared
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
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if unknown := set(chosen.case) - set(known):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if chosen.alone:
        measured(known[chosen.case[0]], quick=chosen.quick)
        return 0
    results = {one: in_a_process(one, quick=chosen.quick) for one in chosen.case or known}
    if not chosen.quick and not chosen.only_show:
        keep(results, known)
    return 0


def in_a_process(name: str, *, quick: bool) -> list[dict[str, Any]]:
    """Measure a case in a process of its own: one that was large makes its children's peaks look large."""
    words = [sys.executable, "-m", "bench", name, "--alone", *(["--quick"] if quick else [])]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(one) for one in done.stdout.splitlines()]


def measured(case: Case, *, quick: bool) -> None:
    """Measure a case; print its figures for people, and for the process that waits for them."""
    print(f"{case.id}  {case.title}", file=sys.stderr, flush=True)
    begun = time.perf_counter()
    with prepared(quick=quick) as ready:
        for figure in case.measure(ready):
            print(line(figure), file=sys.stderr, flush=True)
            print(json.dumps({**asdict(figure), "met": figure.met}), flush=True)
    print(f"    {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def keep(results: dict[str, list[dict[str, Any]]], known: dict[str, Case]) -> None:
    """Replace the results of the cases that were measured."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    kept |= results
    whole = {"machine": machine(), "cases": {name: kept[name] for name in known if name in kept}}
    RESULTS.write_text(json.dumps(whole, indent=2) + "\n")
    write_table(Path(ROOT / "docs" / "performance.md"), whole, {case.id: case.title for case in known.values()})


if __name__ == "__main__":
    sys.exit(main())
