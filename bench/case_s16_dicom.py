"""What does it cost to take a thousand DICOM images and give away what names nobody, beside copying them with pydicom?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pydicom

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from station.data.tables.dicom import DicomSource
from station.data.tables.select import Selection
from tests.support.dicom import COLUMNS, EVERY, image, save
from tests.support.tables import TRAIN, selected_from

IMAGES, FEWER = 1_000, 100
_SIDE = 256


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield the seconds for all images of a folder, all of which are wanted."""
    count = FEWER if bench.quick else IMAGES
    store = bench.folder / "store"
    pixels = np.random.default_rng(1).integers(0, 4096, _SIDE * _SIDE, dtype="<u2").tobytes()
    for number in range(count):
        save(image(number, Rows=_SIDE, Columns=_SIDE, PixelData=pixels), store / f"{number}.dcm")
    wanted = Selection(
        data="scans",
        train=TRAIN,
        every=EVERY,
        delivered=tuple(one.name for one in COLUMNS),
        where=None,
        patient="patient",
        withdrawn=None,
        least=1,
        parquet=False,
    )
    source, out = DicomSource(name="scans", folder=store), bench.folder / "out"

    def by_station() -> None:
        found, into = selected_from(source, wanted, out)
        if found.rows != count or len(list((into / "files").iterdir())) != count:
            msg = "the station gave something else"
            raise RuntimeError(msg)
        shutil.rmtree(out)

    def by_pydicom() -> None:
        out.mkdir()
        for path in store.iterdir():
            pydicom.dcmread(path).save_as(out / path.name)
        shutil.rmtree(out)

    found = alternating({"station": by_station, "pydicom": by_pydicom}, rounds=3 if bench.quick else 5)
    yield Figure(what="read and written with pydicom", value=found["pydicom"], unit="s")
    yield Figure(
        what=f"the station, {count} images of {_SIDE}² points",
        value=found["station"],
        unit="s",
        to="reading and writing them with pydicom",
        ratio=found["station"] / found["pydicom"],
        goal=Goal(most=1 / 0.7),
        note="each file is read twice, for the table and for its copy, and its copy once for the digest",
    )


CASE = Case(id="S16", title="images of a DICOM folder", measure=measure)
