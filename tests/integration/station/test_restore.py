"""Backup and restore, typed as the handbook has them, after a daemon that was killed."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from security.digest import Digest
from security.ids import TrainId
from station.desk.opening import station_at
from station.journal.journal import Journal
from station.visit.station_events import KeyUsed
from tests.support.desk import Desk, copy_of, furnished

__all__ = ["furnished"]  # a fixture

HANDBOOK = Path(__file__).parents[3] / "docs" / "handbook.md"
TRAIN = TrainId("5" * 64)


def type_in(heading: str, place: Path) -> None:
    """Type what is shown under a heading, but for the daemon's own commands and `pht`; the station lies below `place`."""
    part = HANDBOOK.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)).splitlines()
    typed = [line.removeprefix("sudo ") for line in lines if not re.match(r"(sudo systemctl|pht) ", line)]
    here = {"/srv/pht": str(place), "/backup": str(place / "backup")}
    script = re.sub("/srv/pht|/backup", lambda found: here[found[0]], "\n".join(typed))
    subprocess.run(["sh", "-ec", script], check=True)


def test_a_restored_station_is_that_of_the_backup(furnished: Desk, tmp_path: Path) -> None:
    """On the same machine, whose daemon was killed: what it had not yet written into its journal's file lies beside it."""
    desk, place = copy_of(furnished, tmp_path / "desk"), tmp_path / "srv"
    (place / "backup").mkdir(parents=True)
    (desk.path / "hospital-a").rename(place / "station")
    type_in("Backup", place)
    journal, passes = station_at(place / "station").journal, place / "station" / "state" / "passes"
    with Journal.open(journal) as live:
        before = live.check().sequence
        live.note(KeyUsed(at=datetime.now(UTC), key_set=Digest.of_hex(TRAIN), purpose="after the backup"))
        subprocess.run(["cp", "-a", place / "station", place / "killed"], check=True)
    (place / "station").rename(place / "elsewhere")
    (place / "killed").rename(place / "station")
    assert (journal.parent / "journal.sqlite-wal").stat().st_size
    passes.mkdir()
    (passes / TRAIN).write_text("{}")
    type_in("Restore", place)
    with Journal.open(journal) as restored:
        assert restored.check().sequence == before
    assert not passes.exists()
