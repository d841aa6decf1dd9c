"""How is a table read whose rows are the images of an archive that speaks DICOMweb?

As that of a folder (`dicom`). The archive tells which images it has; one is fetched only when a train gets it, lies in
memory until it is de-identified, and on no disk before.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from security.errors import InvalidInput
from station.check import CheckResult
from station.data.tables.archive import Archive
from station.data.tables.database import TIMEOUT
from station.data.tables.dicom import SUFFIX, TYPES, columns_in, needing_pydicom, told_of, write_rows
from station.data.tables.dicom_profile import ATTRIBUTES, FILE, INSTANCE, SERIES, STUDY, UID, cell, unsuited
from station.data.tables.kind import Kind, beside
from station.data.tables.source import Form, Found, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

if TYPE_CHECKING:
    from station.data.tables.dicomweb_server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomwebSource:
    """The images in an archive that the station's account may see."""

    name: str
    archive: Archive

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "dicomweb"

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.archive.reads

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.archive.secrets

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            server = self._server()
            _, _, version = self._images(server)
            writes = server.may_write()
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        if writes:
            detail, hint = "the station's account may store images in the archive", "give it one that can only read"
            return (CheckResult(name=what, ok=False, detail=detail, hint=hint),)
        return (CheckResult(name=what, ok=True, detail=f"{self.archive.address}: {version}"),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`."""
        rows, _, _ = self._images(self._server())
        return columns_in(rows)

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        server = self._server()
        rows, images, version = self._images(server)
        return Staged(
            form=Form.CSV,
            paths=(write_rows(rows, into / "images.csv", wanted.space),),
            names={one.column.name: one.origin for one in wanted.columns},
            version=version,
            unchanged=lambda: self._images(server)[0] == rows,
            types=TYPES,
            carry=_CarryImage(name=self.name, server=server, images=images),
        )

    def _server(self) -> Server:
        with needing_pydicom(self.name):
            from station.data.tables import dicom_image  # noqa: F401 # to fetch nothing that could not be made fit
        from station.data.tables.dicomweb_server import Server

        return Server(name=self.name, archive=self.archive)

    def _images(self, server: Server) -> tuple[list[Mapping[str, str]], Sequence[Mapping[str, str]], str]:
        """Return the rows of all images, what the archive said of each, and how many there are and are not."""
        rows: list[Mapping[str, str]] = []
        images = server.images()
        known: dict[str, Mapping[str, str]] = {}
        left: Counter[str] = Counter()
        for number, image in enumerate(images):
            if not all(UID.fullmatch(image[keyword]) for keyword in (STUDY, SERIES, INSTANCE)):
                msg = "the archive lists an image without its UIDs"
                raise DataUnfit(msg, data=self.name)
            self._need_once(image, known.setdefault(image[INSTANCE], image))
            why = unsuited(image) if image["Rows"] else "is no image"
            if why is not None:
                left[why] += 1
                continue
            rows.append({keyword: cell(keyword, image[keyword]) for keyword in ATTRIBUTES} | {FILE: str(number)})
        return rows, images, told_of(len(rows), left)

    def _need_once(self, image: Mapping[str, str], other: Mapping[str, str]) -> None:
        if other is image:
            return
        if (image[STUDY], image[SERIES]) == (other[STUDY], other[SERIES]):
            msg = "an archive changed while it was read"
            raise DataSourceUnavailable(msg, data=self.name, hint="the train waits, and it is read again")
        msg = "two different images have the same SOP instance UID"
        raise DataUnfit(msg, data=self.name, hint="ask who keeps the archive to correct them")


@dataclass(frozen=True, slots=True, kw_only=True)
class _CarryImage:
    """See `Carry`."""

    name: str
    server: Server
    images: Sequence[Mapping[str, str]]
    suffix: str = SUFFIX

    def __call__(self, cell: str, path: Path, key: str) -> None:
        from station.data.tables.dicom_image import Unfit, give

        wanted = self.images[int(cell)]
        content = self.server.fetch(wanted[STUDY], wanted[SERIES], wanted[INSTANCE])
        try:
            found = give(io.BytesIO(content), path, key)
        except Unfit as error:
            msg = f"an image of the archive {error}"
            raise DataUnfit(msg, data=self.name, hint="leave it out of what the station's account may see") from None
        if (found.instance, found.attributes["PatientID"]) != (wanted[INSTANCE], wanted["PatientID"]):
            msg = "the archive gives another image than it listed"
            raise DataSourceUnavailable(msg, data=self.name, hint="the train waits, and it is read again")


def _source(name: str, home: Path, value: Mapping[str, Any]) -> DicomwebSource:
    parts = urlsplit(value["server"])
    if parts.username is not None or parts.query or parts.fragment:
        msg = "the address of an archive has no account in it, and no query"
        raise InvalidInput(msg, hint="name the account as username, and its password's private file as password_file")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        msg = "an archive on another machine is read over https only"
        raise InvalidInput(msg, server=value["server"])
    archive = Archive(
        address=value["server"].rstrip("/"),
        username=value.get("username"),
        password_file=beside(home, value, "password_file"),
        ca_file=beside(home, value, "ca_file"),
        seconds=value.get("timeout_seconds", TIMEOUT),
    )
    return DicomwebSource(name=name, archive=archive)


KIND: Final = Kind(
    name="dicomweb",
    read=_source,
    needs=("server",),
    may=("username", "password_file", "ca_file", "timeout_seconds"),
    together={"username": "password_file"},
)
