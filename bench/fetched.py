"""What a child process of the bench does about buckets: copy an object as a station does."""

from __future__ import annotations

from pathlib import Path

from station.data.tables.bucket import Bucket
from station.data.tables.s3 import S3Source
from station.data.tables.source import Wanted
from tests.support.buckets import BUCKET


def source_at(endpoint: str, keys: str, pattern: str) -> S3Source:
    """Return the objects of the tests' bucket that match a pattern."""
    return S3Source(name="visits", bucket=Bucket(endpoint=endpoint, name=BUCKET, keys_file=Path(keys)), pattern=pattern)


def stage(endpoint: str, keys: str, pattern: str, into: str) -> None:
    """Copy what matches into a new folder."""
    Path(into).mkdir()
    source_at(endpoint, keys, pattern).stage(Wanted(columns=()), Path(into))
