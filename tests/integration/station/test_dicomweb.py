"""Which images of an archive is a run given, and what if the archive is not as it should be?"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest

from security.tables.parse import parse
from station.data.tables.archive import Archive
from station.data.tables.dicom import DicomSource
from station.data.tables.dicomweb import DicomwebSource
from station.data.tables.select import Selection
from station.data.tables.source import Wanted
from station.errors import DataSourceUnavailable, DataUnfit
from tests.support.certificates import Authority
from tests.support.cutter import Cutter
from tests.support.dicom import CANARIES, COLUMNS, EVERY, SYNTAXES, fill, image, save
from tests.support.orthanc import PASSWORD, Front, Orthanc
from tests.support.tables import TRAIN, selected_from, table_in


def selection(where: str | None = None) -> Selection:
    return Selection(
        data="scans",
        train=TRAIN,
        every=EVERY,
        delivered=tuple(one.name for one in COLUMNS),
        where=None if where is None else parse(where),
        patient="patient",
        withdrawn=None,
        least=1,
        parquet=False,
    )


def archive(orthanc: Orthanc, **changes: Any) -> Archive:
    return replace(
        Archive(address=orthanc.address, username="reader", password_file=orthanc.password_file, seconds=20), **changes
    )


def source(where: Archive) -> DicomwebSource:
    return DicomwebSource(name="scans", archive=where)


@pytest.fixture
def full(orthanc: Orthanc, tmp_path: Path) -> Orthanc:
    orthanc.fill(fill(tmp_path / "store", 8))
    return orthanc


def test_an_archive_gives_what_a_folder_of_the_same_images_gives(full: Orthanc, tmp_path: Path) -> None:
    for where in (None, "part = 'CHEST' and age > 43", "taken >= 2020-01-05 or part = 'HEAD'"):
        tables = []
        for what in (source(archive(full)), DicomSource(name="scans", folder=tmp_path / "store")):
            _, into = selected_from(what, selection(where), tmp_path)
            images = {row["patient"]: pydicom.dcmread(into / row["file"]).to_json_dict() for row in table_in(into)}
            tables.append((sorted((row["patient"], row["age"], row["taken"]) for row in table_in(into)), images))
        assert tables[0] == tables[1]
        assert len(tables[0][1]) == len(tables[0][0]) > 0


def test_all_syntaxes_come_as_they_are_stored(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.empty()
    for number, syntax in enumerate(SYNTAXES.values()):
        orthanc.store(save(image(number, syntax=syntax), tmp_path / f"{number}.dcm"))
    _, into = selected_from(source(archive(orthanc)), selection(), tmp_path)
    found = {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in (into / "files").iterdir()}
    assert found == set(SYNTAXES.values())


def test_nobody_is_named_in_what_is_given(full: Orthanc, tmp_path: Path) -> None:
    _, into = selected_from(source(archive(full)), selection(), tmp_path)
    seen = [path for path in into.rglob("*") if path.is_file()]
    assert len(seen) == 9
    for path in seen:
        assert not [one for one in CANARIES if one in path.read_bytes()], path


def test_only_images_that_are_wanted_are_fetched(full: Orthanc, tmp_path: Path) -> None:
    with relayed(full) as (address, asked):
        selected_from(source(archive(full, address=address)), selection("age = 41"), tmp_path)
    assert sum("/instances/" in one for one in asked) == 1
    assert {one.split()[0] for one in asked} == {"GET"}


def test_an_account_that_may_write_is_refused(full: Orthanc) -> None:
    (told,) = source(archive(full, username="admin")).check()
    assert not told.ok
    assert "may store images" in told.detail
    (told,) = source(archive(full)).check()
    assert told.ok
    assert "8 images" in told.detail


def test_wrong_credentials_are_the_operators(full: Orthanc, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("something else")
    wrong.chmod(0o600)
    for changes in ({"password_file": wrong}, {"username": None}, {"username": "nobody"}):
        with pytest.raises(DataUnfit, match="does not let the station in"):
            source(archive(full, **changes)).columns()


def test_a_password_that_others_can_read_is_not_used(full: Orthanc, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.write_text(PASSWORD)
    open_to_all.chmod(0o644)
    with pytest.raises(DataUnfit) as caught:
        source(archive(full, password_file=open_to_all)).columns()
    assert PASSWORD not in str(caught.value)
    with pytest.raises(DataUnfit):
        source(archive(full, password_file=tmp_path / "none")).columns()


def test_a_certificate_must_be_known(full: Orthanc, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with contextlib.closing(Front(full.port, authority)) as front:
        known = archive(full, address=front.address, ca_file=authority.file)
        assert len(source(known).columns()) > 10
        for other in (None, Authority(tmp_path / "other").file):
            with pytest.raises(DataUnfit, match="certificate"):
                source(replace(known, ca_file=other)).columns()
        with pytest.raises(DataUnfit, match="cannot be read"):
            source(replace(known, ca_file=tmp_path / "none")).columns()


def test_an_archive_that_is_away_makes_a_train_wait(orthanc: Orthanc) -> None:
    away = source(archive(orthanc, address="http://127.0.0.1:9/dicom-web"))
    with pytest.raises(DataSourceUnavailable):
        away.columns()
    assert not away.check()[0].ok


@pytest.mark.parametrize("after", [100, 1_000, 3_000, 6_000, 9_000])
def test_an_answer_that_is_cut_anywhere_makes_a_train_wait(full: Orthanc, tmp_path: Path, after: int) -> None:
    cutter = Cutter(full.url, down=after, times=100)
    with contextlib.closing(cutter), pytest.raises(DataSourceUnavailable):
        selected_from(source(archive(full, address=f"{cutter.url}/dicom-web")), selection(), tmp_path)


def test_an_image_that_may_show_a_name_is_in_no_row(full: Orthanc, tmp_path: Path) -> None:
    full.store(save(image(90, BurnedInAnnotation="YES"), tmp_path / "a"))
    full.store(save(image(91, Modality="US"), tmp_path / "b"))
    found, into = selected_from(source(archive(full)), selection(), tmp_path)
    assert (found.rows, len(list((into / "files").iterdir()))) == (8, 8)
    assert (
        "8 images; left out: 1, each has writing in its pixels; left out: 1" in source(archive(full)).check()[0].detail
    )


def test_images_of_nobody_are_given_to_nobody(full: Orthanc, tmp_path: Path) -> None:
    full.store(save(image(90, PatientID=""), tmp_path / "a"))
    assert selected_from(source(archive(full)), selection(), tmp_path)[0].rows == 8


def test_two_images_of_one_uid_are_an_error(full: Orthanc, tmp_path: Path) -> None:
    full.store(save(image(3, patient=90, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1"), tmp_path / "a"))
    with pytest.raises(DataUnfit, match="same SOP instance UID") as caught:
        source(archive(full)).columns()
    assert "1.2." not in str(caught.value.fields)


def test_an_archive_that_changes_while_it_is_read_is_noticed(full: Orthanc, tmp_path: Path) -> None:
    into = tmp_path / "stage"
    into.mkdir()
    staged = source(archive(full)).stage(Wanted(columns=EVERY), into)
    assert staged.unchanged()
    added = full.store(save(image(90), tmp_path / "a"))
    assert not staged.unchanged()
    full.remove(added)
    assert staged.unchanged()
    full.empty()
    assert staged.carry is not None
    with pytest.raises(DataSourceUnavailable):
        staged.carry("0", tmp_path / "given", "key")
    assert not (tmp_path / "given").exists()


# --- Between the station and the archive -----------------------------------------------------------------------------


Change = Callable[[str, bytes, dict[str, str]], tuple[int, bytes]]


@contextlib.contextmanager
def relayed(orthanc: Orthanc, change: Change | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield an address that leads to the archive, changes its answers, and what was asked there."""
    import requests

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            asked.append(f"GET {self.path}")
            found = requests.get(
                orthanc.url + self.path,
                headers={name: self.headers[name] for name in ("Accept", "Authorization")},
                timeout=20,
            )
            headers = {"Content-Type": found.headers.get("Content-Type", "")}
            status, body = found.status_code, found.content
            if change is not None:
                status, body = change(self.path, body, headers)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def on_images(change: Callable[[bytes], bytes]) -> Change:
    return lambda path, body, _: (200, change(body) if "/instances/" in path else body)


def on_lists(status: int, change: Callable[[bytes], bytes] = lambda body: body, **headers: str) -> Change:
    def changed(path: str, body: bytes, given: dict[str, str]) -> tuple[int, bytes]:
        if "/instances?" not in path or "offset=0" not in path:
            return 204 if "/instances?" in path else 200, body
        given.update(headers)
        return status, change(body)

    return changed


def _twice(body: bytes) -> bytes:
    listed = json.loads(body)
    return json.dumps([*listed, listed[0]]).encode()


def _without_uid(body: bytes) -> bytes:
    listed = json.loads(body)
    del listed[3]["00080018"]
    return json.dumps(listed).encode()


def _other_patient(body: bytes) -> bytes:
    return body.replace(b"canary-", b"canari-")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (on_images(lambda body: body[:-20]), DataSourceUnavailable),  # in the middle of the last boundary
        (on_images(lambda body: body[: len(body) // 2]), DataSourceUnavailable),
        (on_images(lambda _: b""), DataSourceUnavailable),
        (on_images(_other_patient), DataSourceUnavailable),
        (on_images(lambda body: body.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0")), DataUnfit),
        (on_lists(503), DataSourceUnavailable),
        (on_lists(429), DataSourceUnavailable),
        (on_lists(404), DataUnfit),
        (on_lists(302, Location="http://127.0.0.1:9/"), DataUnfit),
        (on_lists(200, lambda body: body[:-30]), DataUnfit),
        (on_lists(200, lambda _: b"<html>"), DataUnfit),
        (on_lists(200, lambda _: b'{"a": 1}'), DataUnfit),
        (on_lists(200, lambda _: b"[1, null]"), DataUnfit),
        (on_lists(200, _twice), DataSourceUnavailable),
        (on_lists(200, _without_uid), DataUnfit),
    ],
)
def test_an_archive_that_answers_something_else_gives_nothing(
    full: Orthanc, tmp_path: Path, change: Change, error: type[Exception]
) -> None:
    with relayed(full, change) as (address, _), pytest.raises(error) as caught:
        selected_from(source(archive(full, address=address)), selection(), tmp_path)
    assert "anary" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_an_archive_that_is_too_slow_makes_a_train_wait(full: Orthanc) -> None:
    over = threading.Event()

    def late(_: str, body: bytes, __: dict[str, str]) -> tuple[int, bytes]:
        over.wait(30)
        return 200, body

    with relayed(full, late) as (address, _):
        try:
            with pytest.raises(DataSourceUnavailable, match="too slow"):
                source(archive(full, address=address, seconds=1)).columns()
        finally:
            over.set()


def test_more_images_than_a_page_are_all_there(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.fill(fill(tmp_path / "store", 8))
    with relayed(orthanc) as (address, asked):
        found, _ = selected_from(source(archive(orthanc, address=address, page=3)), selection("age = 47"), tmp_path)
    assert found.rows == 1
    assert sum("/instances?" in one for one in asked) == 4  # three with images, and an empty one
