"""Would the base image's Python compile the code of a train, and find what it imports?

What runs begins with the command's script or module; what that imports from the code folder is followed. A gap in what is
certain to run is *certain*; one in a file that nothing is seen to use, or if the command is no Python, is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from console.problems import did_you_mean
from security.archive import Member
from train_builder.code.python import Import, Source, compiled, minor_of, standard_modules
from train_builder.code.sources import SourceTree
from train_builder.code.wheels import REQUIREMENTS, VENDOR, Target

_LOOK: Final = 4 << 20
_PROGRAM = re.compile(r"(?:.*/)?python[0-9.]*")
_WITH_WORD: Final = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_REQUIRED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_HERE: Final = "/pht/code/"
_OTHER_NAMES: Final = {
    "attr": "attrs",
    "Bio": "biopython",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages that are not called like the module they bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What would stop Python. `path` is None for what the command itself says; `about` is the module that is missing."""

    code: str
    path: str | None
    line: int | None
    text: str
    hint: str | None
    certain: bool
    about: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What a Python command runs: a script or a module of the code folder, or text."""

    script: str | None = None
    module: str | None = None
    text: str | None = None

    @property
    def folder(self) -> str:
        """The folder that comes first on the module search path, as a prefix."""
        return "" if self.script is None else self.script.rpartition("/")[0] + "/" if "/" in self.script else ""


def gaps(command: Sequence[str], tree: SourceTree, target: Target, vendored: Sequence[Member] | None) -> Iterator[Gap]:
    """Find what Python would stumble over. `vendored` are the packages that travel along; None if that is not known yet."""
    yield from _Look(command, tree, target, vendored).gaps()


class _Look:
    def __init__(
        self, command: Sequence[str], tree: SourceTree, target: Target, vendored: Sequence[Member] | None
    ) -> None:
        self._start = _start(command)
        self._python = target.python
        self._minor = minor_of(target.python)
        self._standard = standard_modules(self._minor)
        self._members = {one.path: one for one in tree.members}
        self._vendored = None if vendored is None else {one.path.removeprefix(f"{VENDOR}/") for one in vendored}
        self._required = _requirements(self._members.get(REQUIREMENTS))
        self._broken: list[Gap] = []
        self._sources: dict[str | None, Source] = dict(self._compile())
        added = [one for source in self._sources.values() for one in source.added]
        self._unclear = self._start is None or None in added
        self._roots = self._search_path(added)

    def gaps(self) -> Iterator[Gap]:
        ran = self._ran()
        for gap in self._broken:
            reached = ran is None or gap.path in ran
            yield gap if reached else _less(gap)
        unlisted = False
        for path, source in self._sources.items():
            certain = ran is not None and path in ran
            for one in source.imports:
                if self._find(one, path) is not None or self._from_elsewhere(one):
                    continue
                if one.level == 0 and self._travels(one):
                    if not unlisted and not self._vendor_is_found():
                        unlisted = True
                        yield self._unlisted(one, path, certain=certain)
                    continue
                yield self._missing(one, path, certain=certain and one.sure)

    def _compile(self) -> Iterator[tuple[str | None, Source]]:
        """Compile every source; note what does not compile."""
        start = self._start
        texts: dict[str | None, bytes] = {}
        for path, member in self._members.items():
            if (path.endswith(".py") or (start and path == start.script)) and not path.startswith(f"{VENDOR}/"):
                with member.open() as source:
                    texts[path] = source.read(_LOOK + 1)
        if start and start.text is not None:
            texts[None] = start.text.encode()
        for where, text in texts.items():
            if len(text) > _LOOK:
                continue
            try:
                yield where, compiled(text, self._minor)
            except SyntaxError as error:
                self._broken.append(
                    Gap(
                        code="python.syntax",
                        path=where,
                        line=error.lineno or None,
                        text=f"Python {self._python} does not compile it: {error.msg}",
                        hint="the run would end at once, at the first station",
                        certain=True,
                    )
                )

    def _search_path(self, added: Sequence[str | None]) -> tuple[str, ...]:
        """Return the folders of the code in which modules are looked for, as prefixes; all of them if that is not clear."""
        if self._start is None or self._unclear:
            return tuple({"": None, **{path[: path.rfind("/") + 1]: None for path in self._members}})
        plain = [f"{one}/".removeprefix(_HERE).removeprefix("./").strip("/") for one in added]
        return (self._start.folder, *(f"{one}/" if one not in {"", "."} else "" for one in plain))

    def _vendor_is_found(self) -> bool:
        """Whether anything speaks of the folder that packages travel in."""
        return any(VENDOR in text for source in self._sources.values() for text in source.texts)

    def _ran(self) -> frozenset[str | None] | None:
        """Return the files that the command is seen to run; None if it is no Python."""
        start = self._start
        if start is None:
            return None
        if start.script is not None:
            waiting: list[str | None] = [start.script]
        elif start.module is not None:
            names = (start.module, f"{start.module}.__main__")
            waiting = [path for name in names for path in self._paths(name, self._roots) or ()]
        else:
            waiting = [None]
        seen: set[str | None] = set()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            for one in self._sources[path].imports if path in self._sources else ():
                waiting += self._find(one, path) or ()
        return frozenset(seen)

    def _find(self, one: Import, importer: str | None) -> list[str] | None:
        """Return the files of the code that an import runs; None if it is not in the code."""
        if one.level:
            if importer is None:
                return None
            parents = importer.split("/")[:-1]
            if one.level - 1 > len(parents):
                return None
            roots: tuple[str, ...] = ("".join(f"{part}/" for part in parents[: len(parents) - one.level + 1]),)
        else:
            roots = self._roots
        found = self._paths(one.module, roots) if one.module else []
        if found is None:
            return None
        for name in one.names:
            found = found + (self._paths(f"{one.module}.{name}".strip("."), roots) or [])
        return found

    def _paths(self, module: str, roots: Sequence[str]) -> list[str] | None:
        """Return the files that importing a module runs, packages first; None if there is none in `roots`."""
        for root in roots:
            found: list[str] = []
            place = root
            for part in module.split("."):
                kind = self._kind(f"{place}{part}")
                if kind is None:
                    break
                found += [kind] if kind else []
                place = f"{place}{part}/"
            else:
                return found
        return None

    def _kind(self, path: str) -> str | None:
        """Return the file of a module, "" for a folder or an extension; None if there is none."""
        for name in (f"{path}/__init__.py", f"{path}.py"):
            if name in self._members:
                return name
        inside = any(
            one.startswith(f"{path}/") or (one.startswith(f"{path}.") and one.endswith(".so")) for one in self._members
        )
        return "" if inside else None

    def _from_elsewhere(self, one: Import) -> bool:
        standard = one.level == 0 and one.module.partition(".")[0] in self._standard
        return standard and (self._unclear or self._own(one) is None)

    def _own(self, one: Import) -> list[str] | None:
        return self._paths(one.module.partition(".")[0], self._roots)

    def _travels(self, one: Import) -> bool:
        """Whether a package that travels along has the module; if it is not known yet, whether one is called like it."""
        top = one.module.partition(".")[0]
        if self._vendored is not None:
            return any(path.startswith((f"{top}/", f"{top}.")) for path in self._vendored)
        return any(_plain(name) in self._required for name in (top, _OTHER_NAMES.get(top, top)))

    def _missing(self, one: Import, path: str | None, *, certain: bool) -> Gap:
        top = one.module.partition(".")[0]
        told = "." * one.level + one.module
        if one.level or self._own(one) is not None:
            text, hint = f"imports '{told}', which is not in the code", self._near(top) or "is the file ignored?"
        else:
            text = f"imports '{told}', which is neither Python's own ({self._python}) nor in the code"
            if REQUIREMENTS in self._members:
                text += (
                    f", nor named in {REQUIREMENTS}"
                    if self._vendored is None
                    else f", nor in what {REQUIREMENTS} names"
                )
                certain = certain and self._vendored is not None  # a package may be called otherwise, or need this one
            package = _OTHER_NAMES.get(top, top)
            hint = self._near(top) or f"name '{package}' in {REQUIREMENTS} of the code folder, and it travels along"
            hint += f"; if the base image has it: --allow import.missing:{top}"
        return Gap(code="import.missing", path=path, line=one.line, text=text, hint=hint, certain=certain, about=top)

    def _near(self, top: str) -> str | None:
        own = {part for path in self._members if path.endswith(".py") for part in path.removesuffix(".py").split("/")}
        near = did_you_mean(top, own | self._standard - {"__main__"})
        return near if near and near.startswith("did you mean") else None

    def _unlisted(self, one: Import, path: str | None, *, certain: bool) -> Gap:
        text = f"imports '{one.module}', which travels in {VENDOR}/, but nothing looks there"
        hint = f'begin the program with: import sys; sys.path.insert(0, "{VENDOR}")'
        return Gap(code="import.vendor", path=path, line=one.line, text=text, hint=hint, certain=certain and one.sure)


def _less(gap: Gap) -> Gap:
    return Gap(
        code=gap.code,
        path=gap.path,
        line=gap.line,
        text=gap.text,
        hint="nothing that the command runs is seen to import it; leave it out with .phtignore if it is not used",
        certain=False,
        about=gap.about,
    )


def _start(command: Sequence[str]) -> _Start | None:
    """Read a Python command line (``man python3``): options, then a script, ``-m MODULE`` or ``-c TEXT``."""
    if not command or _PROGRAM.fullmatch(command[0]) is None:
        return None
    words = iter(command[1:])
    for word in words:
        if word in _WITH_WORD:
            next(words, None)
        elif word == "-m":
            return _Start(module=next(words, ""))
        elif word == "-c":
            return _Start(text=next(words, ""))
        elif not word.startswith("-"):
            script = word.removeprefix(_HERE).removeprefix("./")
            return None if script.startswith("/") else _Start(script=script)
    return None


def _requirements(member: Member | None) -> frozenset[str]:
    if member is None:
        return frozenset()
    with member.open() as source:
        lines = source.read(_LOOK).decode("utf-8", "replace").splitlines()
    found: Mapping[str, None] = {_plain(match[1]): None for match in map(_REQUIRED.match, lines) if match}
    return frozenset(found)


def _plain(name: str) -> str:
    """Return a package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
