"""Images of patients for tests: DICOM files with names, identifiers and birthdays that must stay where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from security.tables.column import Column, ColumnType
from station.data.tables.source import Described

PREFIX = "1.2.999.7777."
NAME, BORN, PATIENT = "Canaryname^Anna", "19470229", "canary-{number}"
CANARIES = (b"Canaryname", BORN.encode(), b"canary-", b"Canarysecret", PREFIX.encode())
CT = UID("1.2.840.10008.5.1.4.1.1.2")
CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")

COLUMNS = (
    Column(name="patient", type=ColumnType.IDENTIFIER),
    Column(name="age", type=ColumnType.INTEGER, measure="a"),
    Column(name="part", type=ColumnType.CATEGORY, values=("CHEST", "HEAD")),
    Column(name="taken", type=ColumnType.DATE),
    Column(name="file", type=ColumnType.FILE),
)
_ORIGINS = {
    "patient": "PatientID",
    "age": "PatientAge",
    "part": "BodyPartExamined",
    "taken": "StudyDate",
    "file": "file",
}
EVERY = tuple(Described(column=one, origin=_ORIGINS[one.name]) for one in COLUMNS)


def image(number: int, *, patient: int | None = None, syntax: UID = ExplicitVRLittleEndian, **changes: Any) -> Dataset:
    """Return an image of a patient; a change to None leaves an attribute out."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.preamble = b"Canarysecret".ljust(128, b"\0")
    given: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "SOPInstanceUID": generate_uid(PREFIX, entropy_srcs=["instance", str(number)]),
        "StudyInstanceUID": generate_uid(PREFIX, entropy_srcs=["study", str(number)]),
        "SeriesInstanceUID": generate_uid(PREFIX, entropy_srcs=["series", str(number)]),
        "FrameOfReferenceUID": generate_uid(PREFIX, entropy_srcs=["frame", str(number)]),
        "PatientName": NAME,
        "PatientID": PATIENT.format(number=number if patient is None else patient),
        "PatientBirthDate": BORN,
        "PatientSex": "F",
        "PatientAge": f"{40 + number % 40:03}Y",
        "PatientAddress": "Canarysecret street 1",
        "OtherPatientIDs": "canary-other",
        "ReferringPhysicianName": "Canaryname^Doctor",
        "InstitutionName": "Canarysecret hospital",
        "AccessionNumber": "canary-1",
        "StudyID": "canary-2",
        "StudyDate": f"202001{1 + number % 28:02}",
        "SeriesDate": f"202001{1 + number % 28:02}",
        "StudyTime": "101112",
        "StudyDescription": "thorax",
        "Modality": "CT",
        "BodyPartExamined": "CHEST" if number % 2 else "HEAD",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageComments": "Canaryname was here",
        "KVP": "120",
        "SliceThickness": "1.5",
        "PixelSpacing": ["0.5", "0.5"],
        "InstanceNumber": "1",
        "Rows": 8,
        "Columns": 10,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    } | changes
    for keyword, value in given.items():
        if value is not None:
            setattr(one, keyword, value)
    block = one.private_block(0x0041, "CANARY CORP", create=True)
    block.add_new(0x01, "LO", "Canaryname in private")
    if syntax.is_compressed:
        one.PixelData = encapsulate([b"\xff\xd8 not a picture \xff\xd9"])
        one["PixelData"].is_undefined_length = True
    elif "PixelData" not in one:
        shape = (one.Rows, one.Columns)
        one.PixelData = (np.arange(shape[0] * shape[1], dtype="<u2") % 4096 + number).tobytes()
    one["PixelData"].VR = "OB" if syntax.is_compressed else "OW"
    return one


def save(one: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


def fill(folder: Path, count: int, **changes: Any) -> Path:
    """Write images of as many patients, under paths that name them."""
    for number in range(count):
        save(image(number, **changes), folder / f"Canaryname-{number:04}" / "IM1")
    return folder


SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "jpeg": JPEGBaseline8Bit}
