"""Which objects of a bucket match a pattern? Those that files of these names in a folder would."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.data.tables.bucket import Listed, matching, version_of

KEYS = ("a.csv", "b.csv", "A.CSV", ".c.csv", "a.tsv", "x/a.csv", "x/y/a.csv", "x/y/b.parquet", "[a].csv", "xa.csv")
PATTERNS = (
    "*.csv",
    "a.*",
    "*/a.csv",
    "**/*.csv",
    "x/**/*.csv",
    "**/y/*",
    "?.csv",
    "[[]a].csv",
    "[ab].csv",
    "none",
    "*",
    "**",
)


def listed(key: str, *, size: int = 1, etag: str = "e") -> Listed:
    return Listed(key=key, size=size, etag=etag, changed="2026-01-01T00:00:00Z")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_what_it_means_in_a_folder(tmp_path: Path, pattern: str) -> None:
    for key in KEYS:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).touch()
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(pattern) if path.is_file())
    found = matching([listed(f"heart/{key}") for key in KEYS], "heart/", pattern)
    assert [one.key.removeprefix("heart/") for one in found] == there


def test_a_version_is_of_keys_contents_and_their_number() -> None:
    states = [
        (listed("a"),),
        (listed("b"),),
        (listed("a", etag="f"),),
        (listed("a", size=2),),
        (listed("a"), listed("b")),
        (listed("ab"),),
    ]
    assert len({version_of(one).split()[1] for one in states}) == len(states)
    assert version_of(states[0]) == version_of((listed("a"),))
