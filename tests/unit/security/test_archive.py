"""Archives: what goes in comes out, in one spelling, which others can read too."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from security.archive import Budget, Member, members_of, pack, padme
from security.digest import Digest
from security.errors import ArchiveRejected, BudgetExceeded, FileExists, FileMissing
from tests.support.sealing import ROOMY, archive_of, files_below, member, unpacked

FILES = {"a.txt": b"hello", "b/c": b"", "b/d/e": bytes(100_000), "b.txt": b"x" * 512, "Z": b"\xff"}
LONG = "d" * 95 + "/" + "e" * 95


def test_files_go_round(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name, data in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "a.txt").chmod(0o4755)
    (tmp_path / "in" / "empty").mkdir()
    sink = io.BytesIO()
    packed = pack(sink, None, members_of(tmp_path / "in"))
    content = list[Digest]()
    found = unpacked(sink.getvalue(), tmp_path / "out", content=content)
    assert found.files == ("Z", "a.txt", "b.txt", "b/c", "b/d/e")
    assert found.bytes == sum(map(len, FILES.values()))
    assert content == [packed.content]
    assert packed.size == len(sink.getvalue())
    for name, data in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == data
        assert (tmp_path / "out" / name).stat().st_mode & 0o7777 == (0o755 if name == "a.txt" else 0o644)
    assert not (tmp_path / "out" / "empty").exists()


def test_the_standard_library_reads_it() -> None:
    files = {**FILES, LONG: b"far down"}
    with tarfile.open(fileobj=io.BytesIO(archive_of(files, b'{"a":1}'))) as archive:
        infos = archive.getmembers()
        assert [info.name for info in infos] == ["META.json", *sorted(files, key=str.encode)]
        assert {(info.uid, info.gid, info.mtime, info.uname, info.gname, info.mode) for info in infos} == {
            (0, 0, 0, "", "", 0o644)
        }
        for name, data in files.items():
            opened = archive.extractfile(name)
            assert opened is not None
            assert opened.read() == data


def test_the_order_given_does_not_matter() -> None:
    assert archive_of(FILES) == archive_of(dict(reversed(FILES.items())))


def test_content_is_the_digest_of_what_lies_between_meta_and_padding() -> None:
    bare, labelled = io.BytesIO(), io.BytesIO()
    members = [member(path, data) for path, data in FILES.items()]
    one, two = pack(bare, None, members), pack(labelled, b"{}", members)
    assert one.content == two.content
    size = sum(512 + -(-len(data) // 512) * 512 for data in FILES.values()) + 1024
    assert one.content == Digest.of_hex(hashlib.sha256(bare.getvalue()[:size]).hexdigest())
    assert pack(io.BytesIO(), None, members[1:]).content != one.content


def test_the_executable_bit_is_content() -> None:
    plain, runs = member("a", b"x"), member("a", b"x", executable=True)
    assert pack(io.BytesIO(), None, [plain]).content != pack(io.BytesIO(), None, [runs]).content


def test_small_archives_all_look_alike() -> None:
    assert {len(archive_of({"a": bytes(size)})) for size in range(0, 14_000, 500)} == {16 << 10}


@pytest.mark.parametrize(
    ("size", "padded"), [(0, 0), (1, 1), (2, 2), (9, 10), (1000, 1024), (1025, 1088), (2**20, 2**20)]
)
def test_padme(size: int, padded: int) -> None:
    assert padme(size) == padded


def test_padme_costs_twelve_percent_at_most() -> None:
    for size in range(1, 100_000):
        assert size <= padme(size) <= size * 1.12


def test_meta_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def check(meta: bytes) -> None:
        assert files_below(tmp_path) == []
        seen.append(meta)

    unpacked(archive_of(FILES, b'{"train":1}'), tmp_path, check_meta=check)
    assert seen == [b'{"train":1}']
    assert "META.json" not in files_below(tmp_path)


def test_what_check_meta_refuses_is_not_written(tmp_path: Path) -> None:
    def check(_: bytes) -> None:
        msg = "not for us"
        raise LookupError(msg)

    with pytest.raises(LookupError):
        unpacked(archive_of(FILES, b"{}"), tmp_path, check_meta=check)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../a",
        "a/../b",
        "a/./b",
        "./a",
        "a//b",
        "a/",
        ".",
        "..",
        "a\\b",
        "a\nb",
        "a\x00b",
        "a\x1bb",
        "a\x7f",
        "a\u202egnp.exe",
        "a\u200b",
        "a\udcff",
        "META.json",
        "meta.JSON",
        "meta.json/a",
        "x" * 101,
        "a/" * 100 + "b",
    ],
)
def test_an_odd_path_is_not_packed(path: str) -> None:
    with pytest.raises(ArchiveRejected) as refusal:
        pack(io.BytesIO(), None, [member(path, b"")])
    assert str(refusal.value).isascii()
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "a"), ("a", "A"), ("b/a", "B/c"), ("a", "a/b"), ("stra\xdfe", "STRASSE"), ("\xe9", "e\u0301"), ("a/B", "A")],
)
def test_paths_that_collide_somewhere_are_not_packed(one: str, other: str) -> None:
    for pair in ([one, other], [other, one]):
        with pytest.raises(ArchiveRejected):
            pack(io.BytesIO(), None, [member(path, b"") for path in pair])


def test_a_member_given_twice_is_not_packed() -> None:
    same = member("a", b"")
    with pytest.raises(ArchiveRejected):
        pack(io.BytesIO(), None, [same, same])


def test_a_long_meta_and_a_huge_file_are_not_packed() -> None:
    with pytest.raises(BudgetExceeded):
        pack(io.BytesIO(), bytes((64 << 10) + 1), [])
    with pytest.raises(BudgetExceeded):
        pack(io.BytesIO(), None, [Member(path="a", size=8 << 30, executable=False, open=io.BytesIO)])


@pytest.mark.parametrize("size", [4, 6, 0, 2 << 20])
def test_a_file_that_is_not_as_long_as_announced_is_not_packed(size: int) -> None:
    with pytest.raises(ArchiveRejected, match="changed"):
        pack(io.BytesIO(), None, [Member(path="a", size=size, executable=False, open=lambda: io.BytesIO(b"12345"))])


def _symlink(at: Path) -> None:
    (at / "odd").symlink_to("/etc/passwd")


def _symlink_to_folder(at: Path) -> None:
    (at / "odd").symlink_to("/etc")


def _hard_link(at: Path) -> None:
    (at / "odd").hardlink_to(at / "plain")


def _fifo(at: Path) -> None:
    os.mkfifo(at / "odd")


def _socket(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(at / "odd"))


def _not_utf8(at: Path) -> None:
    (at / os.fsdecode(b"\xff")).touch()


def _same_but_for_case(at: Path) -> None:
    (at / "PLAIN").touch()


def _reserved(at: Path) -> None:
    (at / "META.json").touch()


def _control(at: Path) -> None:
    (at / "a\nb").mkdir()


@pytest.mark.parametrize(
    "spoil",
    [_symlink, _symlink_to_folder, _hard_link, _fifo, _socket, _not_utf8, _same_but_for_case, _reserved, _control],
)
def test_a_folder_with_odd_things_is_refused(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    assert [one.path for one in members_of(tmp_path)] == ["plain"]
    spoil(tmp_path)
    with pytest.raises(ArchiveRejected) as refusal:
        members_of(tmp_path)
    assert refusal.value.code == "malformed.archive"


def test_a_folder_of_too_many_things_is_refused(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    assert members_of(tmp_path, most=5) == ()
    with pytest.raises(BudgetExceeded):
        members_of(tmp_path, most=4)


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        members_of(tmp_path / "nowhere")


def test_a_file_swapped_after_it_was_seen_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("12345")
    (tmp_path / "secret").write_text("67890")
    seen = members_of(tmp_path / "in")
    (tmp_path / "secret").replace(tmp_path / "in" / "a")
    with pytest.raises(ArchiveRejected, match="changed"):
        pack(io.BytesIO(), None, seen)


def test_a_link_put_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_text("12345")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("67890")
    seen = members_of(tmp_path / "in")
    (tmp_path / "in" / "deep").rename(tmp_path / "moved")
    (tmp_path / "in" / "deep").symlink_to(tmp_path / "elsewhere")
    sink = io.BytesIO()
    with pytest.raises(ArchiveRejected, match="changed"):
        pack(sink, None, seen)
    assert b"67890" not in sink.getvalue()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(FileExists):
        unpacked(archive_of(FILES), tmp_path)
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        unpacked(archive_of(FILES), tmp_path / "nowhere")


def test_no_handles_are_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "x").mkdir()
    unpacked(archive_of(FILES), tmp_path / "x")
    tight = Budget(total_bytes=10, member_bytes=10, members=10)
    (tmp_path / "y").mkdir()
    with pytest.raises(BudgetExceeded):
        unpacked(archive_of(FILES), tmp_path / "y", budget=tight)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_budget_is_met_exactly(tmp_path: Path) -> None:
    exact = Budget(total_bytes=10, member_bytes=6, members=3, path_bytes=3)
    (tmp_path / "x").mkdir()
    assert unpacked(archive_of({"a": b"1234", "b/c": b"123456"}), tmp_path / "x", budget=exact).bytes == 10
    assert ROOMY.path_bytes == 200
