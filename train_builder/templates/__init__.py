"""How does a new train begin?

Each folder beside this file is a whole train that runs as it is.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from security.errors import InvalidInput
from security.files import make_folder, making_folder, write_file
from security.ids import PartyId
from security.train.manifest import NAMES
from train_builder.errors import FolderNotEmpty

TEMPLATES: Final = ("python", "shell", "rounds")
_EXECUTABLE: Final = ".sh"
_SAMPLES: Final = re.compile(r"samples/([^/]+)/(.+)")
_MOST_WORDS: Final = 300


def start_train(
    template: str,
    folder: Path,
    *,
    name: str | None = None,
    route: Sequence[PartyId] = (),
    approval: str | None = None,
) -> tuple[str, ...]:
    """Copy a template into a folder that does not exist yet or is empty; return the files made.

    The train is called `name`, or else like the folder if that is a name for a train. Each station of the `route` gets
    samples; `approval` is the reference that covers the analysis.

    Raises:
        FolderNotEmpty: there is something in the folder already.
        InvalidInput: no such template, or `name` is no name for a train, or `approval` is no reference.
    """
    if template not in TEMPLATES:
        msg = "no such template"
        raise InvalidInput(msg, template=template[:40], known=", ".join(TEMPLATES))
    if name is not None and re.fullmatch(NAMES, name) is None:
        msg = "not a name for a train (1 to 60 of a-z, 0-9 and '-', with no '-' at either end)"
        raise InvalidInput(msg, name=name[:80])
    if approval is not None and not (approval.strip() and approval.isprintable() and len(approval) <= _MOST_WORDS):
        msg = "not a reference (one line of at most 300 characters)"
        raise InvalidInput(msg, approval=repr(approval)[:80])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = "the folder for the new train is not empty"
        raise FolderNotEmpty(msg, path=folder)
    called = name or (folder.name if re.fullmatch(NAMES, folder.name) else "my-train")
    made = []
    with making_folder(folder) as new:
        new.chmod(0o755)
        for path, data in _for_route(dict(_files(importlib.resources.files(__name__) / template, "")), route).items():
            make_folder((new / path).parent, mode=0o755)
            content = _personal(data, called, route, approval) if path == "train.yaml" else data
            write_file(new / path, content, mode=0o755 if path.endswith(_EXECUTABLE) else 0o644)
            made.append(path)
    return tuple(sorted(made))


def _for_route(files: Mapping[str, bytes], route: Sequence[PartyId]) -> Mapping[str, bytes]:
    """Give the samples of the template's stations to those of the route, in turn."""
    if not route:
        return files
    samples: dict[str, dict[str, bytes]] = {}
    made = {}
    for path, data in files.items():
        match = _SAMPLES.fullmatch(path)
        if match is None:
            made[path] = data
        else:
            samples.setdefault(match[1], {})[match[2]] = data
    given = [samples[station] for station in sorted(samples)]
    for number, party in enumerate(dict.fromkeys(route)):
        made |= {f"samples/{party}/{path}": data for path, data in given[number % len(given)].items()}
    return made


def _personal(data: bytes, name: str, route: Sequence[PartyId], approval: str | None) -> bytes:
    text = data.decode()
    text = re.sub(r"(?m)^train: .*$", f"train: {name}", text)
    if route:
        text = re.sub(r"(?m)^(route|  stations): .*$", lambda found: f"{found[1]}: [{', '.join(route)}]", text)
        text = re.sub(r"(?m)^  junction: .*$", f"  junction: {route[0]}", text)
    if approval is not None:
        quoted = json.dumps(approval, ensure_ascii=False)  # YAML reads what JSON quotes
        text = re.sub(r"(?m)^(  reference: ).*$", lambda found: found[1] + quoted, text)
    return text.encode()


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()
