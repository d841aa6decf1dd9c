"""How is a sample given to a run as a station gives the real table: cut down to what the train asks for?

``pht data sample`` leaves a ``schema.json`` beside the rows; a sample without one is a folder, and given whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from security.encoding import Fields, parse_json
from security.errors import Malformed
from security.files import read_file
from security.forms.record import Record
from security.tables.column import Column
from station.data.folder import FolderSource
from station.data.port import DataSet
from station.data.tables.cohorts import Cohorts
from station.data.tables.dataset import SCHEMA, TableData
from station.data.tables.files import FilesSource
from station.data.tables.secret import DataSecret
from station.data.tables.select import TABLE
from station.data.tables.source import Described
from train_builder.errors import SpecInvalid

_COLUMN: Final = Record(Column)
_SECRET: Final = DataSecret(b"of a rehearsal, where no patients are")


def sample_set(name: str, folder: Path, *, room: Path) -> DataSet:
    """Return a sample as a data set of a station; `room` is a private folder of the rehearsal.

    Raises:
        SpecInvalid: its schema.json is none.
    """
    described = folder / SCHEMA
    if not described.is_file():
        return DataSet(source=FolderSource(name=name, folder=folder.absolute()), description="")
    try:
        fields = Fields(parse_json(read_file(described)), SCHEMA)
        columns = tuple(_COLUMN.read(one, SCHEMA) for one in fields.items("columns"))
        patient = fields.text("patient")
    except Malformed as error:
        msg = "the schema.json of a sample cannot be read"
        raise SpecInvalid(msg, file=described, hint="'pht data sample' makes one", reason=str(error)) from error
    table = TableData(
        name=name,
        source=FilesSource(name=name, folder=folder.absolute(), pattern=TABLE),
        columns=tuple(Described(column=one, origin=one.name) for one in columns),
        patient=patient,
        secret=lambda: _SECRET,
        keep=Cohorts(room / "cohorts").keep,
        withdrawn=None,
        least=1,
    )
    return DataSet(source=table, description="", columns=columns)
