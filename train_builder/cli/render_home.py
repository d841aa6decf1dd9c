"""How are a home, a train that was just begun, and the trains made here shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from console.answer import Answer
from security.digest import digest_of
from security.encoding import Json, print_time
from security.keys.keyset import spell
from train_builder.desk.trains import TrainSummary
from train_builder.home import Home
from train_builder.spec.spec import SPEC_FILE


def render_home(home: Home, root: bytes) -> Answer:
    """Render a home folder that was set up, and what to do next."""
    lines = [f"{home.party} at {home.settings.registry}", f"  root  {spell(digest_of(root))}"]
    if not home.keys.is_dir():
        lines.append(f"next: pht keys new {home.keys} --party {home.party} --role owner")
    else:
        lines.append(f"next: pht keys card {home.keys} -o {home.party}.card.json, for the consortium, if it has none")
    lines.append("then: pht train stations, pht train init my-train")
    data: dict[str, Json] = {"home": str(home.path), "party": str(home.party), "root": str(digest_of(root))}
    return Answer(text="\n".join(lines), data=data)


def render_begun(folder: Path, files: Sequence[str], *, approved: bool) -> Answer:
    """Render a train that was just begun, and what to do next."""
    lines = [f"made {folder}", *(f"  {path}" for path in files), f"next: pht train rehearse {folder}"]
    if not approved:
        lines.append(f"then: write the reference of your approval into {folder / SPEC_FILE}")
    lines.append(f"then: pht train check {folder}")
    return Answer(text="\n".join(lines), data={"folder": str(folder), "files": list(files)})


def render_trains(trains: Sequence[TrainSummary]) -> Answer:
    """Render trains as a table, in their order."""
    width = max((len(one.state) for one in trains), default=0)
    lines = [f"{'train':<12}  {'made':<20}  {'state':<{width}}  {'as of':<20}  name"]
    lines += [
        f"{one.train.short}  {print_time(one.recorded)}  {one.state:<{width}}  {_looked(one):<20}  {one.name}"
        for one in trains
    ]
    listed: list[Json] = [
        {
            "train": str(one.train),
            "name": one.name,
            "state": one.state,
            "looked": None if one.looked is None else print_time(one.looked),
        }
        for one in trains
    ]
    none = "no trains yet; 'pht train submit' sends one"
    return Answer(text="\n".join(lines) if trains else none, data={"trains": listed})


def _looked(train: TrainSummary) -> str:
    return "never looked" if train.looked is None else print_time(train.looked)
