"""The letters with the entries of a train in one archive: in one form, within bounds, and readable by tar (T14, T17)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from registry.bundle import print_bundle, read_bundle
from security.errors import MalformedArtifact
from security.train.letters import MAX_ENTRY_LETTER
from security.train.route import LONGEST

LETTERS = (b"the first", b"a" * 512, b"the third")
WHOLE = print_bundle(LETTERS)


@pytest.mark.parametrize("letters", [(), LETTERS, LETTERS[:1], (b"e",) * LONGEST])
def test_what_is_printed_is_read(letters: tuple[bytes, ...]) -> None:
    assert read_bundle(print_bundle(letters)) == letters


def test_tar_takes_the_letters_out(tmp_path: Path) -> None:
    (tmp_path / "letters.tar").write_bytes(WHOLE)
    subprocess.run(["tar", "xf", "letters.tar"], cwd=tmp_path, check=True)
    assert [(tmp_path / name).read_bytes() for name in ("1.age", "2.age", "3.age")] == list(LETTERS)


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"junk",
        bytes(512),
        WHOLE[:-1],
        WHOLE + bytes(512),
        WHOLE[:-1024],
        WHOLE[1024:],  # begins with the second
        WHOLE.replace(b"3.age", b"4.age"),
        WHOLE.replace(b"1.age", b"1.bin"),
        WHOLE.replace(b"the third" + bytes(5), b"the third" + b"junk!"),
        print_bundle((b"e",) * (LONGEST + 1)),
        print_bundle((b"e", bytes(MAX_ENTRY_LETTER + 1))),
        print_bundle((bytes(MAX_ENTRY_LETTER + 1),)),
    ],
)
def test_t14_nothing_else_is_read(spoiled: bytes) -> None:
    with pytest.raises(MalformedArtifact):
        read_bundle(spoiled)
