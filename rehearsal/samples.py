"""Which sample data does each station of a rehearsal have?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from security.errors import FileMissing, InvalidInput
from security.ids import PartyId
from train_builder.spec.spec import TrainSpec

SAMPLES: Final = "samples"

DataSetOf: TypeAlias = tuple[PartyId, str]
"""A station and the name of one of its data sets."""


def parse_sample(text: str) -> tuple[DataSetOf, Path]:
    """Parse ``STATION/NAME=FOLDER``.

    Raises:
        InvalidInput: the text has another form.
    """
    where, found, path = text.partition("=")
    party, slash, name = where.partition("/")
    if not (found and slash and name and path):
        msg = "sample data are given as STATION/NAME=FOLDER"
        raise InvalidInput(msg, value=text[:80])
    return (PartyId(party), name), Path(path)


def find_samples(
    folder: Path, spec: TrainSpec, given: Mapping[DataSetOf, Path]
) -> Mapping[PartyId, Mapping[str, Path]]:
    """Find each station's data sets: those in `given`, and the others in ``FOLDER/samples/STATION/NAME``.

    Raises:
        InvalidInput: `given` names a station or a data set that the train does not have.
        FileMissing: a data set has no folder.
    """
    wanted = {(party, need.name) for party in spec.data_at for need in spec.data}
    if unknown := set(given) - wanted:
        party, name = min(unknown)
        msg = "the train reads no such data set at such a station"
        raise InvalidInput(msg, value=f"{party}/{name}", known=", ".join(f"{a}/{b}" for a, b in sorted(wanted)))
    found: dict[PartyId, dict[str, Path]] = {party: {} for party in spec.route}
    for party, name in sorted(wanted):
        path = given.get((party, name), folder / SAMPLES / party / name)
        if path.is_file():
            msg = "sample data are a folder, and this is a file"
            raise FileMissing(msg, path=path, hint=f"name the folder it is in: --data {party}/{name}={path.parent}")
        if not path.is_dir():
            msg = "no sample data for a station"
            hint = f"make that folder, or name another one: --data {party}/{name}=FOLDER"
            raise FileMissing(msg, path=path, hint=hint)
        found[party][name] = path
    return found
