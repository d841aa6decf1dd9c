"""How does one read a database without being able to change it, and what do its errors mean?

PostgreSQL copies what is wanted out of one snapshot, in a read-only transaction. A file of SQLite is opened to be read.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sql
from psycopg.pq import ExecStatus
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from security.errors import PhtError
from security.files import read_private, told
from station.data.port import Space
from station.data.tables.database import Database, Relation
from station.data.tables.files import facts, version_of
from station.data.tables.source import Found, Wanted
from station.data.tables.sql_where import KINDS, Kind, Place, test_of
from station.errors import DataSourceUnavailable, DataUnfit

_CONNECT_SECONDS: Final = 10
_PASSWORD_BYTES: Final = 4096
_ROWS: Final = 5000
_TAKEN: Final = 1 << 20
_STEPS: Final = 100_000  # of SQLite's machine, between looks at the time
_POSTGRES: Final = {16: Kind.TRUTH, 20: Kind.WHOLE, 21: Kind.WHOLE, 23: Kind.WHOLE, 25: Kind.TEXT, 1043: Kind.TEXT}
_POSTGRES_MORE: Final = {701: Kind.DOUBLE, 1082: Kind.DAY}  # not real, numeric or character(n): they compare otherwise
_OIDS: Final[Mapping[int, Kind]] = {**_POSTGRES, **_POSTGRES_MORE}
_STORED: Final = {Kind.WHOLE: "integer", Kind.DOUBLE: "real", Kind.TEXT: "text"}
_TOO_WIDE: Final = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' AND c.relkind IN ('r','p','v','m','f')
AND (:one = '' OR c.oid = to_regclass(:one))
AND (has_table_privilege(c.oid, 'INSERT,UPDATE,DELETE,TRUNCATE') OR has_any_column_privilege(c.oid, 'INSERT,UPDATE'))
ORDER BY 1 LIMIT 1"""
_ROLE: Final = "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user"
_SNAPSHOT: Final = (
    "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), pg_current_snapshot()::text"
)
_CREDENTIALS: Final = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "authentication failed",
)
_CERTIFICATE: Final = (
    "certificate verify failed",
    "does not match host name",
    "root certificate",
    "does not support SSL",
)
_STRANGER: Final = (
    "the database does not let the station in",
    "check the user's name, password_file, and the server's pg_hba.conf",
)
_UNKNOWN: Final = (
    "the certificate of the database is not one the station trusts",
    "name the authority that issued it as ca_file",
)
_MAY_NOT: Final = (
    "the station's role may not read a table",
    "GRANT USAGE on its schema, and SELECT on it, to the station's role",
)
_GONE: Final = ("a table, or its database, is not there", "correct 'table' or 'database' in station.yaml")
_NO_SELECT: Final = (
    "a file with a query must hold one SELECT, which only reads",
    "correct it; try it with psql, as the station's role",
)
_WAIT: Final = ("08", "40", "53", "55", "57", "58")  # classes of SQLSTATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The database of the data set `name`."""

    name: str
    database: Database

    def examined(self, relation: Relation) -> str:
        """Say what is read, after a look whether it can be read and not be changed.

        Raises:
            DataSourceUnavailable, DataUnfit: it cannot, or it can.
        """
        with self._open() as (connection, where):
            self._described(connection, relation)
            if connection.dialect.name == "postgresql":
                self._need_narrow(connection, relation)
            return f"{where}: can be read, and not be changed"

    def columns(self, relation: Relation) -> tuple[Found, ...]:
        """Return the columns there are."""
        with self._open() as (connection, _):
            return tuple(
                Found(name=name, type=str(kind)) for name, kind in self._described(connection, relation).items()
            )

    def bring(self, relation: Relation, wanted: Wanted, path: Path) -> str:
        """Write the columns that are wanted, and the rows that may be, into a file; return which state they are of."""
        with self._open() as (connection, _):
            there = self._described(connection, relation)
            gone = [one.column.name for one in wanted.columns if one.origin not in there]
            if gone:
                msg = "a column is not there any more"
                raise DataUnfit(msg, data=self.name, column=", ".join(gone), hint="correct 'columns' in station.yaml")
            postgres = connection.dialect.name == "postgresql"
            query = _select(relation, wanted, there if postgres else None)
            if postgres:
                time_of, snapshot = connection.execute(sql.text(_SNAPSHOT)).one()
                _copy(connection, query, path, wanted.space)
                return f"snapshot {snapshot} of {time_of}"
            file = (Path(connection.engine.url.database or ""),)
            seen = facts(file)
            _write(connection, query, [one.name for one in query.selected_columns], path, wanted.space)
            if facts(file) != seen:
                msg = "a data set changed while it was read"
                raise DataSourceUnavailable(msg, data=self.name, hint="the train waits, and it is read again")
            return version_of(seen)

    def _described(self, connection: sql.Connection, relation: Relation) -> dict[str, Any]:
        """Return the columns that there are, with the type the database calls them, if it does."""
        found: sql.CursorResult[Any] = connection.execute(
            sql.select(sql.literal_column("*")).select_from(_from(relation)).limit(0)
        )
        columns = {one[0]: one[1] for one in found.cursor.description}
        if len(columns) != len(found.cursor.description):
            msg = "a query gives two columns of one name"
            raise DataUnfit(msg, data=self.name, hint="name each of them with AS")
        return columns

    def _need_narrow(self, connection: sql.Connection, relation: Relation) -> None:
        role, rules = connection.execute(sql.text(_ROLE)).one()
        hint = "give the station a role of its own, with GRANT SELECT on what it reads and nothing else"
        if rules:
            msg = "the station's role in the database may do everything"
            raise DataUnfit(msg, data=self.name, role=role, hint=hint)
        one = "" if relation.query is not None else _quoted(relation.table)
        wide = connection.execute(sql.text(_TOO_WIDE), {"one": one}).scalar()
        if wide is not None:
            msg = "the station's role in the database may write"
            told = f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {wide} FROM {role}; also from PUBLIC and roles it is in"
            raise DataUnfit(msg, data=self.name, role=role, table=wide, hint=told)

    @contextmanager
    def _open(self) -> Iterator[tuple[sql.Connection, str]]:
        """Open the database to be read; what goes wrong in the block is told without what is in the data (attack T20)."""
        engine = None
        try:
            engine = self._engine()
            with engine.connect() as opened:
                connection = opened
                if connection.dialect.name == "postgresql":
                    connection = opened.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                else:
                    self._limit(connection)
                yield connection, engine.url.render_as_string(hide_password=True)
        except (SQLAlchemyError, OSError) as error:
            raise self._explained(error) from None
        except Exception as error:
            if type(error).__module__.startswith("psycopg"):
                raise self._explained(error) from None
            raise
        finally:
            if engine is not None:
                engine.dispose()

    def _limit(self, connection: sql.Connection) -> None:
        until = time.monotonic() + self.database.seconds
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(lambda: time.monotonic() > until, _STEPS)

    def _engine(self) -> sql.Engine:
        url = sql.make_url(self.database.address)
        match url.get_backend_name():
            case "sqlite":
                path = Path(url.database or "")
                if not path.is_file():
                    msg = "the file of a data set is not there"
                    raise DataSourceUnavailable(msg, data=self.name, file=path)
                opened = f"file:{str(path).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=ro"
                return sql.create_engine(
                    url,
                    poolclass=sql.pool.NullPool,
                    connect_args={"timeout": _CONNECT_SECONDS},
                    creator=_reader(opened),
                )
            case "postgresql":
                return sql.create_engine(
                    url.set(drivername="postgresql+psycopg", password=self._password()),
                    poolclass=sql.pool.NullPool,
                    connect_args=self._connecting(url),
                    hide_parameters=True,
                )
            case _:
                msg = "this kind of database is not known"
                raise DataUnfit(msg, data=self.name, hint="use postgresql:// or sqlite:///")

    def _password(self) -> str | None:
        if self.database.password_file is None:
            return None
        try:
            return (
                read_private(self.database.password_file, limit=_PASSWORD_BYTES)
                .decode("utf-8", "replace")
                .strip("\r\n")
            )
        except PhtError as error:
            raise DataUnfit(error.message, data=self.name, hint=error.hint, file=self.database.password_file) from None

    def _connecting(self, url: sql.URL) -> dict[str, object]:
        host = url.host or str(url.query.get("host", ""))
        near = not host or host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}
        wait = self.database.seconds * 1000
        given: dict[str, object] = {
            "connect_timeout": _CONNECT_SECONDS,
            "client_encoding": "utf8",
            "passfile": "/dev/null/none",
            "options": f"-c statement_timeout={wait} -c lock_timeout={wait} -c default_transaction_read_only=on"
            " -c TimeZone=UTC -c DateStyle=ISO -c extra_float_digits=1 -c standard_conforming_strings=on",
            "keepalives_idle": "30",
            "tcp_user_timeout": str(_CONNECT_SECONDS * 6000),
        }
        if self.database.ca_file is not None:
            given |= {"sslmode": "verify-full", "sslrootcert": str(self.database.ca_file)}
        elif not near:
            given |= {"sslmode": "verify-full", "sslrootcert": "system"}
        return given

    def _explained(self, error: Exception) -> PhtError:
        inner = error.orig if isinstance(error, DBAPIError) else error
        text, state = str(inner), str(getattr(inner, "sqlstate", None) or "")
        stranger = any(one in text for one in _CREDENTIALS) or state.startswith("28")
        gone = state in {"42P01", "3F000", "3D000"} or "no such table" in text
        for fits, msg, hint in (
            (stranger, *_STRANGER),
            (any(one in text for one in _CERTIFICATE), *_UNKNOWN),
            (state == "42501", *_MAY_NOT),
            (gone, *_GONE),
            (state in {"42601", "0A000", "25006"}, *_NO_SELECT),
        ):
            if fits:
                return DataUnfit(msg, data=self.name, hint=hint)
        away = state[:2] in _WAIT or (not state and type(inner).__name__ in {"OperationalError", "ConnectionTimeout"})
        if away or isinstance(inner, OSError):
            msg = "a database cannot be reached, is too slow, or broke off"
            why = state or type(inner).__name__
            return DataSourceUnavailable(msg, data=self.name, why=why, hint="the train waits; see timeout_seconds")
        msg = "a database cannot answer what it is asked"
        return DataUnfit(msg, data=self.name, why=state or type(inner).__name__)


def _reader(address: str) -> Any:  # noqa: ANN401 # what sqlalchemy calls to connect
    dbapi: Any = sql.create_engine("sqlite://").dialect.loaded_dbapi
    return lambda: dbapi.connect(address, uri=True, timeout=_CONNECT_SECONDS)


def _quoted(table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))


def _from(relation: Relation) -> sql.TextClause:
    if relation.query is None:
        return sql.text(re.sub(r":", r"\\:", _quoted(relation.table)))
    return sql.text("(" + re.sub(r":", r"\\:", relation.query) + "\n) AS asked")


def _select(relation: Relation, wanted: Wanted, oids: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 # its type has a parameter for each column
    origins = dict.fromkeys(one.origin for one in wanted.columns)
    query: Any = sql.select(*(sql.column(origin) for origin in origins)).select_from(_from(relation))
    places: dict[str, Place] = {}
    for one in wanted.columns:
        kinds = KINDS.get(one.column.type, frozenset())
        cell: sql.ColumnElement[Any] = sql.column(one.origin)
        keep = None
        if oids is None:
            kind = next((kind for kind in kinds if kind in _STORED), None)
            keep = sql.func.typeof(cell).not_in([_STORED[kind], "null"]) if kind else None
            collation = "BINARY"
        else:
            found = _OIDS.get(oids[one.origin])
            kind = found if found in kinds else None
            collation = "C"
        if kind is not None:
            cell = sql.collate(cell, collation) if kind is Kind.TEXT else cell
            places[one.column.name] = Place(kind=kind, cell=cell, else_keep=keep)
    test = None if wanted.where is None else test_of(wanted.where, places)
    return query if test is None else query.where(test)


def _copy(connection: sql.Connection, query: sql.Select[Any], path: Path, space: Space) -> None:
    compiled = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    statement = f"COPY ({compiled}) TO STDOUT (FORMAT csv, HEADER)"
    raw: Any = connection.connection.driver_connection
    asked = psycopg.ClientCursor(raw).mogrify(statement, compiled.params)
    # Not cursor.copy(): its loop costs more a row than the database does.
    answer = raw.pgconn.exec_(asked.encode())
    if answer.status != ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(answer)
    take = raw.pgconn.get_copy_data
    try:
        with told(path), path.open("wb", buffering=1 << 20) as out:
            write, taken = out.write, 0
            while (block := take(0))[0] > 0:
                taken += write(block[1])
                if taken > _TAKEN:
                    space.take(taken)
                    taken = 0
            space.take(taken)
        while (answer := raw.pgconn.get_result()) is not None:
            if answer.status != ExecStatus.COMMAND_OK:
                raise psycopg.errors.error_from_result(answer)  # noqa: TRY301 # one way out
    except BaseException:
        connection.invalidate()  # closed as it is: in the middle of a copy nothing else can be said to the server
        raise


def _write(connection: sql.Connection, query: sql.Select[Any], names: Sequence[str], path: Path, space: Space) -> None:
    found = connection.execution_options(stream_results=True).execute(query)
    with told(path), path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for rows in found.partitions(_ROWS):
            before = out.tell()
            writer.writerows(rows)
            space.take(out.tell() - before)
