"""Which parts of the documents are written by the code itself? ``make docs`` writes them, a test compares them."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

EXAMPLE = re.compile(r"(<!-- example: ([a-z-]+) -->\n```[a-z]*\n).*?\n```\n", re.DOTALL)
GENERATED = re.compile(r"(<!-- generated: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
ERROR_MODULES = (
    "security.errors",
    "security.keys.errors",
    "security.sums.errors",
    "registry.errors",
    "train_builder.errors",
    "station.errors",
    "rehearsal.errors",
)


def error_table() -> str:
    """Return ``errors.md``: every error with its code, exit status and explanation, by family."""
    import pht
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
    lines += ["", "## The command line itself", "", "| code | exit status | meaning |", "|---|---|---|"]
    own = (one for one in PhtError.__subclasses__() if one.__module__ == pht.__name__)
    lines += [f"| `{one.code}` | {one.exit} | {_first(one)} |" for one in sorted(own, key=lambda one: one.code)]
    return "\n".join(lines) + "\n"


def visit_diagram() -> str:
    """Return ``visit.md``: the state machine of a visit, drawn from its table."""
    from station.visit.plan import diagram

    return (
        "# A visit\n\nDrawn from the table in `station/visit/plan.py` by `make docs`.\n\n```mermaid\n"
        + diagram().strip()
        + "\n```\n"
    )


def design() -> str:
    """Return ``design.md`` with its examples written anew: each stands in the block below its name."""
    written = _load("examples").examples()

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}{written.pop(found[2])}\n```\n"

    text = EXAMPLE.sub(block, (HERE / "design.md").read_text(encoding="utf-8"))
    if written:
        msg = f"no place in design.md for the examples {', '.join(written)}"
        raise LookupError(msg)
    return text


def schemas() -> dict[str, str]:
    """Return the published schema of every document, by its path: each follows from one declaration."""
    from security.catalogue import CATALOGUE
    from security.directory.card import CARD
    from security.directory.documents import BASE, PARTY, POLICY
    from security.statement.envelope import ENVELOPE
    from security.train.journey import ANSWER, ENTRY, REFUSAL
    from security.train.manifest import MANIFEST
    from security.train.recall import RECALL
    from security.train.seal import CODE_META, STATE_META
    from station.journal.audit import HEAD
    from train_builder.spec.schema import train_schema

    statements = (MANIFEST, ENTRY, REFUSAL, ANSWER, RECALL, CARD, HEAD, CATALOGUE)
    documents = (ENVELOPE, CODE_META, STATE_META, PARTY, BASE, POLICY)
    found = {f"security/schemas/{one.name}.json": _laid_out(one.schema()) for one in (*statements, *documents)}
    return found | {"train_builder/spec/train.schema.json": _laid_out(train_schema())}


def architecture() -> str:
    """Return ``architecture.md`` with its picture and its table of rooms made anew from the packages on disk."""
    rooms = _load("rooms")
    made = {"picture": rooms.picture, "rooms": rooms.tables}
    text = (HERE / "architecture.md").read_text(encoding="utf-8")
    return GENERATED.sub(lambda found: f"{found[1]}{made[found[2]]()}{found[3]}", text)


def train_reference() -> str:
    """Return ``train-yaml.md``: the keys of a train's file, from its schema."""
    return str(_load("references").train_reference())


def station_reference() -> str:
    """Return ``station-yaml.md``: the keys of a station's file, from its schema."""
    return str(_load("references").station_reference())


DOCUMENTS = {
    "errors.md": error_table,
    "visit.md": visit_diagram,
    "design.md": design,
    "architecture.md": architecture,
    "train-yaml.md": train_reference,
    "station-yaml.md": station_reference,
}


def generated() -> dict[Path, str]:
    """Return everything that is generated, by its path in the repository."""
    made = {Path("docs") / name: make() for name, make in DOCUMENTS.items()}
    return made | {Path(name): text for name, text in schemas().items()}


def _laid_out(schema: object) -> str:
    return f"{_load('examples').laid_out(schema)}\n"


def _load(name: str) -> types.ModuleType:
    """Import a module that lies beside this one, from wherever this one was started."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _below(family: type) -> Iterator[type]:
    for one in family.__subclasses__():
        yield one
        yield from _below(one)


def _first(one: type) -> str:
    return " ".join((one.__doc__ or "").split("\n\n")[0].split())


def write() -> None:
    """Write everything that is generated: the schemas first, as the references are made from them."""
    for name, text in schemas().items():
        (HERE.parent / name).write_text(text, encoding="utf-8")
    for path, text in generated().items():
        (HERE.parent / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
