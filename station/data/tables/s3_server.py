"""How does one read a bucket without being sent elsewhere, and what do the answers of its server mean?

Each request goes once, to the server that is configured, and is told what an answer other than success is. A copy that breaks
off is gone on with from where it was, as long as the object is the one that was listed.
"""

from __future__ import annotations

import base64
import io
import re
import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import MinioException
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, SSLError

from security.encoding import print_time
from security.errors import PhtError
from security.files import read_private, told
from station.data.tables.bucket import Bucket, Listed, changed
from station.errors import DataSourceUnavailable, DataUnfit

MOST_OBJECTS: Final = 100_000
_CONNECT_SECONDS: Final = 10
_KEYS_BYTES: Final = 4096
_BLOCK: Final = 1 << 20
_SLOWEST: Final = 64 << 10  # bytes a second, on average
_BREAKS: Final = 20  # of one object, each after some of it came
_HEADER: Final = 1 << 20
_PARQUET: Final = b"PAR1"
_FOOTER: Final = 8  # at the end of Parquet: how long what tells the columns is, and "PAR1"
_LONGEST_FOOTER: Final = 64 << 20
_LONGEST_DOCUMENT: Final = 16 << 20
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,60})</Code>")
_STRANGER: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "InvalidToken", "ExpiredToken"}
)
_CHANGED: Final = frozenset({"NoSuchKey", "NoSuchVersion", "PreconditionFailed", "InvalidRange"})
_SUCCESS: Final = frozenset({200, 204, 206})
_REDIRECTS: Final = range(300, 400)
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_MAY_NOT: Final = frozenset({_FORBIDDEN, 405, 501})
_LATER: Final = frozenset({408, 409, 429})
_ERRORS: Final = 500


class _Refused(Exception):
    """An answer other than success: its status, and what S3 calls it, if it says."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status, self.code = status, code


class _Direct(urllib3.PoolManager):
    """Sends a request once, and follows nothing. What is read whole is bounded, and has so many seconds."""

    def __init__(self, seconds: int, authorities: ssl.SSLContext) -> None:
        wait = urllib3.Timeout(connect=_CONNECT_SECONDS, read=seconds)
        super().__init__(retries=False, timeout=wait, ssl_context=authorities)
        self._seconds = seconds

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: ANN401 # the base class's
        del redirect
        whole = kw.pop("preload_content", True)
        answer = super().urlopen(method, url, redirect=False, preload_content=False, **kw)
        if answer.status in _SUCCESS and not whole:
            return answer
        body = self._document(answer)
        if answer.status in _SUCCESS:
            return urllib3.HTTPResponse(io.BytesIO(body), headers=answer.headers, status=answer.status)
        found = _CODE.search(body)
        raise _Refused(answer.status, found[1].decode() if found else "")

    def _document(self, answer: BaseHTTPResponse) -> bytes:
        begun, body = time.monotonic(), bytearray()
        try:
            while block := answer.read1(_BLOCK, decode_content=False):
                body += block
                if len(body) > _LONGEST_DOCUMENT or time.monotonic() - begun > self._seconds:
                    msg = "too slow, or too long"
                    raise HTTPError(msg)
        finally:
            answer.close()
        return bytes(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server of the bucket of the data set `name`."""

    name: str
    bucket: Bucket

    @contextmanager
    def opened(self) -> Iterator[Client]:
        """Reach the server; what goes wrong in the block is told without what is in the data (attack T20).

        Raises:
            DataSourceUnavailable, DataUnfit: what it answers, or that it does not.
        """
        access, secret = self._keys()
        with _Direct(self.bucket.seconds, self._authorities()) as pool:
            place = urlsplit(self.bucket.endpoint)
            client = Minio(
                endpoint=place.netloc,
                access_key=access,
                secret_key=secret,
                secure=place.scheme == "https",
                region=self.bucket.region,
                http_client=pool,
            )
            try:
                yield Client(client, pool, self.name, self.bucket)
            except _Refused as error:
                raise self._explained(error) from None
            except HTTPError as error:
                raise self._broken(error) from None

    def _keys(self) -> tuple[str, str]:
        file = self.bucket.keys_file
        try:
            lines = read_private(file, limit=_KEYS_BYTES).decode("utf-8", "replace").split()
        except PhtError as error:
            raise DataUnfit(error.message, data=self.name, hint=error.hint, file=file) from None
        if len(lines) != 2:  # noqa: PLR2004 # two keys
            msg = "a file with keys must have two lines: the access key, and the secret key"
            raise DataUnfit(msg, data=self.name, file=file)
        return lines[0], lines[1]

    def _authorities(self) -> ssl.SSLContext:
        if urlsplit(self.bucket.endpoint).scheme != "https" and self.bucket.ca_file is None:
            # It knows no authority: none is asked, and reading all of them takes a while.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            return ssl.create_default_context(cafile=self.bucket.ca_file)
        except OSError:
            msg = "the certificate authority of a bucket's server cannot be read"
            raise DataUnfit(msg, data=self.name, file=self.bucket.ca_file, hint="correct 'ca_file'") from None

    def _explained(self, error: _Refused) -> PhtError:  # noqa: PLR0911 # one for each thing to do
        code, why = error.code, error.code or str(error.status)
        if code in _STRANGER:
            msg = "the server of a bucket does not know the station's keys"
            return DataUnfit(msg, data=self.name, why=why, hint="check keys_file, and the region")
        if code == "RequestTimeTooSkewed":
            msg = "the server of a bucket has another time than this machine"
            return DataUnfit(msg, data=self.name, hint="set the clock, and let a time server keep it")
        if code == "NoSuchBucket":
            msg = "a bucket is not there"
            return DataUnfit(msg, data=self.name, bucket=self.bucket.name, hint="correct 'bucket' in station.yaml")
        if error.status in _REDIRECTS:
            msg = "the server of a bucket sends us elsewhere, which is not followed"
            return DataUnfit(msg, data=self.name, why=why, hint="correct 'endpoint' and 'region' in station.yaml")
        if error.status == _FORBIDDEN:
            msg = "the station's keys may not list, or not read, a bucket"
            hint = "allow them s3:ListBucket on the bucket, s3:GetObject on what is in it, and nothing else"
            return DataUnfit(msg, data=self.name, why=why, bucket=self.bucket.name, hint=hint)
        if code in _CHANGED:
            return changed(self.name)
        if error.status >= _ERRORS or error.status in _LATER or code == "RequestTimeout":
            msg = "the server of a bucket cannot answer now"
            return DataSourceUnavailable(msg, data=self.name, why=why, hint="the train waits")
        msg = "the server of a bucket cannot answer what it is asked"
        return DataUnfit(msg, data=self.name, why=why, hint="check that 'endpoint' is one of S3")

    def _broken(self, error: HTTPError) -> PhtError:
        if isinstance(error, SSLError) and "certificate" in str(error).lower():
            msg = "the certificate of a bucket's server is not one the station trusts"
            return DataUnfit(msg, data=self.name, hint="name the authority that issued it as ca_file")
        msg = "the server of a bucket cannot be reached, is too slow, or broke off"
        hint = "the train waits; see timeout_seconds"
        return DataSourceUnavailable(msg, data=self.name, why=type(error).__name__, hint=hint)


class Client:
    """Asks the server of a bucket. Errors are for `Server.opened`."""

    def __init__(self, client: Minio, pool: urllib3.PoolManager, name: str, bucket: Bucket) -> None:
        self._client, self._pool, self._name, self._bucket = client, pool, name, bucket

    def listed(self) -> tuple[Listed, ...]:
        """Return every object below the prefix."""
        found = []
        for one in self._listing():
            if one.is_dir or one.object_name is None:
                continue
            last = "" if one.last_modified is None else print_time(one.last_modified)
            found.append(Listed(key=one.object_name, size=one.size or 0, etag=one.etag or "", changed=last))
            if len(found) > MOST_OBJECTS:
                msg = "there are too many objects below the prefix of a bucket"
                raise DataUnfit(msg, data=self._name, most=MOST_OBJECTS)
        return tuple(found)

    def _listing(self) -> Iterator[Object]:
        prefix = self._bucket.prefix or None
        try:
            yield from self._client.list_objects(bucket_name=self._bucket.name, prefix=prefix, recursive=True)
        except (ValueError, ParseError, MinioException):
            msg = "what answers is not a server of buckets"
            raise DataUnfit(msg, data=self._name, hint="check that 'endpoint' is one of S3") from None

    def fetch(self, one: Listed, path: Path) -> None:
        """Copy an object, as it was listed."""
        with told(path), path.open("wb") as out:
            breaks = 0
            while (got := out.tell()) < one.size:
                try:
                    for block in self._blocks(one, got):
                        out.write(block)
                except HTTPError:
                    breaks += 1
                    if out.tell() == got or breaks > _BREAKS:
                        raise
                if not got < out.tell() <= one.size:
                    raise changed(self._name)

    def fetch_begin(self, one: Listed, path: Path) -> None:
        """Copy as much of an object as a header may be long."""
        with told(path):
            path.write_bytes(self._part(one, 0, min(one.size, _HEADER)))

    def fetch_end(self, one: Listed, path: Path) -> None:
        """Write a file as long as an object of Parquet with nothing in it but its end, which tells the columns."""
        last = self._part(one, max(one.size - _FOOTER, 0), min(one.size, _FOOTER))
        length = int.from_bytes(last[:4], "little")
        begin = one.size - _FOOTER - length
        if last[4:] != _PARQUET or begin < len(_PARQUET) or length > _LONGEST_FOOTER:
            msg = "an object of a data set is not Parquet"
            raise DataUnfit(msg, data=self._name)
        footer = self._part(one, begin, length)
        with told(path), path.open("wb") as out:
            out.write(_PARQUET)
            out.seek(begin)
            out.write(footer + last)

    def need_readable(self, one: Listed) -> None:
        """Read the first byte of an object."""
        self._part(one, 0, min(one.size, 1))

    def need_unwritable(self) -> None:
        """Try to write, in a way that changes nothing.

        A server that would let us write says that the content is not that of its digest, one that would not says so first.
        """
        key = f"{self._bucket.prefix}pht-may-it-write-{secrets.token_hex(8)}"
        refused = self._tried("PUT", key, body=b"x", headers={"Content-MD5": base64.b64encode(bytes(16)).decode()})
        if refused is None:
            self._tried("DELETE", key)  # a server that does not look at the digest
        if refused is None or refused.code == "BadDigest":
            self._too_wide("the station's keys may write into a bucket")
        if refused.status in _MAY_NOT:
            # Whoever may delete is told that what is not there is gone; where versions are kept, a mark of that stays.
            deleted = self._tried("DELETE", key)
            if deleted is None or deleted.status == _NOT_FOUND:
                self._too_wide("the station's keys may delete what is in a bucket")
        elif refused.status != _ERRORS:  # what a server says of which nobody can change anything
            raise refused

    def _too_wide(self, msg: str) -> NoReturn:
        hint = "give the station keys of its own, without s3:PutObject and s3:DeleteObject"
        raise DataUnfit(msg, data=self._name, bucket=self._bucket.name, hint=hint)

    def _tried(self, method: str, key: str, **sent: Any) -> _Refused | None:  # noqa: ANN401 # body and headers
        url = self._client.get_presigned_url(method, self._bucket.name, key, expires=timedelta(minutes=10))
        try:
            self._pool.request(method, url, **sent)
        except _Refused as refused:
            return refused
        return None

    def _part(self, one: Listed, start: int, length: int) -> bytes:
        found = bytearray()
        for block in self._blocks(one, start, length) if length else ():
            found += block
            if len(found) > length:
                break
        if len(found) != length:
            raise changed(self._name)
        return bytes(found)

    def _blocks(self, one: Listed, start: int, length: int = 0) -> Iterator[bytes]:
        """Yield an object as it was listed, from a byte on, and so many bytes if there is a number."""
        answer = self._client.get_object(
            bucket_name=self._bucket.name,
            object_name=one.key,
            offset=start,
            length=length,
            request_headers={"If-Match": f'"{one.etag}"'} if one.etag else {},
        )
        try:
            self._need_same(answer, one, start, ranged=bool(start or length))
            begun, seen = time.monotonic(), 0
            while block := answer.read1(_BLOCK, decode_content=False):
                yield block
                seen += len(block)
                if time.monotonic() - begun > self._bucket.seconds + seen / _SLOWEST:
                    msg = "a bucket is too slow"
                    raise DataSourceUnavailable(msg, data=self._name, hint="the train waits")
        finally:
            answer.close()

    def _need_same(self, answer: BaseHTTPResponse, one: Listed, start: int, *, ranged: bool) -> None:
        """Not every server heeds If-Match, and one that cannot go on begins anew."""
        if ranged and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            msg = "no part of an object"
            raise HTTPError(msg)
        etag = answer.headers.get("ETag", "").strip('"')
        if one.etag and etag and etag != one.etag:
            raise changed(self._name)
