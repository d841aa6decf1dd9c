"""Which files make up a saved image?

Reads the output of ``docker save``, ``podman save`` and ``skopeo copy``: a stream, an archive or a folder. The archive
comes from the operator's own engine; still, only the bytes of plain files are taken from it, under names of our own.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from registry.base.stream import ImageStream
from security.digest import BUFFER
from security.errors import ArchiveRejected, BudgetExceeded, MalformedArtifact
from security.files import explain, told

MAX_IMAGE: Final = 64 << 30  # bytes
_MAX_MEMBERS: Final = 10_000
_MAX_DOCUMENT: Final = 4 << 20
_MAX_HOPS: Final = 8
_LONGEST_NAME: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """The files of a saved image, by their names in the archive."""

    files: Mapping[str, Path]

    def has(self, name: str) -> bool:
        """Whether the image has this file."""
        return name in self.files

    def path(self, name: str) -> Path:
        """Return the file's path.

        Raises:
            MalformedArtifact: the archive names a file that is not in it.
        """
        if name not in self.files:
            msg = "image names a file that is not in its archive"
            raise MalformedArtifact(msg, name=name[:100])
        return self.files[name]

    def read(self, name: str) -> bytes:
        """Read a small file."""
        path = self.path(name)
        with told(path), path.open("rb") as source:
            data = source.read(_MAX_DOCUMENT + 1)
        if len(data) > _MAX_DOCUMENT:
            msg = "document of an image is too large"
            raise BudgetExceeded(msg, name=name[:100], limit=_MAX_DOCUMENT)
        return data


def from_folder(folder: Path) -> SavedImage:
    """Return the image in an unpacked image layout."""
    with told(folder):
        found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return SavedImage(files=found)


def from_stream(source: BinaryIO, room: Path) -> SavedImage:
    """Unpack an image archive into the empty folder `room`, which the caller removes.

    Raises:
        ArchiveRejected: it is not a tar archive, is damaged, or contains anything but files, folders and links.
        BudgetExceeded: more than 64 GiB or 10 000 members, or one with a description of megabytes.
    """
    files: dict[str, Path] = {}
    links: dict[str, str] = {}
    left = MAX_IMAGE
    stream = ImageStream(source)
    try:
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as archive:
            for number, member in enumerate(archive):
                stream.go_on()
                left -= max(member.size, 0)
                if left < 0 or number >= _MAX_MEMBERS:
                    msg = "image archive is larger than allowed"
                    raise BudgetExceeded(msg, bytes=MAX_IMAGE, members=_MAX_MEMBERS)
                # Or every description so far stays in memory, however much it says (attack T17).
                archive.members.clear()  # type: ignore[attr-defined] # typeshed does not know it
                _need_short(member)
                name = posixpath.normpath(member.name)
                if member.isreg():
                    files[name] = _spool(archive, member, room / str(number), stream)
                elif member.issym():
                    links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                elif member.islnk():
                    links[name] = posixpath.normpath(member.linkname)
                elif not member.isdir():
                    msg = "image archive contains something that is neither a file nor a folder"
                    raise ArchiveRejected(msg, name=name[:100])
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:  # as `tarfile` lets out
        msg = "not an image archive, or damaged"
        raise ArchiveRejected(msg, hint="docker save IMAGE writes one") from error
    return SavedImage(files=files | _followed(links, files))


def _need_short(member: tarfile.TarInfo) -> None:
    if len(member.name) > _LONGEST_NAME or len(member.linkname) > _LONGEST_NAME:
        msg = "a name in the image archive is too long"
        raise BudgetExceeded(msg, limit=_LONGEST_NAME)


def _spool(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, stream: ImageStream) -> Path:
    content = archive.extractfile(member)
    if content is None:
        return path
    try:
        with content, path.open("xb") as out:
            while piece := content.read(BUFFER):
                out.write(piece)
                stream.go_on()
    except OSError as error:
        raise explain(error, path) from error
    return path


def _followed(links: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in links:
        target = name
        for _ in range(_MAX_HOPS):
            target = links.get(target, target)
        if target in files:
            found[name] = files[target]
    return found
