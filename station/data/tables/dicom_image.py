"""What does a DICOM image say about itself, and what of it is given away?

The only module that knows pydicom, which is an extra: it is imported where it is wanted.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from station.data.tables.dicom_profile import (
    ATTRIBUTES,
    DATES,
    EMPTY,
    INSTANCE,
    JUDGED,
    KEPT,
    SEQUENCES,
    SYNTAXES,
    UIDS,
    Kind,
    cell,
    moved,
    other_uid,
    unsuited,
)
from station.data.tables.dicom_profile import UID as UID_FORM
from station.data.tables.secret import number_of

_FORMS: Final = {
    Kind.CODE: re.compile(rb"[A-Z0-9_ ]{0,16}(\\[A-Z0-9_ ]{0,16}){0,9}"),
    Kind.NUMBERS: re.compile(rb"[0-9eE+. \\-]*"),
    Kind.WHOLE: re.compile(rb"[0-9+ \\-]*"),
}
_STANDARD: Final = re.compile(r"1\.2\.840\.10008\.[0-9.]{1,50}")
_OVERLAYS: Final = [  # how many bits each has: where it is not one of its own, it lies in those of the pixels
    0x6000_0100 + (group << 16) for group in range(0, 0x20, 2)
]
_PIXELS: Final = 0x7FE0_0010
_UNDEFINED: Final = 0xFFFF_FFFF
_LONG: Final = (b"OB", b"OW")


def _tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    if found is None:
        raise KeyError(keyword)
    return found


class Unfit(Exception):
    """This image cannot be given away; the text says why, of any image, and nothing of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its attributes as texts, by the standard's names."""

    instance: str
    attributes: dict[str, str]

    @property
    def row(self) -> Mapping[str, str]:
        """The cells of its row in the table."""
        return {keyword: cell(keyword, self.attributes.get(keyword, "")) for keyword in ATTRIBUTES}


def look(source: BinaryIO) -> Image:
    """Read what a file says about its image, and see that it is all there.

    Raises:
        Unfit: it is no image, is cut, or cannot be given away.
    """
    with _reading():
        found = dcmread(source, stop_before_pixels=True, specific_tags=_LOOKED_AT)
        syntax = _syntax(found)
        _need_whole(source, implicit=syntax == "1.2.840.10008.1.2")
        return _judged(found)


def give(source: BinaryIO, path: Path, key: str) -> Image:
    """Write to a new file what may be seen of an image, under a train's key; return what it was.

    Raises:
        Unfit: see `look`.
    """
    with _reading():
        found = dcmread(source, specific_tags=_WRITTEN)
        syntax = _syntax(found)
        removed = _removed(found)
        image = _judged(found)
        said = image.attributes | {keyword: _text(found, keyword) for keyword in (*UIDS, *DATES)}
        for tag in removed:
            del found[tag]
        _rename(found, said, key)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(image.attributes["SOPClassUID"])
        meta.MediaStorageSOPInstanceUID = UID(other_uid(key, image.instance))
        meta.TransferSyntaxUID = UID(syntax)
        meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
        found.file_meta = meta
        found.preamble = b"\0" * 128  # other formats, with what they tell, may lie in it
        written = io.BytesIO()
        dcmwrite(written, found, enforce_file_format=True)
    with path.open("wb") as out:
        out.write(written.getbuffer())
    return image


@contextmanager
def _reading() -> Iterator[None]:
    logging.getLogger("pydicom").disabled = True  # what it warns of quotes values
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    except (
        InvalidDicomError,
        BytesLengthException,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        NotImplementedError,
        RecursionError,
        struct.error,
    ):
        msg = "is no image that can be read, or is cut"
        raise Unfit(msg) from None


def _syntax(found: FileDataset) -> str:
    syntax = str(found.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in SYNTAXES:
        msg = "is written in a transfer syntax that is not on the station's list"
        raise Unfit(msg)
    return syntax


def _judged(found: Dataset) -> Image:
    attributes = {keyword: _text(found, keyword) for keyword in (*ATTRIBUTES, *JUDGED, INSTANCE)}
    if not UID_FORM.fullmatch(attributes[INSTANCE]) or not _STANDARD.fullmatch(attributes["SOPClassUID"]):
        msg = "is no image of the standard, with a UID of its own"
        raise Unfit(msg)
    why = unsuited(attributes)
    if why is not None:
        raise Unfit(why)
    if any(tag in found and found[tag].value != 1 for tag in _OVERLAYS):
        msg = "has an overlay in its pixels"
        raise Unfit(msg)
    return Image(instance=attributes[INSTANCE], attributes=attributes)


def _text(found: Dataset, keyword: str) -> str:
    value = found.get(keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip(" \0")
    return "\\".join(str(one).strip(" \0") for one in value)


def _need_whole(source: BinaryIO, *, implicit: bool) -> None:
    """Walk over the pixels without reading them, from where they begin, and see that they end."""
    head = source.read(8)
    tag = struct.unpack("<HH", head[:4])
    if (tag[0] << 16 | tag[1]) != _PIXELS:
        msg = "is no image that can be read, or is cut"
        raise Unfit(msg)
    if implicit:
        (length,) = struct.unpack("<L", head[4:])
    elif head[4:6] in _LONG:
        (length,) = struct.unpack("<L", source.read(4))
    else:
        raise EOFError
    if length != _UNDEFINED:
        _need_after(source, length)
        return
    while True:
        group, element, length = struct.unpack("<HHL", source.read(8))
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000):
            raise EOFError
        _need_after(source, length)


def _need_after(source: BinaryIO, length: int) -> None:
    """Go forward; the last byte passed must be there."""
    if length:
        source.seek(length - 1, io.SEEK_CUR)
        if not source.read(1):
            raise EOFError


def _removed(found: Dataset) -> list[BaseTag]:
    """Return what is not kept, or is not written as what it should be; in sequences it is removed at once.

    To be asked first: a value that pydicom has read is no longer as it was written.
    """
    removed = []
    for tag in list(found.keys()):
        if int(tag) in _SEQUENCES:
            items = found[tag].value
            if not isinstance(items, Sequence):
                removed.append(tag)
                continue
            for item in items:
                for inner in _removed(item):
                    del item[inner]
        elif tag != _PIXELS and (int(tag) not in _KEPT or not _is_plain(found.get_item(tag), _KEPT[int(tag)])):
            removed.append(tag)
    return removed


def _is_plain(element: object, kind: Kind) -> bool:
    if not isinstance(element, RawDataElement):
        return False
    keyword_vr = dictionary_VR(element.tag)
    if element.VR is not None and element.VR not in keyword_vr.split(" or "):
        return False
    return kind is Kind.BINARY or _FORMS[kind].fullmatch((element.value or b"").rstrip(b"\0")) is not None


def _rename(found: Dataset, said: Mapping[str, str], key: str) -> None:
    """Add what stands for whoever and whatever the image named."""
    patient = said["PatientID"]
    number = str(number_of(key, patient)) if patient else ""
    for keyword in EMPTY:
        setattr(found, keyword, "")
    for keyword in UIDS:
        if said[keyword]:
            setattr(found, keyword, other_uid(key, said[keyword]))
    for keyword in DATES:
        day = moved(key, patient, said[keyword])
        if day is not None:
            setattr(found, keyword, day)
    found.SOPClassUID = said["SOPClassUID"]
    found.PatientID = found.PatientName = number
    found.BurnedInAnnotation = "NO"
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "PS3.15 basic profile, attributes not on a list removed"
    found.LongitudinalTemporalInformationModified = "MODIFIED"


_KEPT: Final[Mapping[int, Kind]] = {_tag(keyword): kind for keyword, kind in KEPT.items()}
_SEQUENCES: Final = frozenset(map(_tag, SEQUENCES))
_LOOKED_AT: Final = [*map(_tag, (*ATTRIBUTES, *JUDGED, INSTANCE)), *_OVERLAYS]
_WRITTEN: Final = [*_LOOKED_AT, *_KEPT, *_SEQUENCES, *map(_tag, (*UIDS, *DATES)), _PIXELS]
