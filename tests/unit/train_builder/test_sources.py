"""Which files of the code folder travel."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from train_builder.code import sources
from train_builder.code.sources import collect, merged
from train_builder.errors import SourcesRejected


def tree(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def paths(folder: Path) -> list[str]:
    return [member.path for member in collect(folder).members]


def test_files_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    assert paths(tree(tmp_path, "b/a", "B", "a.py", "é", "a/z", "a-b")) == ["B", "a-b", "a.py", "a/z", "b/a", "é"]


def test_what_tools_leave_behind_does_not_travel(tmp_path: Path) -> None:
    left = (".git/config", "x/__pycache__/a.pyc", "a.pyc", ".venv/bin/python", ".DS_Store", ".ipynb_checkpoints/n")
    found = collect(tree(tmp_path, "main.py", *left))
    assert [member.path for member in found.members] == ["main.py"]
    assert found.ignored == len(left)


def test_an_ignored_folder_may_hold_anything(tmp_path: Path) -> None:
    tree(tmp_path, "main.py", ".venv/x")
    (tmp_path / ".venv" / "python").symlink_to("/usr/bin/python3")
    assert paths(tmp_path) == ["main.py"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.log", ["a", "c/a", "c/d/a"]),
        ("c/", ["a", "a.log"]),
        ("/a", ["a.log", "c/a", "c/a.log", "c/d/a"]),
        ("c/*.log", ["a", "a.log", "c/a", "c/d/a"]),
        ("# a\n\na  ", ["a.log", "c/a.log"]),
        ("*.log\n!/a.log", ["a", "a.log", "c/a", "c/d/a"]),
        ("c/**/a", ["a", "a.log", "c/a.log"]),
        ("**/d", ["a", "a.log", "c/a", "c/a.log"]),
        ("c/*\n!c/d", ["a", "a.log", "c/d/a"]),
        ("c\n!c/d/a", ["a", "a.log"]),
        ("[ab]\n!c/**", ["a.log", "c/a", "c/a.log", "c/d/a"]),
        ("a/", ["a", "a.log", "c/a", "c/a.log", "c/d/a"]),
        ("c/d", ["a", "a.log", "c/a", "c/a.log"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, left: list[str]) -> None:
    tree(tmp_path, "a", "a.log", "c/a", "c/a.log", "c/d/a")
    (tmp_path / ".phtignore").write_text(pattern)
    assert paths(tmp_path) == left


@pytest.mark.parametrize("line", ["!", "a\n!", "a\n[z-a]"])
def test_what_is_no_pattern_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    tree(tmp_path, "main.py")
    (tmp_path / ".phtignore").write_text(f"ok\n{line}\n")
    with pytest.raises(SourcesRejected) as caught:
        collect(tmp_path)
    assert caught.value.fields["line"] == 1 + len(line.splitlines())


def test_what_tools_leave_behind_cannot_be_taken_back_in(tmp_path: Path) -> None:
    tree(tmp_path, "main.py", "a.pyc", ".git/config")
    (tmp_path / ".phtignore").write_text("!*.pyc\n!.git/\n!.phtignore\n")
    assert paths(tmp_path) == ["main.py"]


def test_git_ignores_the_same(tmp_path: Path) -> None:
    lines = ("*.log", "!keep.log", "/top", "c/**/x", "d/", "!d/in", "e/*", "!e/f", "a?b", "[0-9].txt", "sp\\ ", "#no")
    names = (
        "k.log",
        "keep.log",
        "top",
        "c/top",
        "c/x",
        "c/y/z/x",
        "d/in",
        "x/d/in",
        "e/g",
        "e/f/h",
        "axb",
        "1.txt",
        "sp ",
    )
    tree(tmp_path, *names, "main.py")
    for name in (".phtignore", ".gitignore"):
        (tmp_path / name).write_text("\n".join((*lines, ".gitignore", ".phtignore")))
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = ["git", "-C", str(tmp_path), "-c", "core.quotePath=false", "ls-files", "-co", "--exclude-standard"]
    told = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    assert sorted(paths(tmp_path)) == sorted(told)


def test_a_link_is_refused_not_followed(tmp_path: Path) -> None:
    secret = tree(tmp_path / "outside", "secret") / "secret"
    (tree(tmp_path / "code", "main.py") / "link").symlink_to(secret)
    with pytest.raises(SourcesRejected) as caught:
        collect(tmp_path / "code")
    assert caught.value.fields["path"] == "link"


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tree(tmp_path / "outside", "secret") / "secret"
    code = tree(tmp_path / "code", "main.py")
    (member,) = collect(code).members
    (code / "main.py").unlink()
    (code / "main.py").symlink_to(secret)
    with pytest.raises(Exception, match="is a link, not a file") as caught:
        member.open()
    assert getattr(caught.value, "code", None) == "file.missing"


def test_pipes_and_sockets_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tree(tmp_path / "a", "main.py") / "pipe")
    with pytest.raises(SourcesRejected):
        collect(tmp_path / "a")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree(tmp_path / "b", "main.py") / "s"))
        with pytest.raises(SourcesRejected):
            collect(tmp_path / "b")


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\x1b[2J", "x" * 201])
def test_names_that_are_not_plain(tmp_path: Path, name: str) -> None:
    if len(name) > 200:
        tree(tmp_path, f"{'d' * 100}/{'x' * 101}")
    else:
        tree(tmp_path, name)
    with pytest.raises(SourcesRejected):
        collect(tmp_path)


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff")).write_text("x")
    with pytest.raises(SourcesRejected):
        collect(tmp_path)


def test_names_that_differ_only_in_case(tmp_path: Path) -> None:
    with pytest.raises(SourcesRejected) as caught:
        collect(tree(tmp_path, "Main.py", "main.py"))
    assert {caught.value.fields["first"], caught.value.fields["second"]} == {"Main.py", "main.py"}


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourcesRejected):
        collect(tmp_path)


def test_more_bytes_than_travel(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as out:
        out.truncate(sources.MAX_TOTAL + 1)
    with pytest.raises(SourcesRejected):
        collect(tmp_path)


def test_more_files_than_travel(tmp_path: Path) -> None:
    for number in range(sources.MAX_FILES + 1):
        (tmp_path / f"{number}").touch()
    with pytest.raises(SourcesRejected):
        collect(tmp_path)


def test_modes_and_sizes_are_kept(tmp_path: Path) -> None:
    tree(tmp_path, "main.sh", "other")
    (tmp_path / "main.sh").chmod(0o700)
    first, second = collect(tmp_path).members
    assert (first.path, first.executable, first.size) == ("main.sh", True, 7)
    assert (second.executable, second.size) == (False, 5)


def test_vendored_files_may_not_hide_the_codes_own(tmp_path: Path) -> None:
    ours, theirs = (
        collect(tree(tmp_path / "a", "vendor/x.py")),
        collect(tree(tmp_path / "b", "vendor/X.py", "vendor/y.py")),
    )
    with pytest.raises(SourcesRejected):
        merged(ours, theirs.members)
    assert [member.path for member in merged(ours, theirs.members[1:]).members] == ["vendor/x.py", "vendor/y.py"]
