"""The letters of a train in one archive: in one form, within bounds, and readable by tar (T14, T17)."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from registry.bundle import first_letter, print_bundle, read_bundle
from security.errors import MalformedArtifact
from security.train.letters import MAX_ENTRY_LETTER, MAX_MANIFEST_LETTER
from security.train.route import LONGEST

LETTERS = (b"the manifest", b"a" * 512, b"the second")
WHOLE = print_bundle(LETTERS)


@pytest.mark.parametrize("letters", [LETTERS, LETTERS[:1], (b"m", *[b"e"] * LONGEST)])
def test_what_is_printed_is_read(letters: tuple[bytes, ...]) -> None:
    assert read_bundle(print_bundle(letters)) == letters
    assert first_letter(io.BytesIO(print_bundle(letters))) == letters[0]


def test_tar_takes_the_letters_out(tmp_path: Path) -> None:
    (tmp_path / "letters.tar").write_bytes(WHOLE)
    subprocess.run(["tar", "xf", "letters.tar"], cwd=tmp_path, check=True)
    assert [(tmp_path / name).read_bytes() for name in ("manifest.age", "1.age", "2.age")] == list(LETTERS)


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"junk",
        bytes(1024),
        WHOLE[:-1],
        WHOLE + bytes(512),
        WHOLE[:-1024],
        WHOLE[1024:],  # begins with an entry
        WHOLE.replace(b"2.age", b"3.age"),
        WHOLE.replace(b"1.age", b"1.bin"),
        WHOLE.replace(b"the second" + bytes(5), b"the second" + b"junk!"),
        print_bundle((b"m", *[b"e"] * (LONGEST + 1))),
        print_bundle((b"m", bytes(MAX_ENTRY_LETTER + 1))),
        print_bundle((bytes(MAX_MANIFEST_LETTER + 1),)),
    ],
)
def test_t14_nothing_else_is_read(spoiled: bytes) -> None:
    with pytest.raises(MalformedArtifact):
        read_bundle(spoiled)


@pytest.mark.parametrize(
    "spoiled", [b"", b"junk", bytes(1024), WHOLE[:515], print_bundle((bytes(MAX_MANIFEST_LETTER + 1),))]
)
def test_t17_the_first_letter_is_bounded_before_it_is_read(spoiled: bytes) -> None:
    source = io.BytesIO(spoiled)
    with pytest.raises(MalformedArtifact):
        first_letter(source)
    assert source.tell() <= 1024


def test_what_follows_the_first_letter_is_not_looked_at() -> None:
    source = io.BytesIO(WHOLE)
    assert first_letter(source) == LETTERS[0]
    assert source.tell() == 512 + len(LETTERS[0])
