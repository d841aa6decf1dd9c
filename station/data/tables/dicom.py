"""How is a table read whose rows are the DICOM images in a folder of this machine?

A row for each image that can be given away, with what the image says about itself, and in the column ``file`` the image,
de-identified on its way to the run. What cannot be given away is in no row, and counted.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from security.errors import PhtError
from security.files import told
from security.tables.column import ColumnType
from station.check import CheckResult
from station.data.port import Space
from station.data.tables.dicom_profile import ATTRIBUTES, FILE
from station.data.tables.files import Facts, facts, version_of
from station.data.tables.kind import Kind
from station.data.tables.source import Form, Found, InFolder, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

_COUNTED: Final = "files are counted in the order of their paths"
SUFFIX: Final = ".dcm"
TYPES: Final = {FILE: ColumnType.FILE} | {name: kind for name, kind in ATTRIBUTES.items() if kind is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomSource(InFolder):
    """The images in `folder`, and in the folders in it, whatever their files are called."""

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "dicom"

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            _, version = self._images(self._paths())
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        return (CheckResult(name=what, ok=True, detail=f"{self.folder}: {version}"),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`."""
        rows, _ = self._images(self._paths())
        return columns_in(rows)

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        paths = self._paths()
        seen = self._facts(paths)
        rows, version = self._images(paths)
        return Staged(
            form=Form.CSV,
            paths=(write_rows(rows, into / "images.csv", wanted.space),),
            names={one.column.name: one.origin for one in wanted.columns},
            version=f"{version}; {version_of(seen)}",
            unchanged=lambda: self._paths() == paths and self._facts(paths) == seen,
            types=TYPES,
            carry=_CarryFile(name=self.name, paths=paths),
        )

    def _paths(self) -> tuple[Path, ...]:
        if not self.folder.is_dir():
            msg = "the folder of a data set is not there"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder)
        try:
            found = tuple(sorted(_files(self.folder)))
        except OSError as error:  # not `told`: it would name a folder, and such folders name patients
            msg = "a folder in the folder of a data set cannot be read"
            raise DataSourceUnavailable(msg, data=self.name, why=type(error).__name__) from None
        if not found:
            msg = "the folder of a data set is empty"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder)
        return found

    def _facts(self, paths: Sequence[Path]) -> tuple[Facts, ...]:
        try:
            return facts(paths)
        except PhtError:
            msg = "a data set changed while it was read"
            raise DataSourceUnavailable(msg, data=self.name) from None

    def _images(self, paths: Sequence[Path]) -> tuple[list[Mapping[str, str]], str]:
        """Return the rows of all images, and how many there are and are not."""
        with needing_pydicom(self.name):
            from station.data.tables.dicom_image import Unfit, look
        rows: list[Mapping[str, str]] = []
        known: dict[str, Path] = {}
        left: Counter[str] = Counter()
        for number, path in enumerate(paths):
            try:
                with path.open("rb") as source:
                    image = look(source)
            except OSError as error:  # not `told`: such paths name patients
                msg = "a file in the folder of a data set cannot be read"
                raise DataSourceUnavailable(
                    msg, data=self.name, file=number + 1, why=type(error).__name__, hint=_COUNTED
                ) from None
            except Unfit as error:
                left[str(error)] += 1
                continue
            other = known.setdefault(image.instance, path)
            if other is not path:
                self._need_copy(path, other, number)
                left["is a copy of another"] += 1
                continue
            rows.append({**image.row, FILE: str(number)})
        return rows, told_of(len(rows), left)

    def _need_copy(self, path: Path, other: Path, number: int) -> None:
        """Two files may be one image; two images of one number are an archive that is broken."""
        if path.read_bytes() != other.read_bytes():
            msg = "two different images have the same SOP instance UID"
            raise DataUnfit(msg, data=self.name, file=number + 1, hint=_COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CarryFile:
    """See `Carry`."""

    name: str
    paths: Sequence[Path]
    suffix: str = SUFFIX

    def __call__(self, cell: str, path: Path, key: str) -> None:
        from station.data.tables.dicom_image import Unfit, give

        try:
            with self.paths[int(cell)].open("rb") as source:
                give(source, path, key)
        except (Unfit, OSError):
            msg = "an image changed while it was read"
            raise DataSourceUnavailable(msg, data=self.name, file=int(cell) + 1) from None


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder; one that cannot be entered is an error, and not a part left out."""

    def broken(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=broken):
        yield from (path for path in (Path(place, name) for name in names) if path.is_file())


@contextmanager
def needing_pydicom(data: str) -> Iterator[None]:
    """Tell how to get the library that is missing.

    Raises:
        DataUnfit: it is missing.
    """
    try:
        yield
    except ImportError:
        msg = "the library for DICOM is not installed here"
        raise DataUnfit(msg, data=data, hint="pip install 'pht[dicom]'") from None


def columns_in(rows: Sequence[Mapping[str, str]]) -> tuple[Found, ...]:
    """Return the columns that have a value in some row."""
    there = [keyword for keyword in ATTRIBUTES if any(row[keyword] for row in rows)]
    return tuple(Found(name=name, type="file" if name == FILE else "attribute") for name in (*there, FILE))


def write_rows(rows: Sequence[Mapping[str, str]], path: Path, space: Space) -> Path:
    """Write the table, with all attributes as columns."""
    with told(path), path.open("x", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, [*ATTRIBUTES, FILE], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        space.take(out.tell())
    return path


def told_of(images: int, left: Mapping[str, int]) -> str:
    """Return how many images there are, and how many files are left out, and why."""
    why = "".join(f"; left out: {count}, each {reason}" for reason, count in sorted(left.items()))
    return f"{images} images{why}"


def _source(name: str, home: Path, value: Mapping[str, Any]) -> DicomSource:
    return DicomSource(name=name, folder=home / value["folder"])


KIND: Final = Kind(name="dicom", read=_source, needs=("folder",))
