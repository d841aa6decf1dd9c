"""What of a DICOM image may a run see, and which images can it be given at all?

The basic profile of PS3.15 Annex E, turned round: not the list of what is removed, but the short one of what is kept. What
nobody has thought of, private elements and new attributes, is removed by that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from security.tables.column import ColumnType
from station.data.tables.secret import number_of

FILE: Final = "file"
"""What the column of the table is called whose cells name the images."""
STUDY: Final = "StudyInstanceUID"
SERIES: Final = "SeriesInstanceUID"
INSTANCE: Final = "SOPInstanceUID"


class Kind(StrEnum):
    """How a value is written that is kept; one that is written otherwise is removed."""

    CODE = "CS"
    NUMBERS = "DS"
    WHOLE = "IS"
    SHORTS = "US"
    TABLE = "OW"


ATTRIBUTES: Final[Mapping[str, ColumnType | None]] = {
    "PatientID": ColumnType.IDENTIFIER,
    "PatientSex": None,
    "PatientAge": None,
    STUDY: ColumnType.IDENTIFIER,
    SERIES: ColumnType.IDENTIFIER,
    "StudyDate": ColumnType.DATE,
    "Modality": None,
    "BodyPartExamined": None,
    "StudyDescription": None,
    "SeriesDescription": None,
    "ProtocolName": None,
    "Manufacturer": None,
    "ManufacturerModelName": None,
    "ViewPosition": None,
    "ImageLaterality": None,
    "Rows": None,
    "Columns": None,
    "NumberOfFrames": None,
    "BitsStored": None,
    "PhotometricInterpretation": None,
    "SliceThickness": None,
    "KVP": None,
    "MagneticFieldStrength": None,
}
"""What the table of a source may have as columns, with the types that are certain. Nobody's name or birthday is among them."""

KEPT: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(
        (
            "Modality",
            "PhotometricInterpretation",
            "PatientPosition",
            "ViewPosition",
            "Laterality",
            "ImageLaterality",
            "LossyImageCompression",
            "PresentationLUTShape",
            "VOILUTFunction",
            "PixelIntensityRelationship",
        ),
        Kind.CODE,
    ),
    **dict.fromkeys(
        (
            "SliceThickness",
            "SpacingBetweenSlices",
            "PixelSpacing",
            "ImagerPixelSpacing",
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "SliceLocation",
            "WindowCenter",
            "WindowWidth",
            "RescaleIntercept",
            "RescaleSlope",
            "KVP",
            "RepetitionTime",
            "EchoTime",
            "InversionTime",
            "FlipAngle",
            "MagneticFieldStrength",
            "FrameTime",
        ),
        Kind.NUMBERS,
    ),
    **dict.fromkeys(("InstanceNumber", "NumberOfFrames", "PixelAspectRatio"), Kind.WHOLE),
    **dict.fromkeys(
        (
            "SamplesPerPixel",
            "PlanarConfiguration",
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "SmallestImagePixelValue",
            "LargestImagePixelValue",
            "PixelPaddingValue",
            "PixelIntensityRelationshipSign",
            "RedPaletteColorLookupTableDescriptor",
            "GreenPaletteColorLookupTableDescriptor",
            "BluePaletteColorLookupTableDescriptor",
            "LUTDescriptor",
        ),
        Kind.SHORTS,
    ),
    **dict.fromkeys(
        (
            "RedPaletteColorLookupTableData",
            "GreenPaletteColorLookupTableData",
            "BluePaletteColorLookupTableData",
            "LUTData",
        ),
        Kind.TABLE,
    ),
}
SEQUENCES: Final = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "FrameVOILUTSequence",
    "PixelValueTransformationSequence",
    "ModalityLUTSequence",
    "VOILUTSequence",
)
"""Those that are looked into, and kept with what is kept of them."""
UIDS: Final = (STUDY, SERIES, INSTANCE, "FrameOfReferenceUID")
"""Replaced by others, the same ones within a train."""
DATES: Final = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
"""Moved, all of a patient by the same days, so that what lies between them stays."""
EMPTY: Final = (
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
)
"""What every image must have, and may have empty."""

JUDGED: Final = ("SOPClassUID", "BurnedInAnnotation", "ImageType")
"""What says, beside attributes, whether an image can be given away."""

TAGS: Final[Mapping[str, str]] = {
    "PatientID": "00100020",
    "PatientSex": "00100040",
    "PatientAge": "00101010",
    "StudyDate": "00080020",
    "Modality": "00080060",
    "BodyPartExamined": "00180015",
    "StudyDescription": "00081030",
    "SeriesDescription": "0008103E",
    "ProtocolName": "00181030",
    "Manufacturer": "00080070",
    "ManufacturerModelName": "00081090",
    "ViewPosition": "00185101",
    "ImageLaterality": "00200062",
    "Rows": "00280010",
    "Columns": "00280011",
    "NumberOfFrames": "00280008",
    "BitsStored": "00280101",
    "PhotometricInterpretation": "00280004",
    "SliceThickness": "00180050",
    "KVP": "00180060",
    "MagneticFieldStrength": "00180087",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "SOPClassUID": "00080016",
    "BurnedInAnnotation": "00280301",
    "ImageType": "00080008",
    "SOPInstanceUID": "00080018",
}
"""What DICOMweb calls the attributes that are asked for."""

SYNTAXES: Final = frozenset(
    {
        "1.2.840.10008.1.2",  # implicit, little endian
        "1.2.840.10008.1.2.1",  # explicit, little endian
        "1.2.840.10008.1.2.4.50",  # JPEG
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",  # JPEG-LS
        "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.90",  # JPEG 2000
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.201",  # High-throughput JPEG 2000
        "1.2.840.10008.1.2.4.202",
        "1.2.840.10008.1.2.4.203",
        "1.2.840.10008.1.2.5",  # run lengths
    }
)
"""How the pixels of an image may be written; they are passed on as they are. No film, nothing that is inflated."""

UID: Final = re.compile(r"[0-9.]{1,64}")

_CAPTURED: Final = "1.2.840.10008.5.1.4.1.1.7"
_ANNOTATED: Final = frozenset({"US", "IVUS", "ES", "XC", "GM", "SM", "OP", "OT", "DOC", "HC", "SC", "ECG", "AU"})
"""Modalities whose devices write into the picture, or whose pictures may show a face."""
_MOST_DAYS: Final = 3650
_AGE: Final = re.compile(r"([0-9]{3})([DWMY])")
_A_YEAR: Final = {"D": 366, "W": 53, "M": 12, "Y": 1}
_DAY: Final = re.compile(r"([0-9]{4})[.-]?([0-9]{2})[.-]?([0-9]{2})")


def unsuited(image: Mapping[str, str]) -> str | None:
    """Return why an image cannot be given to anybody, by its attributes as texts; None if it can."""
    explicit = image.get("BurnedInAnnotation", "")
    kept_screen = any(word in image.get("ImageType", "") for word in ("SCREEN SAVE", "SCREENSAVE"))
    captured = image.get("SOPClassUID", "") == _CAPTURED or image.get("SOPClassUID", "").startswith(f"{_CAPTURED}.")
    if explicit == "YES":
        return "has writing in its pixels"
    if explicit != "NO" and (kept_screen or captured or image.get("Modality", "") in _ANNOTATED):
        return "may have writing in its pixels: it does not say that it has none"
    return None


def cell(keyword: str, value: str) -> str:
    """Return an attribute's value as a cell of the table."""
    if ATTRIBUTES.get(keyword) is ColumnType.DATE and (found := _DAY.fullmatch(value)):
        return "-".join(found.groups())
    if keyword == "PatientAge" and (age := _AGE.fullmatch(value)):
        return str(int(age[1]) // _A_YEAR[age[2]])
    return value


def moved(key: str, patient: str, value: str) -> str | None:
    """Return a date earlier by some days that nobody outside can know, the same for all dates of a patient in a train."""
    found = _DAY.fullmatch(value)
    try:
        day = None if found is None else date(*map(int, found.groups()))
        back = timedelta(days=1 + number_of(key, f"dates of {patient}") % _MOST_DAYS)
        return None if day is None else (day - back).strftime("%Y%m%d").rjust(8, "0")
    except (ValueError, OverflowError):
        return None


def other_uid(key: str, uid: str) -> str:
    """Return what stands for a UID within a train."""
    return f"2.25.{number_of(key, f'uid {uid}')}"
