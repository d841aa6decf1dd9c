"""How does an operator make room in a station's folder?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock
from station.cli.options import folder_argument
from station.desk.opening import station_at
from station.desk.sweep import sweep_station, would_sweep


@click.command("sweep")
@folder_argument
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
def station_sweep(*, folder: Path, dry_run: bool) -> Answer:
    """Remove what trains that have left leave behind, once it is older or larger than 'retention' in station.yaml allows.

    A daemon does this by itself, after each departure and once an hour; with --dry-run this tells what it will remove.
    The journal is never shortened.
    """
    config = station_at(folder)
    found = would_sweep(config, clock.now()) if dry_run else sweep_station(config, clock.now())
    verb = "removed" if found.removed else "would remove"
    text = (
        f"{verb} {len(found.swept)} files, {found.swept_bytes} bytes; {found.left} files, {found.left_bytes} bytes stay"
    )
    return Answer(
        text=text,
        data={
            "removed": found.removed,
            "files": [{"digest": str(blob.digest), "bytes": blob.size} for blob in found.swept],
            "bytes": found.swept_bytes,
            "left": found.left,
            "left_bytes": found.left_bytes,
        },
    )
