"""How is a table read that lies in an SQL database: PostgreSQL, or a file of SQLite?

The libraries for it are an extra (`sql_server` imports them), so that a station without such data needs none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from security.errors import InvalidInput, PhtError
from security.files import read_file
from station.check import CheckResult
from station.data.tables.database import SQLITE, TIMEOUT, Database, Relation
from station.data.tables.kind import Kind, beside
from station.data.tables.source import Form, Found, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

if TYPE_CHECKING:
    from station.data.tables import sql_server

_LONGEST_QUERY: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSource:
    """The data set `name`: the table or view `table`, or what the one SELECT in `query_file` gives."""

    name: str
    database: Database
    table: str | None = None
    query_file: Path | None = None

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "sql"

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return (*self.database.reads, *([self.query_file] if self.query_file else []))

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.database.secrets

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            found = self._server().examined(self._relation())
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        return (CheckResult(name=what, ok=True, detail=found),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`."""
        return self._server().columns(self._relation())

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        path = into / "table.csv"
        version = self._server().bring(self._relation(), wanted, path)
        names = {one.column.name: one.origin for one in wanted.columns}
        return Staged(form=Form.CSV, paths=(path,), names=names, version=version)

    def _server(self) -> sql_server.Server:
        try:
            from station.data.tables.sql_server import Server
        except ImportError:
            msg = "the libraries for databases are not installed here"
            raise DataUnfit(msg, data=self.name, hint="pip install 'pht[sql]'") from None
        return Server(name=self.name, database=self.database)

    def _relation(self) -> Relation:
        if self.query_file is None:
            return Relation(table=self.table or "")
        try:
            query = read_file(self.query_file, limit=_LONGEST_QUERY).decode().strip().removesuffix(";")
        except (PhtError, UnicodeDecodeError):
            msg = "the file with the query cannot be read"
            raise DataUnfit(msg, data=self.name, file=self.query_file) from None
        if not query.upper().startswith(("SELECT", "WITH")):
            msg = "a file with a query must hold one SELECT"
            raise DataUnfit(msg, data=self.name, file=self.query_file, hint="let it begin with SELECT or WITH")
        return Relation(query=query)


def _source(name: str, home: Path, value: Mapping[str, Any]) -> SqlSource:
    kind, _, rest = value["database"].partition("://")
    if kind == "sqlite":
        address = f"{SQLITE}{home / rest.removeprefix('/')}"
    else:
        address = value["database"]
        if ":" in rest.partition("/")[0].rpartition("@")[0] or re.search(r"[?&](?!host=)", rest):
            msg = "the address of a database has no password in it, and no settings but a host"
            raise InvalidInput(msg, hint="write the password into a private file, and name it as password_file")
    database = Database(
        address=address,
        password_file=beside(home, value, "password_file"),
        ca_file=beside(home, value, "ca_file"),
        seconds=value.get("timeout_seconds", TIMEOUT),
    )
    return SqlSource(
        name=name, database=database, table=value.get("table"), query_file=beside(home, value, "query_file")
    )


KIND: Final = Kind(
    name="sql",
    read=_source,
    needs=("database",),
    either=("table", "query_file"),
    may=("password_file", "ca_file", "timeout_seconds"),
)
