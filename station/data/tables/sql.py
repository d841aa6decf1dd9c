"""How is a table read that lies in an SQL database: PostgreSQL, or a file of SQLite?

The libraries for it are an extra (`sql_server` imports them), so that a station without such data needs none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from security.errors import PhtError
from security.files import read_file
from station.check import CheckResult
from station.data.tables.database import Database, Relation
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
