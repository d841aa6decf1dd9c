"""Which packages does the code need, and how do they travel with it?

A ``requirements.txt`` in the code folder is resolved by pip, on the scientist's machine, to ready-made wheels for the
base image's Python (stations have no network). They are unpacked into ``vendor/`` of the sealed code; the user's folder
is not touched. ``PYTHONPATH`` is not a train's to set, so the program begins with ``sys.path.insert(0, "vendor")``.

``vendor/WHEELS.txt`` notes each wheel's file name and SHA-256, for the stations' readers.
"""

from __future__ import annotations

import lzma
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from security.archive import Member, members_of
from security.digest import BUFFER, Digest, digest_stream
from security.files import make_folder, read_file, told, write_file
from train_builder.errors import WheelsUnresolved

REQUIREMENTS: Final = "requirements.txt"
VENDOR: Final = "vendor"
NOTE: Final = "WHEELS.txt"
PYTHON: Final = "3.11"
MACHINE: Final = "x86_64"
MAX_BYTES: Final = 1 << 30
MAX_FILES: Final = 10_000

_MOST_TEXT: Final = 1 << 20
_OPTIONS: Final = frozenset(
    {"--no-index", "--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--only-binary", "--require-hashes"}
    | {"--prefer-binary", "--pre", "--hash"}
)
_PLACE = re.compile(r"[/\\@]|^\.|://")
_WHEEL = re.compile(r"\.whl(#\S*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The Python a train will run on. The defaults are those of the base images made here: Debian 12."""

    python: str = PYTHON
    machine: str = MACHINE
    glibc: tuple[int, ...] = (36, 35, 34, 31, 28, 27, 24, 17)

    def options(self) -> tuple[str, ...]:
        """Return pip's options that ask for wheels this Python can use."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in self.glibc]
        platforms += [f"manylinux2014_{self.machine}"]
        named = [word for platform in platforms for word in ("--platform", platform)]
        return ("--only-binary", ":all:", "--python-version", self.python, "--implementation", "cp", *named)


DEBIAN_12: Final = Target()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that was fetched: its file name, which tells name and version, and its digest."""

    file: str
    digest: Digest


def vendor(requirements: Path, target: Target, *, into: Path) -> tuple[tuple[Wheel, ...], tuple[Member, ...]]:
    """Fetch the wheels a requirements file asks for and unpack them below an empty folder `into`.

    Returns the wheels, and what is to be added to the code: files below ``vendor/``.

    Raises:
        WheelsUnresolved: pip finds no such wheels or cannot reach its index; a wheel is no plain archive, or too large.
    """
    fetched, tree = make_folder(into / "wheels"), make_folder(into / "tree" / VENDOR)
    _need_plain(requirements)
    _download(requirements, target, fetched)
    wheels = []
    budget = [MAX_BYTES, MAX_FILES]
    for path in sorted(fetched.iterdir()):
        with told(path), path.open("rb") as source:
            digest, _ = digest_stream(source)
        wheels.append(Wheel(file=path.name, digest=digest))
        _unpack(path, tree, budget)
    note = "".join(f"{wheel.digest.hex}  {wheel.file}\n" for wheel in wheels)
    write_file(tree / NOTE, note.encode())
    return tuple(wheels), members_of(into / "tree")


def _need_plain(requirements: Path) -> None:
    """Refuse lines that make pip build something, whatever its options say: that would run a stranger's code here.

    The forms are those of pip's "Requirements File Format"; a wheel may be named by its path or address.
    """
    text = read_file(requirements, limit=_MOST_TEXT).decode("utf-8", "replace").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), start=1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        told = words[0].partition("=")[0] if words else ""
        place = " ".join(words).partition(" ;")[0].partition(" --")[0]
        option = told.startswith("-") and told not in _OPTIONS
        built = not told.startswith("-") and _PLACE.search(place) and not _WHEEL.search(place)
        if option or built:
            msg = "a line of the requirements asks for a build, or for a download from elsewhere"
            hint = "name packages and versions; only ready-made wheels travel"
            raise WheelsUnresolved(msg, requirements=requirements, line=number, hint=hint)


def _download(requirements: Path, target: Target, into: Path) -> None:
    command = [
        # -P: "-m" would look for pip and all it imports in the current folder first, and that is the train's
        *(sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"),
        *("--dest", str(into.absolute()), "--requirement", requirements.name, *target.options()),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and a list of words: no shell
            command, cwd=requirements.parent, capture_output=True, text=True, check=False, timeout=1800
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = "pip cannot be run, or took longer than half an hour"
        hint = f"try 'pip download -r {REQUIREMENTS}' in the code folder: can the package index be reached?"
        raise WheelsUnresolved(msg, requirements=requirements, reason=type(error).__name__, hint=hint) from error
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        msg = "pip cannot meet the requirements"
        reason = reasons[-1].removeprefix("ERROR: ")[:200] if reasons else f"exit status {done.returncode}"
        raise WheelsUnresolved(msg, requirements=requirements, python=target.python, reason=reason)


def _unpack(path: Path, tree: Path, budget: list[int]) -> None:
    """Unpack one wheel (PEP 427): its modules, and those under ``.data/purelib`` and ``platlib``; nothing else of it."""
    try:
        with zipfile.ZipFile(path) as wheel:
            for entry, name in _modules(wheel.infolist()):
                budget[0] -= entry.file_size
                budget[1] -= 1
                if min(budget) < 0:
                    msg = "the packages are too large to travel"
                    hint = (
                        f"1 GiB and {MAX_FILES} files travel at most: name fewer packages in {REQUIREMENTS}, or ask the"
                        " consortium for a base image that has them"
                    )
                    raise WheelsUnresolved(msg, at=path.name, hint=hint)
                make_folder((tree / name).parent)
                with told(tree / name), wheel.open(entry) as source, (tree / name).open("xb") as out:
                    left = entry.file_size
                    while piece := source.read(min(BUFFER, left + 1)):
                        left -= len(piece)
                        out.write(piece)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
        msg = "a wheel is damaged"
        hint = "remove it from pip's cache ('pip cache purge') and try again; if it stays so, tell who made the package"
        raise WheelsUnresolved(msg, wheel=path.name, reason=str(error)[:100], hint=hint) from error


def _modules(entries: Sequence[zipfile.ZipInfo]) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or not name.parts:
            msg = "a wheel holds a file with an impossible name"
            raise ValueError(msg)
        if entry.is_dir():
            continue
        parts = name.parts
        if parts[0].endswith(".data"):
            if parts[1:2] not in {("purelib",), ("platlib",)}:
                continue
            parts = parts[2:]
        yield entry, PurePosixPath(*parts)
