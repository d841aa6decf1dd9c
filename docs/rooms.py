"""Which rooms has the house, and which of them know which? Read from the packages on disk and from their imports."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
Arrow = tuple[str, str]


@dataclass(frozen=True)
class House:
    """Packages from the top down, the rooms of each with what they say of themselves, and who imports whom."""

    packages: tuple[str, ...]
    rooms: Mapping[str, Mapping[str, str]]
    modules: Mapping[str, tuple[str, ...]]
    arrows: frozenset[Arrow]


def house() -> House:
    """Look at the house."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = tuple(project["tool"]["importlinter"]["root_packages"])
    rooms = {package: dict(_rooms(ROOT / package)) for package in packages}
    modules = {package: tuple(_modules(ROOT / package)) for package in packages}
    return House(packages, rooms, modules, frozenset(_arrows(packages, rooms)))


def picture() -> str:
    """Draw the house: an arrow points to what is imported; arrows that follow from others are left out."""
    found = house()
    lines = ["flowchart TB"]
    for package in found.packages:
        if not found.rooms[package]:
            lines.append(f"    {package}[{package}]")
            continue
        lines.append(f"    subgraph {package}")
        lines += [f"        {package}.{room}[{room}]" for room in found.rooms[package]]
        inside = {arrow for arrow in found.arrows if _package(arrow[0]) == _package(arrow[1]) == package}
        lines += [f"        {above} --> {below}" for above, below in sorted(reduced(inside))]
        lines.append("    end")
    outside = {(_package(above), _package(below)) for above, below in found.arrows}
    lines += [
        f"    {above} --> {below}" for above, below in sorted(reduced(one for one in outside if one[0] != one[1]))
    ]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def tables() -> str:
    """List every room with what it answers, package by package."""
    found = house()
    lines = ["| room | answers |", "|---|---|"]
    for package in found.packages:
        lines.append(f"| **`{package}`** | {_first(ROOT / package / '__init__.py')} |")
        lines += [f"| `{package}/{room}` | {says} |" for room, says in found.rooms[package].items()]
        if found.modules[package]:
            lines.append(f"| beside them | {' · '.join(f'`{one}`' for one in found.modules[package])} |")
    return "\n".join(lines) + "\n"


def reduced(arrows: Iterable[Arrow]) -> frozenset[Arrow]:
    """Return the arrows that do not follow from others (there are no circles)."""
    kept = frozenset(arrows)
    return frozenset(one for one in kept if not _reaches(one[0], one[1], kept - {one}))


def _reaches(start: str, end: str, arrows: frozenset[Arrow]) -> bool:
    waiting, seen = [start], set[str]()
    while waiting:
        here = waiting.pop()
        if here == end:
            return True
        if here not in seen:
            seen.add(here)
            waiting += [below for above, below in arrows if above == here]
    return False


def _rooms(package: Path) -> Iterator[tuple[str, str]]:
    for folder in sorted(package.iterdir()):
        if (folder / "__init__.py").is_file():
            yield folder.name, _first(folder / "__init__.py")


def _modules(package: Path) -> Iterator[str]:
    return (path.stem for path in sorted(package.glob("*.py")) if path.stem != "__init__")


def _arrows(packages: tuple[str, ...], rooms: Mapping[str, Mapping[str, str]]) -> Iterator[Arrow]:
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            here = _place(".".join(path.relative_to(ROOT).with_suffix("").parts), rooms)
            for name in _imported(path):
                there = _place(name, rooms) if name.partition(".")[0] in packages else here
                between_packages = _package(here) != _package(there)
                if between_packages or (here != there and "." in here and "." in there):
                    yield here, there


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _place(name: str, rooms: Mapping[str, Mapping[str, str]]) -> str:
    """Return the room of a module, or its package if it lies beside the rooms."""
    package, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    return f"{package}.{room}" if room in rooms[package] else package


def _package(place: str) -> str:
    return place.partition(".")[0]


def _first(module: Path) -> str:
    documentation = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    words = " ".join(documentation.split("\n\n")[0].split()).replace("``", "`")
    return re.match(r".+?[.?](?=\s|$)|.*", words)[0]  # type: ignore[index] # it matches everything
