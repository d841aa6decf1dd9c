"""How are figures shown: a line each on the terminal, a table in the document?"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import Figure, Goal

_BEGIN, _END = "<!-- measured -->\n", "<!-- /measured -->\n"


def machine() -> dict[str, str]:
    """Name the machine the figures come from."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(total[1]) >> 20} GiB" if total else "unknown",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def line(figure: Figure) -> str:
    """Return a figure as a line of the terminal."""
    parts = [f"    {figure.what}: {number(figure.value)} {figure.unit}"]
    if figure.ratio is not None:
        parts.append(f"= {number(figure.ratio)} × {figure.to}")
    if figure.goal is not None:
        parts.append(f"[{goal(figure.goal, figure.unit)}: {'reached' if figure.met else 'NOT REACHED'}]")
    return " ".join([*parts, *([f"({figure.note})"] if figure.note else [])])


def write_table(document: Path, results: Mapping[str, Any], titles: Mapping[str, str]) -> None:
    """Write the measured part of the document anew; the text around it is left alone."""
    text = document.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    named = "; ".join(f"{key} {value}" for key, value in results["machine"].items())
    lines = [f"Machine: {named}.\n", "\n"]
    for name, figures in results["cases"].items():
        lines += [f"### {name}. {titles[name]}\n", "\n"]
        lines += ["| what | measured | ratio | to | goal | |\n", "|---|---:|---:|---|---|---|\n"]
        lines += [_row(figure) for figure in figures]
        lines += ["\n"]
    document.write_text(before + _BEGIN + "".join(lines) + _END + after)


def _row(kept: Mapping[str, Any]) -> str:
    figure = Figure(**{key: value for key, value in kept.items() if key not in {"met", "goal"}})
    wanted = Goal(**kept["goal"]) if kept["goal"] else None
    verdict = {None: "", True: "reached", False: "**not reached**"}[kept["met"]]
    cells = [
        figure.what,
        f"{number(figure.value)} {figure.unit}",
        "" if figure.ratio is None else f"{number(figure.ratio)} ×",
        figure.to,
        goal(wanted, figure.unit) if wanted else "",
        " · ".join(one for one in (verdict, figure.note) if one),
    ]
    return "| " + " | ".join(cells) + " |\n"


def goal(wanted: Goal, unit: str) -> str:
    """Return a goal as people write it."""
    sign, bound = ("≤", wanted.most) if wanted.most is not None else ("≥", wanted.least)
    return f"{sign} {number(bound or 0)} {unit if wanted.absolute else '×'}"


def number(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
