"""What is an approved base image to a sandbox?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from security.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """One layer of a base image as it is stored: a tar, plain or compressed.

    ``open`` returns a reader of its ``size`` bytes that checks them against their digest as they are read.
    """

    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base image whose manifest, config and layers were verified against the approved ``digest``.

    ``diff_ids`` are the digests of the uncompressed layers (OCI image specification 1.1, config, ``rootfs``), in the
    order of ``layers``; ``architecture`` is a Go name such as ``amd64``. The publisher's config is not part of it.
    """

    digest: Digest
    diff_ids: tuple[Digest, ...]
    layers: tuple[ImageLayer, ...]
    architecture: str
