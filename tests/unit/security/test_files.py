"""Files are there whole, private and for good, or not at all; and nothing is taken for what it is not."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from security.errors import DiskFull, DiskReadOnly, FileExists, FileMissing, KeyUnreadable, PhtError, Unavailable
from security.files import (
    expect_new,
    explain,
    locked,
    locked_if_free,
    make_folder,
    making_folder,
    read_file,
    read_private,
    told,
    write_file,
    writing,
)


def test_what_could_not_be_made_is_told_before_anything_costly_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "empty").mkdir()
    for path in ("new", "not/yet/there", "empty"):
        expect_new(tmp_path / path)
    with pytest.raises(FileExists):
        expect_new(tmp_path / "full")
    for path in ("file/new", "file/not/yet"):
        with pytest.raises(FileMissing):
            expect_new(tmp_path / path)


def test_the_folder_one_is_in_is_not_made_anew(tmp_path: Path) -> None:
    made = tmp_path / "here"
    made.mkdir()
    with contextlib.chdir(made):
        for here in (Path(), Path("./.")):
            with pytest.raises(FileExists, match="the folder you are in"):
                expect_new(here)
            with pytest.raises(FileExists, match="the folder you are in"), making_folder(here):
                pytest.fail("it is made")
    assert names(tmp_path) == ["here"]
    assert names(made) == []


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("number", "expected", "code"),
    [
        (errno.ENOSPC, DiskFull, "disk.full"),
        (errno.EDQUOT, DiskFull, "disk.full"),
        (errno.EEXIST, FileExists, "file.exists"),
        (errno.EACCES, FileMissing, "file.missing"),
        (errno.EROFS, DiskReadOnly, "disk.read-only"),
        (errno.ELOOP, FileMissing, "file.missing"),
        (errno.EIO, FileMissing, "file.missing"),
        (errno.EMFILE, Unavailable, "unavailable"),
        (errno.ENFILE, Unavailable, "unavailable"),
        (errno.ENOMEM, Unavailable, "unavailable"),
    ],
)
def test_the_systems_errors_are_told_as_ours(tmp_path: Path, number: int, expected: type[PhtError], code: str) -> None:
    found = explain(OSError(number, os.strerror(number)), tmp_path)
    assert (type(found), found.code) == (expected, code)
    with pytest.raises(expected), told(tmp_path):
        raise OSError(number, os.strerror(number))


def test_our_own_errors_pass_as_they_are(tmp_path: Path) -> None:
    msg = "as it was"
    with pytest.raises(KeyUnreadable, match=msg), told(tmp_path):
        raise KeyUnreadable(msg)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, limit=5) == b"12345"
    with pytest.raises(FileMissing, match="too large"):
        read_file(path, limit=4)


def _open_to_others(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0o640)


def _link(path: Path) -> None:
    path.with_name("target").write_bytes(b"secret")
    path.with_name("target").chmod(0o600)
    path.symlink_to("target")


def _too_long(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b"s" * 11)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_open_to_others, KeyUnreadable),
        (_link, KeyUnreadable),
        (_too_long, KeyUnreadable),
        (os.mkfifo, KeyUnreadable),
        (Path.mkdir, KeyUnreadable),
        (lambda _path: None, FileMissing),
    ],
)
def test_what_is_not_private_is_not_read(
    tmp_path: Path, make: Callable[[Path], None], expected: type[PhtError]
) -> None:
    make(tmp_path / "key")
    with pytest.raises(expected) as caught:
        read_private(tmp_path / "key", limit=10)
    assert "secret" not in str(caught.value)


def test_a_private_file_is_read(tmp_path: Path) -> None:
    write_file(tmp_path / "key", b"secret")
    assert read_private(tmp_path / "key", limit=6) == b"secret"


def _access(user: int, right: int, *, group: int = 0) -> bytes:
    """An access list as the kernel keeps it: the owner reads, so does `user`, and the mask lets both."""
    anybody = 0xFFFFFFFF
    entries = [(0x01, 4, anybody), (0x02, right, user), (0x04, group, anybody), (0x10, 4, anybody), (0x20, 0, anybody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize(
    ("user", "right", "group", "read"),
    [
        (os.geteuid(), 4, 0, True),
        (os.geteuid() + 1, 4, 0, False),
        (os.geteuid(), 6, 0, False),
        (os.geteuid(), 4, 4, False),
    ],
    ids=["ours", "of another", "to write", "of the group too"],
)
def test_a_file_that_an_access_list_opens_to_us_alone_is_private(
    tmp_path: Path, user: int, right: int, group: int, read: bool
) -> None:
    path = tmp_path / "credential"
    write_file(path, b"secret", mode=0o400)
    os.setxattr(path, "system.posix_acl_access", _access(user, right, group=group))
    assert mode(path) == 0o440
    if read:
        assert read_private(path) == b"secret"
    else:
        with pytest.raises(KeyUnreadable) as caught:
            read_private(path)
        assert caught.value.code == "key.unreadable"


def test_folders_are_made_private_with_those_above(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    (tmp_path / "a").chmod(0o755)
    make_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o755


@pytest.mark.parametrize("below", ["", "deeper/still"])
@pytest.mark.parametrize("kind", ["file", "fifo", "dangling link", "link to a file"])
def test_what_is_no_folder_is_not_taken_for_one(tmp_path: Path, kind: str, below: str) -> None:
    path = tmp_path / "taken"
    match kind:
        case "file":
            path.write_bytes(b"mine")
        case "fifo":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to(tmp_path / "nowhere")
        case _:
            (tmp_path / "file").write_bytes(b"mine")
            path.symlink_to(tmp_path / "file")
    with pytest.raises(FileMissing) as caught:
        make_folder(path / below)
    assert caught.value.code == "file.missing"
    assert not (tmp_path / "nowhere").exists()
    assert not path.is_dir()


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make_folder(tmp_path / "link" / "below")
    assert (tmp_path / "real" / "below").is_dir()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")
    assert mode(path) == 0o600
    msg = "given up"
    with pytest.raises(RuntimeError, match=msg), writing(path) as out:  # noqa: PT012 - the block is what is tested
        out.write(b"half of the ne")
        raise RuntimeError(msg)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"theirs")
    (tmp_path / "file").symlink_to("target")
    write_file(tmp_path / "file", b"ours")
    assert (tmp_path / "target").read_bytes() == b"theirs"
    assert not (tmp_path / "file").is_symlink()


def test_what_is_there_is_not_overwritten_unless_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with writing(path, replace=False) as out:
        out.write(b"first")
    with pytest.raises(FileExists):
        write_file(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    path.unlink()
    with pytest.raises(FileExists), writing(path, replace=False) as out:  # noqa: PT012 - the block is what is tested
        out.write(b"ours")
        path.write_bytes(b"somebody else's, meanwhile")
    assert path.read_bytes() == b"somebody else's, meanwhile"
    assert names(tmp_path) == ["file"]


def test_there_is_no_writing_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        write_file(tmp_path / "none" / "file", b"")


def test_a_lock_leaves_what_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"not ours to empty")
    with locked(path):
        assert path.read_bytes() == b"not ours to empty"
    with locked(tmp_path / "new"):
        assert mode(tmp_path / "new") == 0o600


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"of somebody else")
    (tmp_path / "lock").symlink_to(target)
    (tmp_path / "astray").symlink_to(tmp_path / "nowhere")
    for name in ("lock", "astray"):
        with pytest.raises(FileMissing) as caught, locked(tmp_path / name):
            pytest.fail("the lock was given")
        assert caught.value.message == "is a link, not a file"
    assert target.read_bytes() == b"of somebody else"
    assert not (tmp_path / "nowhere").exists()


def test_who_does_not_wait_for_a_lock_is_told_that_it_is_held(tmp_path: Path) -> None:
    with locked_if_free(tmp_path / "lock") as first, locked_if_free(tmp_path / "lock") as second:
        assert first is not None
        assert second is None
        with locked_if_free(tmp_path / "other") as other:
            assert other is not None
    with locked_if_free(tmp_path / "lock") as again:
        assert again is not None
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileMissing), locked_if_free(tmp_path / "link"):
        pytest.fail("the lock was given")


def test_a_lock_keeps_others_out_and_goes_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\nfrom security.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('in', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as waiting:
            assert waiting.poll() is None
            holder.kill()
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == b"in\n"
    assert waiting.returncode == 0


def test_a_folder_is_made_with_everything_in_it_or_not_at_all(tmp_path: Path) -> None:
    with making_folder(tmp_path / "new") as folder:
        (folder / "file").write_bytes(b"whole")
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"
    assert mode(tmp_path / "new") == 0o700
    msg = "given up"
    with pytest.raises(RuntimeError, match=msg), making_folder(tmp_path / "other") as folder:  # noqa: PT012 - as above
        (folder / "file").write_bytes(b"half")
        raise RuntimeError(msg)
    assert names(tmp_path) == ["new"]


def observed(act: Callable[[], None]) -> list[tuple[str, Path | None, int]]:
    """Do something, and look on (as a profiler does) at what is synced and renamed, and how long it was then."""
    seen: list[tuple[str, Path | None, int]] = []

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called is os.fsync:
            handle = next(frame.f_locals[name] for name in ("handle", "folder", "out") if name in frame.f_locals)
            number = handle if isinstance(handle, int) else handle.fileno()
            seen.append(("synced", Path(f"/proc/self/fd/{number}").readlink(), os.fstat(number).st_size))
        elif event == "c_call" and called is os.rename:
            seen.append(("renamed", None, 0))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        act()
    finally:
        sys.setprofile(before)
    return seen


def test_a_folder_and_all_in_it_is_durable_before_it_has_its_name(tmp_path: Path) -> None:
    """After a power cut there must not be a folder of results with empty files in it."""
    files = {"a": b"1", "deep/er/b": b"22", "deep/c": b"", "other/d": b"4444"}

    def act() -> None:
        with making_folder(tmp_path / "new") as folder:
            for name, data in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
            (folder / "link").symlink_to("/dev/full")  # cannot be synced, and is not looked at

    seen = observed(act)
    (renamed,) = (at for at, (what, _, _) in enumerate(seen) if what == "renamed")
    synced = [(path, size) for _, path, size in seen[:renamed] if path is not None]
    (temporary,) = {path.parents[-len(tmp_path.parts) - 1] for path, _ in synced if path.name.startswith(tuple("abcd"))}
    for name, data in files.items():
        assert (temporary / name, len(data)) in synced
        folders = [temporary / above for above in Path(name).parents]
        order = [path for path, _ in synced if path in {temporary / name, *folders}]
        assert order == [temporary / name, *folders], "a name is made durable after what it leads to"
    assert [path for _, path, _ in seen[renamed + 1 :]] == [tmp_path]


@pytest.mark.parametrize("taken", ["file", "full folder"])
def test_a_folder_is_not_made_over_something(tmp_path: Path, taken: str) -> None:
    path = tmp_path / "taken"
    if taken == "file":
        path.write_bytes(b"mine")
    else:
        path.mkdir()
        (path / "file").write_bytes(b"mine")
    with pytest.raises(FileExists), making_folder(path) as folder:
        (folder / "file").write_bytes(b"new")
    assert (path if taken == "file" else path / "file").read_bytes() == b"mine"
    assert names(tmp_path) == ["taken"]


def test_a_folder_whose_place_went_away_is_told(tmp_path: Path) -> None:
    above = tmp_path / "above"
    with pytest.raises(FileMissing), making_folder(above / "new") as folder:
        folder.rmdir()


def test_what_need_not_outlive_a_power_cut_is_whole_all_the_same_and_waits_for_no_disk(tmp_path: Path) -> None:
    def write(data: bytes) -> None:
        write_file(tmp_path / "health.json", data, durable=False)

    assert observed(lambda: write(b"first")) == observed(lambda: write(b"second"))
    assert not any(what == "synced" for what, _, _ in observed(lambda: write(b"third")))
    assert names(tmp_path) == ["health.json"]
    assert (tmp_path / "health.json").read_bytes() == b"third"
