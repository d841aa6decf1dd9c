"""How is a new station shown to a person, and to a program?"""

from __future__ import annotations

from pathlib import Path

from console.answer import Answer
from security.keys.keyset import spell
from station.desk.setup import NewStation, StationMade


def render_made(folder: Path, new: NewStation, made: StationMade, *, pinned: bool) -> Answer:
    """Render a new station, and what to do next."""
    spelled = spell(made.fingerprint)
    steps = [
        f"send {made.card} to the consortium, and read out its fingerprint over the phone:",
        f"  {spelled}",
        *([] if pinned else [f"put the consortium's root.json at {made.config.directory.root_file}"]),
        f"read {made.config.file}, and change what you need",
        f"pht station check {folder}",
    ]
    return Answer(
        text="\n".join([f"made {folder}", _who_decides(new), *steps]),
        data={
            "folder": str(folder),
            "config": str(made.config.file),
            "card": str(made.card),
            "fingerprint": made.fingerprint,
            "spelled": spelled,
            "pinned": pinned,
            "approve": made.config.admission.approve.value,
            "release": "by-hand" if made.config.release_by_hand else "small-json",
            "releaseTypes": list(new.release),
        },
    )


def _who_decides(new: NewStation) -> str:
    if new.asks:
        return "a person approves each train and releases its results" + (
            "" if new.admit else "; no owner is admitted yet"
        )
    unseen = " and ".join(["small JSON under a schema", *new.release])
    return f"trains of {', '.join(new.admit)} run unasked; of their results {unseen} leave unseen, all else waits for a person"
