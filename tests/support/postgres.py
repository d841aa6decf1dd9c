"""A real PostgreSQL, on loopback and with TLS, and files of SQLite with the same tables."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from tests.support.certificates import Authority
from tests.support.registries import free_port
from tests.support.tables import NAMES, Row, spelled

PASSWORD = "canary-password"
COLUMNS = (
    "patient text, age bigint, height double precision, sex varchar(9), smokes boolean, note text, admitted date, "
    '"left" date'
)


class Postgres:
    """A server with the database `clinic`, and a role `reader` that may read what it is granted."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pht-postgres-"))
        self.port = free_port()
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._as: list[str] = []
        self.authority = Authority(self.folder)
        certificate, key = self.authority.issue("127.0.0.1")
        key.chmod(0o600)
        if os.geteuid() == 0:
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            owner = pwd.getpwnam("postgres")
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._data = self.folder / "data"
        secret = self.folder / "admin"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb",
            "-D",
            self._data,
            "-U",
            "admin",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "-N",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        with (self._data / "postgresql.conf").open("a") as out:
            out.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\nfsync = off\n"
                f"ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n"
            )
        self.start()
        with self.admin("postgres") as database:
            database.execute("CREATE DATABASE clinic")
            database.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [*self._as, str(self._bin / program), *map(str, arguments)],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def start(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self.folder / "log", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def address(self, role: str = "reader", name: str = "clinic") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{name}"

    def admin(self, name: str = "clinic") -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="admin", password=PASSWORD, dbname=name, autocommit=True
        )

    def fill(self, rows: Sequence[Row], columns: str = COLUMNS) -> None:
        """Make the table ``visits`` anew, which `reader` may read."""
        with self.admin() as database:
            database.execute("DROP TABLE IF EXISTS visits CASCADE")
            database.execute(f"CREATE TABLE visits ({columns})".encode())
            database.execute("GRANT SELECT ON visits TO reader")
            with database.cursor() as cursor:
                marks = ", ".join(["%s"] * len(NAMES))
                cursor.executemany(
                    f"INSERT INTO visits VALUES ({marks})".encode(), [[row[n] for n in NAMES] for row in rows]
                )


def fill_sqlite(file: Path, rows: Sequence[Row]) -> None:
    """Write a database with the table ``visits``."""
    file.unlink(missing_ok=True)
    database = sqlite3.connect(file)
    database.execute(f"CREATE TABLE visits ({COLUMNS})")
    marks = ", ".join("?" * len(NAMES))
    cells = [
        [one if isinstance(one, bool | int | float | None) else spelled(one) for one in (row[n] for n in NAMES)]
        for row in rows
    ]
    database.executemany(f"INSERT INTO visits VALUES ({marks})", cells)
    database.commit()
    database.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        yield server
    finally:
        server.close()
