"""How does an owner take the totals out of the masked vectors that a sequence brought home?"""

from __future__ import annotations

from pathlib import Path

from security.files import told
from security.train.manifest import TrainManifest
from security.train.route import Task
from security.train.sum_form import NPY


def unmask_results(folder: Path, manifest: TrainManifest) -> None:
    """Put the totals in the place of the masked vectors, in the form that the stations' numbers had.

    Raises:
        MaskedVectorInvalid, MasksLeft, TotalOutOfBound: what came home is not the sum of all stations.
    """
    outputs = [one for one in manifest.outputs if one.sum is not None and one.task is not Task.CONTRIBUTE]
    if not outputs:
        return
    from security.sums.masked import total, unmask  # noqa: PLC0415 - loads numpy, which few trains need
    from security.sums.numbers import write_json, write_npy  # noqa: PLC0415
    from security.sums.ring import FixedPoint  # noqa: PLC0415

    for output in outputs:
        path, wanted = folder / output.path, output.sum
        if wanted is None or not path.is_file():
            continue
        with path.open("rb") as source:
            whole = total([source], numbers=wanted.elements, bits=wanted.bits)
        form = FixedPoint(bits=wanted.bits, fraction=wanted.fraction, bound=wanted.bound)
        numbers = unmask(whole, form=form, stations=len(manifest.adders))
        with told(path), path.open("wb") as sink:
            (write_npy if output.media_type == NPY else write_json)(numbers, wanted.shape, sink)
