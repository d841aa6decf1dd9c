"""Which blobs were asked for?"""

from __future__ import annotations

from registry.memory import MemoryRegistry
from registry.names import Repository
from registry.oci import Descriptor
from security.digest import NOTHING, CheckedReader, Digest, Prefix


class Metered(MemoryRegistry):
    """A registry that keeps a list of the blobs it was asked for, each as often as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[Digest] = []

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        self.opened.append(descriptor.digest)
        return super().open_blob(repo, descriptor, after)
