"""T16, T17: archives that would write elsewhere, write something else, or never end."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from security.archive import Budget, unpack
from security.errors import ArchiveRejected, BudgetExceeded, Malformed
from security.ustar import END, Entry, write_header
from tests.support.sealing import ROOMY, archive_of, entry, files_below, unpacked, whole


def _kind(kind: bytes, target: bytes = b"") -> Callable[[bytearray], None]:
    def change(header: bytearray) -> None:
        header[156:157] = kind
        header[157:257] = target.ljust(100, b"\0")

    return change


def _at(offset: int, value: bytes) -> Callable[[bytearray], None]:
    def change(header: bytearray) -> None:
        header[offset : offset + len(value)] = value

    return change


def _from_tarfile(style: int, **facts: object) -> bytes:
    """Return an archive as the standard library writes it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=style) as archive:
        info = tarfile.TarInfo("a")
        for name, value in facts.items():
            setattr(info, name, value)
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    return whole(sink.getvalue().rstrip(b"\0").ljust(1024, b"\0"))


def _wrong_checksum() -> bytes:
    spoiled = bytearray(entry("a", b"x"))
    spoiled[148:154] = b"000000"
    return bytes(spoiled)


def _folder(path: str, size: int = 0, mode: int = 0o755) -> bytes:
    return write_header(Entry(path=path, size=size, mode=mode, folder=True)) + bytes(-(-size // 512) * 512)


TRICKS = {
    "absolute path": whole(entry("/etc/cron.d/x", b"x")),
    "parent path": whole(entry("../x", b"x")),
    "parent path in the middle": whole(entry("a/../../x", b"x")),
    "parent folder": whole(entry("../", change=_kind(b"5"))),
    "dot path": whole(entry("./a", b"x")),
    "empty path": whole(entry("", b"x")),
    "empty part": whole(entry("a//b", b"x")),
    "file like a folder": whole(entry("a/", b"x")),
    "folder like a file": whole(entry("a", change=_kind(b"5"))),
    "backslash": whole(entry("..\\x", b"x")),
    "control character": whole(entry("a\x1b[2Jb", b"x")),
    "line feed": whole(entry("a\nb", b"x")),
    "right-to-left": whole(entry("a\u202ecod", b"x")),
    "not utf-8": whole(entry("a\udcff", b"x")),
    "hidden after the name": whole(entry("a", b"x", change=_at(50, b"hidden"))),
    "path outside through the prefix": whole(entry("x", b"x", change=_at(345, b"../.."))),
    "absolute prefix": whole(entry("x", b"x", change=_at(345, b"/etc"))),
    "another split of the path": whole(entry("b", b"x", change=_at(345, b"a"))),
    "symlink": whole(entry("a", change=_kind(b"2", b"/etc"))),
    "symlink and then through it": whole(entry("a", change=_kind(b"2", b"/tmp")), entry("a/b", b"x")),
    "hard link": whole(entry("a", change=_kind(b"1", b"/etc/passwd"))),
    "character device": whole(entry("a", change=_kind(b"3"))),
    "block device": whole(entry("a", change=_kind(b"4"))),
    "fifo": whole(entry("a", change=_kind(b"6"))),
    "contiguous file": whole(entry("a", b"x", change=_kind(b"7"))),
    "old file type": whole(entry("a", b"x", change=_kind(b"\0"))),
    "sparse file": whole(entry("a", b"x", change=_kind(b"S"))),
    "multi-volume": whole(entry("a", b"x", change=_kind(b"M"))),
    "long name override": whole(entry("././@LongLink", b"../../x\0", change=_kind(b"L")), entry("a", b"x")),
    "long link override": whole(entry("././@LongLink", b"/etc\0", change=_kind(b"K")), entry("a", b"x")),
    "pax override": whole(entry("pax", b"14 path=../x\n\n", change=_kind(b"x")), entry("a", b"x")),
    "global pax override": whole(entry("pax", b"14 path=../x\n\n", change=_kind(b"g")), entry("a", b"x")),
    "pax by the standard library": _from_tarfile(tarfile.PAX_FORMAT, name="é" * 80),
    "gnu by the standard library": _from_tarfile(tarfile.GNU_FORMAT, name="x" * 150),
    "gnu magic": whole(entry("a", b"x", change=_at(257, b"ustar  \0"))),
    "no magic": whole(entry("a", b"x", change=_at(257, bytes(8)))),
    "setuid": whole(entry("a", b"x", change=_at(100, b"0004755"))),
    "world-writable": whole(entry("a", b"x", change=_at(100, b"0000666"))),
    "owner": whole(entry("a", b"x", change=_at(108, b"0001750"))),
    "group": whole(entry("a", b"x", change=_at(116, b"0001750"))),
    "owner name": whole(entry("a", b"x", change=_at(265, b"root"))),
    "group name": whole(entry("a", b"x", change=_at(297, b"root"))),
    "time": whole(entry("a", b"x", change=_at(136, b"14371573300"))),
    "device numbers": whole(entry("a", b"x", change=_at(329, b"0000001"))),
    "link name on a file": whole(entry("a", b"x", change=_at(157, b"/etc"))),
    "something after the header": whole(entry("a", b"x", change=_at(505, b"x"))),
    "binary size": whole(entry("a", b"x", change=_at(124, b"\x80" + bytes(10) + b"\1"))),
    "negative size": whole(entry("a", b"x", change=_at(124, b"-0000000001"))),
    "size with spaces": whole(entry("a", b"x", change=_at(124, b"          1 "))),
    "size in decimal": whole(entry("a", b"x", change=_at(124, b"00000000009"))),
    "wrong checksum": whole(_wrong_checksum()),
    "same name twice": whole(entry("a", b"1"), entry("a", b"2")),
    "same name but for case": whole(entry("A", b"1"), entry("a", b"2")),
    "same name but for the unicode form": whole(entry("e\u0301", b"1"), entry("\xe9", b"2")),
    "same folder but for case": whole(entry("A/x", b"1"), entry("a/y", b"2")),
    "file and folder": whole(entry("a", b"1"), entry("a/b", b"2")),
    "file and folder but for case": whole(entry("A", b"1"), entry("a/b", b"2")),
    "folder after its file": whole(entry("a/b", b"1"), _folder("a")),
    "folder twice": whole(_folder("a"), _folder("a")),
    "folder with bytes": whole(_folder("a", size=5)),
    "folder of another mode": whole(_folder("a", mode=0o644)),
    "not in order": whole(entry("b", b"1"), entry("a", b"2")),
    "meta where none is expected": archive_of({}, b"{}"),
    "meta in another spelling": whole(entry("meta.json", b"{}")),
    "meta as a folder": whole(entry("META.json/a", b"{}")),
    "no end": entry("a", b"x").ljust(16 << 10, b"\1"),
    "half an end": (entry("a", b"x") + bytes(512) + b"x").ljust(16 << 10, b"\0"),
    "second archive behind the first": (entry("a", b"x") + END + entry("b", b"y")).ljust(16 << 10, b"\0"),
    "something in the padding": whole(entry("a", b"x"))[:-1] + b"x",
    "something in the filling": whole(entry("a", b"x")[:-1] + b"x"),
    "no padding": entry("a", b"x") + END,
    "too little padding": whole(entry("a", b"x"))[:-512],
    "too much padding": whole(entry("a", b"x")) + bytes(512),
    "padding of another size": whole(entry("a", bytes(100_000))) + bytes(4096),
    "file cut short": entry("a", bytes(100_000))[:50_000],
    "empty": b"",
    "not an archive": b"PK\3\4" + bytes(16_380),
    "gzip": b"\x1f\x8b\x08" + bytes(16_381),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_t16_a_trick_is_refused_and_nothing_lands_outside(trick: str, tmp_path: Path) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    with pytest.raises(ArchiveRejected) as refusal:
        unpacked(TRICKS[trick], into)
    assert refusal.value.code == "malformed.archive"
    assert str(refusal.value).isprintable()
    assert [path for path in files_below(tmp_path) if not path.startswith("deep")] == []
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_the_same_builder_makes_archives_that_are_accepted(tmp_path: Path) -> None:
    archive = whole(_folder("a"), entry("a/b", b"x"), _folder("c"))
    assert unpacked(archive, tmp_path).files == ("a/b",)
    assert files_below(tmp_path) == ["a", "a/b", "c"]
    assert whole(entry("a", b"x"), entry("b", b"y")) == archive_of({"a": b"x", "b": b"y"})


def test_t16_a_link_that_waits_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for name, archive in {"folder": entry("a/b", b"x"), "file": entry("a", b"x")}.items():
        into = tmp_path / name
        into.mkdir()
        (into / "a").symlink_to(tmp_path / "outside")
        with pytest.raises(Exception, match="already exists") as refusal:
            unpacked(whole(archive), into)
        assert getattr(refusal.value, "code", None) == "file.exists"
    assert files_below(tmp_path / "outside") == []


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (archive_of({"a": b"x"}), "malformed.archive"),
        (whole(), "malformed.archive"),
        (whole(entry("META.json", b"{}", change=_at(100, b"0000755"))), "malformed.archive"),
        (whole(entry("META.json/", change=_kind(b"5"))), "malformed.too-large"),  # a longer path than that of META.json
        (whole(entry("meta.json", b"{}")), "malformed.archive"),
        (archive_of({"a": b"x"}, b"{}") + bytes(512), "malformed.archive"),
        (whole(entry("META.json", b"{}"), entry("META.json", b"{}")), "malformed.archive"),
    ],
    ids=["file first", "nothing", "executable", "folder", "spelling", "too long", "twice"],
)
def test_t16_meta_must_be_first_and_plain(archive: bytes, code: str, tmp_path: Path) -> None:
    with pytest.raises(Malformed) as refusal:
        unpacked(archive, tmp_path, check_meta=lambda _: None)
    assert refusal.value.code == code


def test_t17_a_long_meta_is_refused_before_it_is_read(tmp_path: Path) -> None:
    asked: list[bytes] = []
    archive = write_header(Entry(path="META.json", size=1 << 30, mode=0o644, folder=False))
    with pytest.raises(BudgetExceeded):
        unpacked(archive, tmp_path, check_meta=asked.append)
    assert asked == []


@pytest.mark.parametrize(
    ("budget", "files"),
    [
        (Budget(total_bytes=99, member_bytes=99, members=9), {"a": bytes(50), "b": bytes(50)}),
        (Budget(total_bytes=99, member_bytes=49, members=9), {"a": bytes(50)}),
        (Budget(total_bytes=99, member_bytes=99, members=2), {"a": b"", "b": b"", "c": b""}),
        (Budget(total_bytes=99, member_bytes=99, members=2), {"a/b/c": b""}),
        (Budget(total_bytes=99, member_bytes=99, members=9, path_bytes=4), {"a/b/c": b""}),
    ],
    ids=["total", "one file", "files", "folders", "path"],
)
def test_t17_a_budget_holds(budget: Budget, files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(BudgetExceeded) as refusal:
        unpacked(archive_of(files), tmp_path, budget=budget)
    assert refusal.value.code == "malformed.too-large"
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= budget.total_bytes


class Bomb(io.RawIOBase):
    """Serves what it is given, again and again, and counts."""

    def __init__(self, start: bytes, again: bytes) -> None:
        super().__init__()
        self._ready, self._again, self.served = start, again, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # narrower than any buffer
        while len(self._ready) < len(buffer):
            self._ready += self._again
        buffer[:], self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        self.served += len(buffer)
        return len(buffer)


def test_t17_a_file_said_to_be_huge_is_refused_before_it_is_written(tmp_path: Path) -> None:
    header = write_header(Entry(path="a", size=(8 << 30) - 1, mode=0o644, folder=False))
    bomb = Bomb(header, bytes(1 << 20))
    with pytest.raises(BudgetExceeded):
        unpack(bomb, into=tmp_path, budget=ROOMY, check_meta=None)
    assert bomb.served == 512
    assert files_below(tmp_path) == []


def test_t17_endless_padding_is_refused(tmp_path: Path) -> None:
    bomb = Bomb(entry("a", bytes(3 << 20)), bytes(1 << 20))
    with pytest.raises(ArchiveRejected, match="after its end"):
        unpack(bomb, into=tmp_path, budget=ROOMY, check_meta=None)
    assert bomb.served < (3 << 20) * 1.13 + 2


def test_t17_a_million_empty_files_are_refused(tmp_path: Path) -> None:
    class Many(Bomb):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # narrower than any buffer
            buffer[:] = entry(f"{self.served:08}")
            self.served += 1
            return len(buffer)

    many = Many(b"", b"")
    with pytest.raises(BudgetExceeded):
        unpack(many, into=tmp_path, budget=ROOMY, check_meta=None)
    assert many.served == ROOMY.members + 1
    assert len(files_below(tmp_path)) == ROOMY.members
