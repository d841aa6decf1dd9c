"""Under which keys are patients counted and named?

One secret a station, made when first needed and kept with its state. A key for each purpose is derived from it: within a
train a patient has one number, in two trains two; a cohort can be compared with another at this station, and by nobody else.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from security.digest import Digest, digest_of
from security.errors import FileExists, FileMissing
from security.files import make_folder, read_file, write_file
from security.ids import TrainId

DIGITS = 15
"""Of a number's keyed hash, hexadecimal: 60 bits, a positive integer in every language."""

_LENGTH = 32
_KEY = 32
"""Hexadecimal digits of a derived key: 128 bits, so short that it and most identifiers are one block of SHA-256."""


@dataclass(frozen=True, slots=True)
class DataSecret:
    """The station's secret about its patients."""

    key: bytes = field(repr=False)

    def for_train(self, train: TrainId) -> str:
        """Return the key of a train's pseudonyms and order, in hexadecimal digits."""
        return self._derived(f"pht-pseudonym-v1\n{train}")

    @property
    def for_cohorts(self) -> str:
        """The key under which patients are kept in cohorts, in hexadecimal digits."""
        return self._derived("pht-cohort-v1")

    def digest(self, content: Digest) -> Digest:
        """Return a digest that only this station can compute from the content's."""
        return digest_of(hmac.digest(self.key, f"pht-table-v1\n{content}".encode(), "sha256"))

    def _derived(self, purpose: str) -> str:
        return hmac.digest(self.key, purpose.encode(), "sha256").hex()[:_KEY]


def number_of(key: str, value: str) -> int:
    """Return the number of an identifier under a train's key, as the engine computes it for tables (`select`)."""
    # A key before the text is a sound code only because the digest is cut: nobody can continue from what is not there.
    return int(hashlib.sha256(f"{key}{value}".encode()).hexdigest()[:DIGITS], 16)


def secret_at(path: Path) -> DataSecret:
    """Read the secret; make one if there is none.

    Raises:
        FileMissing: the folder cannot be read or written.
    """
    try:
        found = read_file(path, limit=_LENGTH)
    except FileMissing:
        if path.exists():
            raise
        make_folder(path.parent)
        with contextlib.suppress(FileExists):  # another process may be first
            write_file(path, secrets.token_bytes(_LENGTH), replace=False)
        found = read_file(path, limit=_LENGTH)
    return DataSecret(found)
