"""What does an archive answer, asked by DICOMweb (PS3.18): which images it has, and one of them?

An answer is all there or an error. No redirect is followed: it would take the password somewhere else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import requests

from security.encoding import Json, parse_json
from security.errors import MalformedJson, PhtError
from security.files import read_private
from station.data.tables.archive import Archive
from station.data.tables.dicom_profile import ATTRIBUTES, INSTANCE, JUDGED, TAGS
from station.errors import DataSourceUnavailable, DataUnfit

_LONGEST_PAGE: Final = 64 << 20
_LONGEST_IMAGE: Final = 1 << 30
_LONGEST_PASSWORD: Final = 4096
_CHUNK: Final = 1 << 18
_CONNECT_SECONDS: Final = 10
_ASKED: Final = (*ATTRIBUTES, *JUDGED, INSTANCE)
_ONE_IMAGE: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BOUNDARY: Final = re.compile(r'boundary="?([^";]{1,70})"?')
_READ_ONLY: Final = frozenset({401, 403, 404, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The archive of the data set `name`."""

    name: str
    archive: Archive

    def images(self) -> list[Mapping[str, str]]:
        """Return the attributes of all images, as texts by the standard's names: page after page, until an empty one.

        Raises:
            DataSourceUnavailable: the archive is away, too slow, broke off, or changed meanwhile.
            DataUnfit: it does not let the station in, or does not speak DICOMweb.
        """
        found: list[Mapping[str, str]] = []
        with self._session() as session:
            while page := self._page(session, len(found)):
                found += page
        return sorted(found, key=lambda one: one[INSTANCE])

    @contextmanager
    def _answer(
        self, session: requests.Session, verb: str, address: str, asked: Mapping[str, Any]
    ) -> Iterator[requests.Response]:
        wait = (_CONNECT_SECONDS, self.archive.seconds)
        with (
            self._told(),
            session.request(verb, address, timeout=wait, allow_redirects=False, stream=True, **asked) as answer,
        ):
            yield answer

    def _page(self, session: requests.Session, offset: int) -> list[Mapping[str, str]]:
        asked = {"limit": self.archive.page, "offset": offset, "includefield": [TAGS[keyword] for keyword in _ASKED]}
        headers = {"Accept": "application/dicom+json"}
        address = f"{self.archive.address}/instances"
        with self._answer(session, "GET", address, {"params": asked, "headers": headers}) as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return []
            self._need_ok(answer)
            body = self._body(answer, _LONGEST_PAGE)
        try:
            listed = parse_json(body)
        except MalformedJson:
            listed = None
        if not isinstance(listed, list):
            msg = "the archive's list of images is none"
            raise DataUnfit(msg, data=self.name, hint="is 'server' the base address of its DICOMweb services?")
        return [_texts(one) for one in listed]

    def fetch(self, study: str, series: str, instance: str) -> bytes:
        """Return the file of one image, as it is stored.

        Raises:
            DataSourceUnavailable, DataUnfit: see `images`.
        """
        address = f"{self.archive.address}/studies/{study}/series/{series}/instances/{instance}"
        with (
            self._session() as session,
            self._answer(session, "GET", address, {"headers": {"Accept": _ONE_IMAGE}}) as answer,
        ):
            if answer.status_code == HTTPStatus.NOT_FOUND:
                msg = "an image is no longer in the archive"
                raise DataSourceUnavailable(msg, data=self.name, hint="the train waits, and the archive is asked again")
            self._need_ok(answer)
            body = self._body(answer, _LONGEST_IMAGE)
            return self._only_part(body, answer.headers.get("Content-Type", ""))

    def may_write(self) -> bool:
        """Whether the archive would store what it is sent: it is sent nothing.

        Raises:
            DataSourceUnavailable, DataUnfit: see `images`.
        """
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=nothing'}
        address = f"{self.archive.address}/studies"
        asked = {"data": b"--nothing--\r\n", "headers": headers}
        with self._session() as session, self._answer(session, "POST", address, asked) as answer:
            if answer.status_code not in _READ_ONLY and answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._need_ok(answer)
            return answer.status_code not in _READ_ONLY

    # --- How -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        with requests.Session() as session:
            session.trust_env = False  # neither a password from .netrc, nor a way round by a proxy
            session.headers["Accept-Encoding"] = "identity"
            session.verify = str(self.archive.ca_file) if self.archive.ca_file else True
            if self.archive.username is not None:
                session.auth = requests.auth.HTTPBasicAuth(self.archive.username.encode(), self._password())
            yield session

    def _password(self) -> bytes:
        file = self.archive.password_file
        if file is None:
            return b""
        try:
            return read_private(file, limit=_LONGEST_PASSWORD).strip(b"\r\n")
        except PhtError as error:
            raise DataUnfit(error.message, data=self.name, hint=error.hint, file=file) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.SSLError:
            msg = "the certificate of the archive is not one the station trusts"
            raise DataUnfit(msg, data=self.name, hint="name the authority that issued it as ca_file") from None
        except requests.RequestException as error:
            msg = "an archive cannot be reached, is too slow, or broke off"
            raise DataSourceUnavailable(
                msg, data=self.name, why=type(error).__name__, hint="the train waits; see timeout_seconds"
            ) from None
        except OSError as error:  # a ca_file that is not there, before anything is sent
            msg = "the file with the archive's certificate authority cannot be read"
            raise DataUnfit(msg, data=self.name, why=type(error).__name__, file=self.archive.ca_file) from None

    def _need_ok(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            msg = "the archive does not let the station in"
            raise DataUnfit(msg, data=self.name, hint="check username and password_file, and what the account may read")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            msg = "an archive cannot answer now"
            raise DataSourceUnavailable(msg, data=self.name, status=status)
        if status != HTTPStatus.OK:
            msg = "the archive answers a question of DICOMweb with something else"
            raise DataUnfit(msg, data=self.name, status=status, hint="correct 'server' in station.yaml")

    def _body(self, answer: requests.Response, limit: int) -> bytes:
        until = time.monotonic() + self.archive.seconds
        found = bytearray()
        for chunk in answer.iter_content(_CHUNK):
            found += chunk
            if len(found) > limit:
                msg = "an answer of the archive is longer than the station reads"
                raise DataUnfit(msg, data=self.name, most=limit)
            if time.monotonic() > until:
                raise requests.exceptions.ReadTimeout
        return bytes(found)

    def _only_part(self, body: bytes, kind: str) -> bytes:
        """Return what is between the boundaries; without the last one, the answer was cut."""
        found = _BOUNDARY.search(kind)
        line = b"--" + (found[1] if found else "").encode()
        start, end = body.find(line), body.rfind(b"\r\n" + line + b"--")
        head = body.find(b"\r\n\r\n", start)
        if found is None or start < 0 or end < 0 or not start < head <= end:
            msg = "an image of the archive does not come whole"
            raise DataSourceUnavailable(msg, data=self.name, hint="the train waits, and it is asked for again")
        return body[head + 4 : end]


def _texts(image: Json) -> Mapping[str, str]:
    """Return an image's attributes as texts, from DICOM's JSON."""
    fields = image if isinstance(image, dict) else {}
    return {keyword: _text(fields.get(TAGS[keyword])) for keyword in _ASKED}


def _text(field: Json) -> str:
    values = field.get("Value") if isinstance(field, dict) else None
    if not isinstance(values, list):
        return ""
    return "\\".join(str(one).strip(" \0") for one in values if isinstance(one, str | int | float))
