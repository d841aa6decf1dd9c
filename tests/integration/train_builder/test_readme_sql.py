"""What the README tells a new operator to type for a first table of a database, typed as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess

from station.data.tables.database import Database
from station.data.tables.sql import SqlSource
from station.house.config import load_config
from tests.support.desk import ROOT, Desk, desk, furnished
from tests.support.postgres import PASSWORD, Postgres
from tests.support.tables import NAMES, Row

__all__ = ["desk", "furnished"]

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def rows() -> list[Row]:
    usual: Row = dict.fromkeys(NAMES)
    return [
        usual | {"patient": f"canary-{number}", "age": 40 + number, "sex": "fm"[number % 2]} for number in range(20)
    ]


def test_a_first_table_of_a_database_is_offered_as_the_readme_says(desk: Desk, postgres: Postgres) -> None:
    postgres.fill(rows())
    (found,) = (one for one in BLOCK.findall((ROOT / "README.md").read_text()) if "--source sql" in one)
    text = str(found)
    places = {
        "reader@db.example:5432": f"reader@127.0.0.1:{postgres.port}",
        "/srv/pht/hospital-ca.pem": str(postgres.authority.file),
        "/srv/pht/db-password": str(desk.path / "db-password"),
        "-s /srv/pht": f"-s {desk.path / 'hospital-a'}",
    }
    for place, ours in places.items():
        assert place in text
        text = text.replace(place, ours)
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "pht":
            assert desk.answer(*words[1:])
        else:
            subprocess.run(words, input=f"{PASSWORD}\n".encode(), check=True)
    entry = load_config(desk.path / "hospital-a" / "station.yaml").data["visits"]
    assert isinstance(entry.source, SqlSource)
    assert isinstance(entry.source.database, Database)
    assert entry.source.table == "public.visits"
    assert entry.table is not None
    assert entry.table.patient == "patient"
    assert "canary" not in (desk.path / "hospital-a" / "station.yaml").read_text()
