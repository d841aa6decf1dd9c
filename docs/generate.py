"""Which parts of the documents are written by the code itself? ``make docs`` writes them, a test compares them."""

from __future__ import annotations

import importlib
import pathlib
import sys
from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

ERROR_MODULES = ("security.errors", "registry.errors", "train_builder.errors", "station.errors")


def error_table() -> str:
    """Return ``errors.md``: every error with its code, exit status and explanation, by family."""
    from security.errors import PhtError

    for module in ERROR_MODULES:
        importlib.import_module(module)
    lines = [
        "# Errors",
        "",
        "Generated from the error classes by `make docs`. The family decides the exit status and whether a daemon tries",
        "again; the code is stable and is what `--json` prints.",
    ]
    for family in (one for one in PhtError.__subclasses__() if one.__module__ in ERROR_MODULES):
        lines += [
            "",
            f"## {family.__name__}: exit status {family.exit}",
            "",
            _first(family),
            "",
            "| code | meaning |",
            "|---|---|",
        ]
        lines += [f"| `{one.code}` | {_first(one)} |" for one in sorted(_below(family), key=lambda one: one.code)]
    return "\n".join(lines) + "\n"


def visit_diagram() -> str:
    """Return ``visit.md``: the state machine of a visit, drawn from its table."""
    from station.plan import diagram

    return (
        "# A visit\n\nDrawn from the table in `station/plan.py` by `make docs`.\n\n```mermaid\n"
        + diagram().strip()
        + "\n```\n"
    )


DOCUMENTS = {"errors.md": error_table, "visit.md": visit_diagram}


def _below(family: type) -> Iterator[type]:
    for one in family.__subclasses__():
        yield one
        yield from _below(one)


def _first(one: type) -> str:
    return " ".join((one.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    for name, make in DOCUMENTS.items():
        (HERE / name).write_text(make(), encoding="utf-8")
