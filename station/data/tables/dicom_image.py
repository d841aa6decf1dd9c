"""What does a DICOM image say about itself, and what of it is given away?

The only module that knows pydicom, which is an extra: it is imported where it is wanted.
"""

from __future__ import annotations

import functools
import io
import logging
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from pydicom import config, dcmread
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence

from security.files import told
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
_LONGEST_TABLE: Final = 2 << 16
_UNDEFINED: Final = 0xFFFF_FFFF
_LONG: Final = frozenset({b"OB", b"OW", b"SQ"})
_END: Final = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_IMPLICIT: Final = "1.2.840.10008.1.2"
_OURSELVES: Final = "2.25.280118410437021583741"
"""Who wrote the file: this program, and no library that names itself."""
_IN_A_CHARACTER_SET: Final = frozenset(
    {"PatientID", "StudyDescription", "SeriesDescription", "ProtocolName", "Manufacturer", "ManufacturerModelName"}
)

_Elements: TypeAlias = "dict[int, tuple[bytes, bytes | list[_Elements]]]"


@functools.cache
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
        _need_whole(source, implicit=_syntax(found) == _IMPLICIT)
        return _judged(found)


def give(source: BinaryIO, path: Path, key: str) -> Image:
    """Write to a new file what may be seen of an image, under a train's key; return what it was.

    Raises:
        Unfit: see `look`.
    """
    with _reading():
        found = dcmread(source, specific_tags=_WRITTEN)
        syntax = _syntax(found)
        image = _judged(found)
        said = image.attributes | {keyword: _text(found, keyword) for keyword in (*UIDS, *DATES)}
        elements = dict(_kept(found))
        elements |= {tag: (vr, value) for tag, vr, value in _renamed(said, key)}
        pixels = found.get_item(_PIXELS)
        if not isinstance(pixels, RawDataElement) or not isinstance(pixels.value, bytes):
            raise TypeError
        explicit, endless = syntax != _IMPLICIT, pixels.length == _UNDEFINED
        kind = (pixels.VR or "OW").encode()
        body = [_head(_PIXELS, kind, _UNDEFINED if endless else len(pixels.value), explicit=explicit)]
        body += [pixels.value, _END if endless else b""]
        uid = other_uid(key, image.instance)
        front = _front(said["SOPClassUID"], uid, syntax) + _written(elements, explicit=explicit)
    with told(path), path.open("wb") as out:
        out.writelines([front, *body])
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
    tag = _tag(keyword)
    if tag not in found:
        return ""
    if keyword in _IN_A_CHARACTER_SET:
        value = found[tag].value
        return str(value if value is not None else "").strip(" \0")
    element = found.get_item(tag)
    value = element.value or b""
    if not isinstance(value, bytes):
        return ""
    if _VR[tag] == "US":
        return str(int.from_bytes(value, "little")) if len(value) == 2 else ""  # noqa: PLR2004 # its width
    return value.decode("ascii", "replace").strip(" \0")


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


def _kept(found: Dataset) -> Iterator[tuple[int, tuple[bytes, bytes | list[_Elements]]]]:
    """Yield what is kept, by tags, and of sequences what is kept in their items: each as it was written."""
    for tag in map(int, found.keys()):
        if tag in _SEQUENCES:
            items = found[tag].value
            if isinstance(items, Sequence):
                yield tag, (b"SQ", [dict(_kept(item)) for item in items])
        elif tag in _KEPT:
            element = found.get_item(tag)
            if isinstance(element, RawDataElement) and _is_plain(element, _KEPT[tag]):
                yield tag, ((element.VR or _VR[tag][:2]).encode(), element.value or b"")


def _is_plain(element: RawDataElement, kind: Kind) -> bool:
    if element.VR is not None and element.VR not in _VR[int(element.tag)].split(" or "):
        return False
    value = element.value or b""
    if kind is Kind.SHORTS:
        return len(value) == 2 * int(dictionary_VM(element.tag))
    if kind is Kind.TABLE:
        return len(value) <= _LONGEST_TABLE
    return _FORMS[kind].fullmatch(value.rstrip(b"\0")) is not None


def _renamed(said: Mapping[str, str], key: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield what stands for whoever and whatever the image named."""
    patient = said["PatientID"]
    number = str(number_of(key, patient)) if patient else ""
    uids = {keyword: other_uid(key, said[keyword]) for keyword in UIDS if said[keyword]}
    days = {keyword: moved(key, patient, said[keyword]) for keyword in DATES}
    texts = {
        **dict.fromkeys(EMPTY, ""),
        **uids,
        **{keyword: day for keyword, day in days.items() if day is not None},
        "SOPClassUID": said["SOPClassUID"],
        "PatientID": number,
        "PatientName": number,
        "BurnedInAnnotation": "NO",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "PS3.15 basic profile, attributes not on a list removed",
        "LongitudinalTemporalInformationModified": "MODIFIED",
    }
    for keyword, text in texts.items():
        tag = _tag(keyword)
        kind = dictionary_VR(tag)
        raw = text.encode("ascii")
        yield tag, kind.encode(), raw + (b"\0" if kind == "UI" else b" ") * (len(raw) % 2)


# --- As bytes --------------------------------------------------------------------------------------------------------


def _front(kind: str, uid: str, syntax: str) -> bytes:
    """Return what a file begins with. Nothing of the original's is in it: other formats, with what they tell, may be."""
    texts = {0x0002_0002: kind, 0x0002_0003: uid, 0x0002_0010: syntax, 0x0002_0012: _OURSELVES}
    elements: _Elements = {0x0002_0001: (b"OB", b"\0\1")}
    elements |= {tag: (b"UI", text.encode() + b"\0" * (len(text) % 2)) for tag, text in texts.items()}
    group = _written(elements, explicit=True)
    return (
        b"\0" * 128 + b"DICM" + _written({0x0002_0000: (b"UL", struct.pack("<L", len(group)))}, explicit=True) + group
    )


def _written(elements: _Elements, *, explicit: bool) -> bytes:
    parts = []
    for tag, (kind, value) in sorted(elements.items()):
        raw = value if isinstance(value, bytes) else _items(value, explicit=explicit)
        parts += [_head(tag, kind, len(raw), explicit=explicit), raw]
    return b"".join(parts)


def _items(items: list[_Elements], *, explicit: bool) -> bytes:
    written = [_written(item, explicit=explicit) for item in items]
    return b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(one)) + one for one in written)


def _head(tag: int, kind: bytes, length: int, *, explicit: bool) -> bytes:
    if not explicit:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length)
    if kind in _LONG:
        return struct.pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, kind, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, kind, length)


_KEPT: Final[Mapping[int, Kind]] = {_tag(keyword): kind for keyword, kind in KEPT.items()}
_SEQUENCES: Final = frozenset(map(_tag, SEQUENCES))
_VR: Final[Mapping[int, str]] = {
    tag: dictionary_VR(tag) for tag in (*_KEPT, *map(_tag, (*ATTRIBUTES, *JUDGED, INSTANCE, *UIDS, *DATES)))
}
_LOOKED_AT: Final = [*map(_tag, (*ATTRIBUTES, *JUDGED, INSTANCE)), *_OVERLAYS]
_WRITTEN: Final = [
    *map(_tag, ("PatientID", "Modality", *JUDGED, INSTANCE)),
    *_OVERLAYS,
    *_KEPT,
    *_SEQUENCES,
    *map(_tag, (*UIDS, *DATES)),
    _PIXELS,
]
