"""The spool on a real file system."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RegistryUnavailable
from security.digest import CheckedReader, Digest, Prefix, digest_of
from security.errors import BudgetExceeded, DigestMismatch
from station.errors import SpoolDamaged
from station.house.spool import Spool
from station.visit.events import Blob
from tests.support.visits import digest

if TYPE_CHECKING:
    from typing_extensions import Buffer

ROOT = Path(__file__).resolve().parents[3]
DATA = b"ciphertext" * 1000
BLOB = Blob(digest=digest_of(DATA), size=len(DATA))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def names(spool: Spool) -> list[str]:
    return sorted(one.name for one in spool.path.iterdir()) if spool.path.exists() else []


def test_what_was_put_is_read_again(spool: Spool) -> None:
    assert not spool.has(BLOB.digest)
    spool.put(BLOB.digest, BLOB.size, io.BytesIO(DATA))
    spool.put(BLOB.digest, BLOB.size, io.BytesIO(DATA))
    assert spool.has(BLOB.digest)
    with spool.read(BLOB) as reader:
        assert reader.read() == DATA
    assert spool.document(BLOB.digest, limit=len(DATA)) == DATA
    assert names(spool) == [BLOB.digest.hex]
    assert stat.S_IMODE(spool.at(BLOB.digest).stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("size", "data", "error"),
    [
        (BLOB.size, DATA[:-1], DigestMismatch),
        (BLOB.size, DATA[:-1] + b"X", DigestMismatch),
        (BLOB.size, DATA + b"more", BudgetExceeded),
        (BLOB.size + 1, DATA, DigestMismatch),
    ],
)
def test_what_was_not_announced_is_not_kept(spool: Spool, size: int, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        spool.put(BLOB.digest, size, io.BytesIO(data))
    assert names(spool) == []


class Remote:
    """What a registry sends, and breaks off after so many bytes each time."""

    def __init__(self, *breaks: int, data: bytes = DATA) -> None:
        self.data, self.breaks, self.asked = data, list(breaks), list[int]()

    def rest(self, after: Prefix) -> CheckedReader:
        self.asked.append(after.size)
        broken = Broken(self.data[after.size :], self.breaks.pop(0) if self.breaks else None)
        return CheckedReader(broken, BLOB.digest, BLOB.size, after)


class Broken(io.BytesIO):
    def __init__(self, data: bytes, after: int | None) -> None:
        super().__init__(data if after is None else data[:after])
        self._ends = after is None

    def readinto(self, buffer: Buffer, /) -> int:
        count = super().readinto(memoryview(buffer)[:100])
        if not count and not self._ends:
            msg = "the connection broke"
            raise RegistryUnavailable(msg)
        return count


def test_after_a_break_only_the_rest_is_asked_for(spool: Spool) -> None:
    remote = Remote(3000, 2500)
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            spool.fetch(BLOB.digest, BLOB.size, remote.rest)
        assert not spool.has(BLOB.digest)
        assert spool.blobs() == ()
        spool = Spool(spool.path)  # as after a restart
        spool.clear_unfinished()
        assert spool.sweep(tuple) == ()
    spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    assert remote.asked == [0, 3000, 5500]
    assert names(spool) == [BLOB.digest.hex]
    assert stat.S_IMODE(spool.at(BLOB.digest).stat().st_mode) == 0o600
    with spool.read(BLOB) as reader:
        assert reader.read() == DATA


def test_a_part_that_was_damaged_is_fetched_again_whole(spool: Spool) -> None:
    """As a crash of the machine leaves it: the length is there, the bytes are not."""
    remote = Remote(3000)
    with pytest.raises(RegistryUnavailable):
        spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    (part,) = spool.path.iterdir()
    part.write_bytes(bytes(3000))
    spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    assert remote.asked == [0, 3000, 0]
    assert spool.at(BLOB.digest).read_bytes() == DATA
    assert names(spool) == [BLOB.digest.hex]


@pytest.mark.parametrize("length", [len(DATA), len(DATA) + 1, 3 * len(DATA)])
def test_a_part_that_is_no_part_is_fetched_again_whole(spool: Spool, length: int) -> None:
    remote = Remote(10)
    with pytest.raises(RegistryUnavailable):
        spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    (part,) = spool.path.iterdir()
    part.write_bytes(bytes(length))
    spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    assert remote.asked == [0, 0]
    assert spool.at(BLOB.digest).read_bytes() == DATA


@pytest.mark.parametrize("begun", [0, 3000])
def test_what_a_registry_sends_instead_is_not_kept(spool: Spool, begun: int) -> None:
    if begun:
        with pytest.raises(RegistryUnavailable):
            spool.fetch(BLOB.digest, BLOB.size, Remote(begun).rest)
    remote = Remote(data=DATA[:-1] + b"X")
    with pytest.raises(DigestMismatch):
        spool.fetch(BLOB.digest, BLOB.size, remote.rest)
    assert remote.asked == ([begun, 0] if begun else [0])
    assert names(spool) == []


def test_two_that_fetch_the_same_do_not_write_into_each_other(spool: Spool) -> None:
    inner = Remote()

    def rest(after: Prefix) -> CheckedReader:
        Spool(spool.path).fetch(BLOB.digest, BLOB.size, inner.rest)  # another visit, just now
        return outer.rest(after)

    outer = Remote()
    spool.fetch(BLOB.digest, BLOB.size, rest)
    assert (inner.asked, outer.asked) == ([0], [0])
    assert names(spool) == [BLOB.digest.hex]
    assert spool.at(BLOB.digest).read_bytes() == DATA


def test_a_part_that_nobody_goes_on_with_is_swept_in_the_end(spool: Spool) -> None:
    spool.clear_abandoned(datetime.now(UTC))
    with pytest.raises(RegistryUnavailable):
        spool.fetch(BLOB.digest, BLOB.size, Remote(3000).rest)
    (part,) = spool.path.iterdir()
    touched = datetime.fromtimestamp(part.stat().st_mtime, UTC)
    spool.clear_abandoned(touched - timedelta(seconds=1))
    assert list(spool.path.iterdir()) == [part]
    spool.clear_abandoned(touched + timedelta(seconds=1))
    assert names(spool) == []


def test_a_part_that_is_being_fetched_is_not_swept(spool: Spool) -> None:
    remote = Remote()

    def rest(after: Prefix) -> CheckedReader:
        spool.clear_abandoned(datetime.now(UTC) + timedelta(days=1))
        return remote.rest(after)

    spool.fetch(BLOB.digest, BLOB.size, rest)
    assert spool.at(BLOB.digest).read_bytes() == DATA


def test_a_document_is_named_by_its_digest(spool: Spool) -> None:
    assert spool.keep(b"signed") == digest_of(b"signed")
    assert spool.keep(b"signed") == digest_of(b"signed")
    assert names(spool) == [digest_of(b"signed").hex]


@given(pieces=st.lists(st.binary(max_size=50), max_size=8))
def test_what_is_written_in_pieces_is_one_blob(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    with spool.writing() as writer:
        for piece in pieces:
            assert writer.write(memoryview(piece)) == len(piece)
    whole = b"".join(pieces)
    assert writer.blob == Blob(digest=digest_of(whole), size=len(whole))
    with spool.read(writer.blob) as reader:
        assert reader.read() == whole


def test_what_was_not_finished_is_not_there(spool: Spool) -> None:
    def breaks_off() -> None:
        with spool.writing() as writer:
            writer.write(DATA)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks_off()
    assert names(spool) == []


WRITER = """
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from station.house.spool import Spool
with Spool(Path(sys.argv[1])).writing() as writer:
    writer.write(b"half")
    writer._sink.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_is_swept(spool: Spool) -> None:
    kept, dropped = spool.keep(b"kept"), spool.keep(b"dropped")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(spool.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    assert writer.stdout.readline() == b"written\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.stdin.close()
    writer.stdout.close()
    writer.wait()
    assert len(names(spool)) == 3
    assert [one.digest for one in spool.sweep(lambda: {kept})] == [dropped]
    spool.clear_unfinished()
    assert names(spool) == [kept.hex]


def test_a_sweep_leaves_what_is_being_written(spool: Spool) -> None:
    with spool.writing() as writer:
        writer.write(b"half")
        assert spool.sweep(tuple) == ()
        writer.write(b" and half")
    assert names(spool) == [digest("half and half").hex]


@pytest.mark.parametrize("how", ["kept", "put", "found"])
def test_what_a_step_holds_is_not_swept_until_it_lets_go(spool: Spool, how: str) -> None:
    blob = digest("data")
    if how == "found":
        spool.keep(b"data")
    with spool.holding():
        if how == "kept":
            spool.keep(b"data")
        elif how == "put":
            spool.put(blob, 4, io.BytesIO(b"data"))
        else:
            assert spool.has(blob)
        spool.settle()
        assert spool.has(blob)
        assert spool.sweep(tuple) == ()
    assert [one.digest for one in spool.sweep(tuple)] == [blob]


def test_what_is_recorded_and_let_go_of_during_a_sweep_is_spared(spool: Spool) -> None:
    """The references were asked for before it was recorded: only that it was held at the time saves it."""
    blob = spool.keep(b"data")
    found, asked, done = threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        with spool.holding():
            assert spool.has(blob)
            found.set()
            assert asked.wait(10)
        done.set()

    def references() -> set[Digest]:
        asked.set()
        assert done.wait(10)
        return set()

    worker = threading.Thread(target=step)
    worker.start()
    assert found.wait(10)
    assert spool.sweep(references) == ()
    worker.join()
    assert spool.has(blob)


def test_what_is_found_during_a_sweep_is_spared(spool: Spool) -> None:
    blob = spool.keep(b"data")

    def references() -> set[Digest]:
        with spool.holding():
            assert spool.has(blob)
        return set()

    assert spool.sweep(references) == ()
    assert spool.has(blob)


def test_sweeping_takes_what_nobody_refers_to_and_nothing_else(spool: Spool) -> None:
    assert spool.sweep(tuple) == ()
    kept = spool.keep(b"kept")
    (spool.path / "a note of the operator").write_text("")
    assert spool.sweep(lambda: {kept, digest("not there")}) == ()
    assert [one.digest for one in spool.sweep(tuple)] == [kept]
    assert names(spool) == ["a note of the operator"]


def _gone(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, 5)


def _flipped(path: Path) -> None:
    path.write_bytes(b"X" + DATA[1:])


def _longer(path: Path) -> None:
    path.write_bytes(DATA + b"X")


@pytest.mark.parametrize("spoil", [_gone, _cut, _flipped, _longer])
def test_damage_on_our_own_disk_is_our_own_trouble(spool: Spool, spoil: object) -> None:
    assert callable(spoil)
    spoil(spool.at(spool.keep(DATA)))
    with pytest.raises(SpoolDamaged), spool.read(BLOB) as reader:
        reader.read()
    with pytest.raises(SpoolDamaged):
        spool.document(Digest(BLOB.digest), limit=len(DATA) + 10)


def test_a_document_has_a_limit(spool: Spool) -> None:
    spool.keep(DATA)
    with pytest.raises(SpoolDamaged):
        spool.document(BLOB.digest, limit=10)


def test_nothing_is_swept_between_being_kept_and_being_named(spool: Spool) -> None:
    """An operator's command signs a head while the daemon sweeps."""
    named: set[Digest] = set()

    def daemon() -> None:
        with Spool(spool.path).unswept():
            spool.sweep(lambda: named)

    sweeping = threading.Thread(target=daemon)
    with spool.unswept():
        kept = spool.keep(b"a signed head")
        sweeping.start()
        sweeping.join(0.2)  # it would have swept by now
        named.add(kept)
    sweeping.join()
    assert spool.has(kept)
    assert [one.digest for one in spool.sweep(tuple)] == [kept]
