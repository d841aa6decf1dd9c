"""Does every kind of data source behave alike?

One suite, run against a folder of this machine, which is given to runs as it is, and against a source that copies.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from security.ids import TrainId
from security.train.manifest import DataNeed
from station.data.folder import FolderSource, closed
from station.data.port import Asked, DataSource, Reader
from station.errors import DataClosed, DataSourceUnavailable
from station.sandbox.folder import hand_over
from tests.support.copying_source import CopyingSource

BACKINGS = ("folder", "copying")
FILES = {"2024/patients.csv": "id\n1\n", "2025/patients.csv": "id\n2\n", "notes.txt": "none\n"}
RUN = Reader(uid=65532, gid=65532)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A source, the place its data are in, and an empty folder of a workroom."""

    source: DataSource
    store: Path
    room: Path

    def furnish(self, *files: str, reader: Reader | None = RUN) -> Path:
        """Furnish as the step does: into an empty folder, which is handed over."""
        into = self.room / str(len(list(self.room.iterdir())))
        into.mkdir(mode=0o700)
        scratch = self.room / f"{into.name}.scratch"
        scratch.mkdir()
        asked = Asked(need=need(*files), train=TrainId("0" * 64), reader=reader)
        place = self.source.furnish(asked, into, scratch).folder
        if reader is not None:
            hand_over(into, reader.uid, reader.gid)
        return place


@pytest.fixture(params=BACKINGS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    store, room = tmp_path / "store", tmp_path / "room"
    room.mkdir()
    for name, text in FILES.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(text)
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    source: DataSource = (
        FolderSource(name="patients", folder=store) if request.param == "folder" else CopyingSource("patients", store)
    )
    return Bench(source=source, store=store, room=room)


def need(*files: str) -> DataNeed:
    return DataNeed(name="patients", description="", files=files or ("*/*.csv",))


def held(place: Path) -> dict[str, str]:
    return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}


def test_what_is_there_is_in_order(bench: Bench) -> None:
    for reader in (RUN, None):
        findings = bench.source.check(reader)
        assert findings
        assert all(one.ok for one in findings)
        assert {one.name for one in findings} == {"data patients"}


def test_what_is_not_there_is_a_finding_that_says_what_to_do(bench: Bench) -> None:
    bench.store.rename(bench.store.with_name("elsewhere"))
    wrong = [one for one in bench.source.check(RUN) if not one.ok]
    assert wrong
    assert all(one.hint for one in wrong)


def test_only_what_nothing_matches_is_missing(bench: Bench) -> None:
    assert bench.source.missing(need("*/*.csv", "notes.txt")) == ()
    assert bench.source.missing(need("*.csv", "*/*.csv", "2026/*")) == ("*.csv", "2026/*")
    assert bench.source.missing(DataNeed(name="patients", description="", files=())) == ()


def test_what_a_train_asked_for_is_furnished(bench: Bench) -> None:
    wanted = {name: text for name, text in FILES.items() if name.endswith(".csv")}
    for reader in (RUN, None):
        assert wanted.items() <= held(bench.furnish(reader=reader)).items()


def test_furnishing_again_gives_the_same_and_changes_nothing_where_the_data_live(bench: Bench) -> None:
    first, again = (held(bench.furnish()) for _ in range(2))
    assert first == again
    assert held(bench.store) == FILES


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_what_is_furnished_can_be_read_by_the_run_or_the_train_waits(bench: Bench, mode: int) -> None:
    (bench.store / "2024" / "patients.csv").chmod(mode)
    reader = Reader(uid=65532, gid=65532) if os.geteuid() == 0 else Reader(uid=os.geteuid(), gid=os.getegid())
    if all(one.ok for one in bench.source.check(reader)):
        assert closed(bench.furnish(reader=reader), reader.uid, reader.gid, ["*/*.csv"]) is None
    else:
        with pytest.raises(DataClosed):
            bench.furnish(reader=reader)


def test_a_source_that_is_away_makes_the_train_wait_and_is_there_again(bench: Bench) -> None:
    elsewhere = bench.store.with_name("elsewhere")
    bench.store.rename(elsewhere)
    with pytest.raises(DataSourceUnavailable):
        bench.source.missing(need())
    with pytest.raises(DataSourceUnavailable):
        bench.furnish()
    elsewhere.rename(bench.store)
    assert bench.source.missing(need()) == ()
    assert held(bench.furnish())


def test_the_kind_is_a_word_for_the_journal(bench: Bench) -> None:
    assert bench.source.kind.isidentifier()
