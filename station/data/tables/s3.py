"""How is a table read that lies in a bucket, as CSV, TSV or Parquet objects?

All objects below a prefix that match make one table. They are copied as one state of the bucket: what changes meanwhile is
noticed, and the train waits. The library for it is an extra (`s3_server` imports it).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from registry.names import Origin
from security.errors import InvalidInput
from station.check import CheckResult
from station.data.tables.bucket import REGION, TIMEOUT, Bucket, Listed, changed, matching, version_of
from station.data.tables.engine import opened
from station.data.tables.files import ANY_CSV, FORMS, FilesSource
from station.data.tables.kind import Kind, beside, spelling_of
from station.data.tables.scan import kinds_in
from station.data.tables.source import PLAIN, Form, Found, Spelling, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

if TYPE_CHECKING:
    from station.data.tables import s3_server


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Source:
    """The table of the data set `name`, in the objects below the prefix of a bucket that match `pattern`."""

    name: str
    bucket: Bucket
    pattern: str
    spelling: Spelling = PLAIN

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "s3"

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.bucket.reads

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.bucket.secrets

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            with self._server().opened() as client:
                found = self._objects(client)
                client.need_readable(found[0])
                client.need_unwritable()
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        where = f"{self.bucket.endpoint}, bucket {self.bucket.name}"
        told = f"{where}: {version_of(found)}; can be read, and not be changed"
        return (CheckResult(name=what, ok=True, detail=told),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`."""
        with tempfile.TemporaryDirectory(prefix="pht-data-") as folder:
            with self._server().opened() as client:
                one = self._objects(client)[0]
                path = Path(folder) / f"1{_suffix(one)}"
                if FORMS[_suffix(one)] is Form.PARQUET:
                    client.fetch_end(one, path)
                else:
                    client.fetch_begin(one, path)
            staged = Staged(form=FORMS[_suffix(one)], paths=(path,), names={}, version="", spelling=self.spelling)
            with opened([path.parent], scratch=None, about=self.name) as engine:
                return tuple(Found(name=name, type=kind) for name, kind in kinds_in(engine, staged).items())

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        with self._server().opened() as client:
            found = self._objects(client)
            for number, one in enumerate(found, start=1):
                wanted.space.take(one.size)
                client.fetch(one, into / f"{number:06}{_suffix(one)}")  # a key may be any text
            if self._objects(client) != found:
                raise changed(self.name)
        copied = FilesSource(name=self.name, folder=into, pattern="*", spelling=self.spelling).stage(wanted, into)
        return replace(copied, version=version_of(found), unchanged=lambda: True)

    def _server(self) -> s3_server.Server:
        try:
            from station.data.tables.s3_server import Server
        except ImportError:
            msg = "the library for buckets is not installed here"
            raise DataUnfit(msg, data=self.name, hint="pip install 'pht[s3]'") from None
        return Server(name=self.name, bucket=self.bucket)

    def _objects(self, client: s3_server.Client) -> tuple[Listed, ...]:
        found = matching(client.listed(), self.bucket.prefix, self.pattern)
        if not found:
            msg = "no object of a data set is there"
            raise DataSourceUnavailable(
                msg,
                data=self.name,
                bucket=self.bucket.name,
                prefix=self.bucket.prefix,
                pattern=self.pattern,
                hint="correct 'prefix' or 'files' in station.yaml, or put them there; the train waits",
            )
        if any({".", ".."} & set(one.key.split("/")) for one in found):
            msg = "the key of an object is no path"  # on its way it would become another
            raise DataUnfit(msg, data=self.name, pattern=self.pattern)
        forms = {FORMS.get(_suffix(one)) for one in found}
        if None in forms or len(forms) > 1:
            msg = "the objects of a table must all be CSV, TSV or Parquet"
            raise DataUnfit(msg, data=self.name, pattern=self.pattern)
        return found


def _suffix(one: Listed) -> str:
    return PurePosixPath(one.key).suffix.lower()


def _source(name: str, home: Path, value: Mapping[str, Any]) -> S3Source:
    origin = Origin.from_text(value["endpoint"])
    if origin.scheme == "http" and not origin.loopback:
        msg = "a bucket on another machine is read over https only"
        raise InvalidInput(msg, endpoint=value["endpoint"])
    folder, pattern = value.get("prefix", "").strip("/"), value.get("files", ANY_CSV)
    bucket = Bucket(
        endpoint=str(origin),
        name=value["bucket"],
        keys_file=home / value["keys_file"],
        prefix=f"{folder}/" if folder else "",
        region=value.get("region", REGION),
        ca_file=beside(home, value, "ca_file"),
        seconds=value.get("timeout_seconds", TIMEOUT),
    )
    return S3Source(name=name, bucket=bucket, pattern=pattern, spelling=spelling_of(value, pattern))


KIND: Final = Kind(
    name="s3",
    read=_source,
    needs=("endpoint", "bucket", "keys_file"),
    may=("prefix", "files", "region", "ca_file", "timeout_seconds", "spelling"),
)
