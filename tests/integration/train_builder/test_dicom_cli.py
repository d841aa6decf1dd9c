"""An operator's images, in a folder and in an archive, as the handbook has them typed."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from station.errors import ConfigInvalid
from station.house.config import parse_config
from tests.support.certificates import Authority
from tests.support.desk import Desk, desk, edit, furnished
from tests.support.dicom import fill, image, save
from tests.support.orthanc import Front, Orthanc

__all__ = ["desk", "furnished"]

HANDBOOK = Path(__file__).parents[3] / "docs" / "handbook.md"


def typed(places: dict[str, str]) -> list[list[str]]:
    """Return the commands of the handbook's paragraph about images, for the places of this test."""
    (block,) = re.findall(r"```sh\n(pht station data add scans.*?)```", HANDBOOK.read_text(), flags=re.DOTALL)
    for old, new in places.items():
        block = block.replace(old, new)
    lines = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    return [words[1:] for words in lines if words[0] == "pht"]


def test_what_the_handbook_has_typed_adds_a_folder_and_an_archive(desk: Desk, orthanc: Orthanc) -> None:
    images = fill(desk.path / "images", 12)
    save(image(90, Modality="US"), images / "ultrasound")
    orthanc.fill(images)
    authority = Authority(desk.path / "authority")
    shutil.copy2(orthanc.password_file, desk.path / "pacs-password")
    with contextlib.closing(Front(orthanc.port, authority)) as front:
        places = {
            "/srv/images": str(images),
            "https://pacs.example/dicom-web": front.address,
            "/srv/pht/pacs-password": str(desk.path / "pacs-password"),
            "/srv/pht/hospital-ca.pem": str(authority.file),
            "/srv/pht/station": "hospital-a",
        }
        scans, pacs, check = typed(places)
        for words in (scans, pacs):
            found = desk.answer(*words)
            assert found["patient"] == "PatientID"
            types = {one["name"]: one["type"] for one in found["columns"]}
            assert (types["file"], types["Rows"], types["StudyDate"]) == ("file", "integer", "date")
        told = desk.answer(*check)
        for one in told["data"]:
            assert one["ok"]
            assert "12 images; left out: 1, each may have writing in its pixels" in one["results"][0]["detail"]
            assert (one["found"]["rows"], one["found"]["patients"]) == (12, 12)
        file = desk.path / "hospital-a" / "station.yaml"
        assert "canary" not in file.read_text()
        assert "Canary" not in file.read_text().replace(str(images), "")
        edit(file, "username: 'reader'", "username: 'admin'")
        assert desk.fails(*check) == "data.unfit"


def test_what_a_picture_archive_needs_is_told(desk: Desk, orthanc: Orthanc) -> None:
    add = ("station", "data", "add", "pacs", "--source", "dicomweb", "-s", "hospital-a")
    assert desk.fails(*add) == "input.invalid"
    assert desk.fails(*add, "--server", orthanc.address, "--username", "reader") == "input.invalid"
    assert desk.fails(*add, "--server", "http://pacs.example/dicom-web") == "input.invalid"
    assert desk.fails(*add, "--server", "https://reader:secret@pacs.example/dicom-web") == "input.invalid"
    assert desk.fails(*add, "--server", orthanc.address) == "data.unfit"  # nobody is let in without an account


def test_an_entry_that_names_no_password_file_is_refused(desk: Desk) -> None:
    file = desk.path / "hospital-a" / "station.yaml"
    entry = "data:\n  pacs:\n    source: dicomweb\n    server: https://pacs.example\n    username: a\n    patient: p\n    columns: {p: {type: identifier}}\n"
    text = re.sub(r"^data:.*\n", entry, file.read_text(), count=1, flags=re.MULTILINE)
    with pytest.raises(ConfigInvalid, match="password_file"):
        parse_config(text.encode(), file=file)
