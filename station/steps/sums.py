"""How does what a run wrote for a sum become a masked vector, and how do all of them become the total?

At a contribution the gate prints, in the place of the numbers, their masked vector: nothing else of them is judged, released,
sealed or sent. At the combination all vectors are added up before the run begins, and it finds the totals only. In a sequence each
stop adds its vector to the one that came, and its owner takes the total out of what comes home.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from security.archive import Member
from security.digest import BUFFER
from security.files import make_folder, told
from security.ids import PartyId
from security.sums.errors import MaskedVectorInvalid, NumberOutOfBound, NumbersUnreadable
from security.sums.mask import MaskPublicKey, Occasion, PairSecret
from security.train.boarding import PassSecrets, open_seed
from security.train.manifest import Output, TrainManifest
from security.train.route import Task
from security.train.route_kinds import BoardedRoute
from security.train.sum_form import NPY, SUM_FOLDER, Sum
from security.train.verify import AcceptedTrain
from station.house.house import House
from station.house.workroom import Workroom
from station.steps.evidence import pass_secrets


def masked_pieces(
    member: Member, output: Output, accepted: AcceptedTrain, house: House, room: Workroom
) -> Iterator[bytes]:
    """Yield the masked vector of what a run wrote for a sum.

    The same numbers always give the same bytes. Of a train and stop only one vector ever leaves: that which is signed for.

    Raises:
        NumbersUnreadable, NumberOutOfBound: they are not what was declared.
        PassGone, BoardingRejected: our keys for the train are gone, or a seed for us is none.
    """
    from security.sums.masked import Place, mask, total  # noqa: PLC0415 - loads numpy, which a station without sums does not need
    from security.sums.numbers import read_json, read_npy  # noqa: PLC0415
    from security.sums.ring import FixedPoint  # noqa: PLC0415

    manifest, wanted = accepted.manifest.value, output.sum
    if wanted is None:
        raise TypeError(output)
    place = Place(number=manifest.adders.index(house.party), shares=_shares(accepted, house))
    form = FixedPoint(bits=wanted.bits, fraction=wanted.fraction, bound=wanted.bound)
    sink = io.BytesIO()
    try:
        with member.open() as source:
            numbers = (read_npy if output.media_type == NPY else read_json)(source, wanted.shape)
        mask(numbers, form=form, place=place, occasion=_occasion(accepted, output)).write(sink)
    except (NumbersUnreadable, NumberOutOfBound) as error:
        error.fields["output"] = output.path  # of a sum that is the declared path, which no run chose
        raise
    sink.seek(0)
    came = room.sums / output.path
    if came.is_file():
        with came.open("rb") as before:
            both = total([before, sink], numbers=wanted.elements, bits=wanted.bits)
        sink = io.BytesIO()
        both.write(sink)
        sink.seek(0)
    while piece := sink.read(BUFFER):
        yield piece


def take_aside(accepted: AcceptedTrain, room: Workroom) -> None:
    """Take the vectors that came with a state of a sequence out of it: the run sees its own numbers only.

    Raises:
        MaskedVectorInvalid: one did not come, and there was a stop that should have sent it.
    """
    manifest = accepted.manifest.value
    first = manifest.adders[:1] == (manifest.route.stop(accepted.stop).party,)
    for output in manifest.outputs:
        if output.sum is None or first:
            continue
        came, aside = room.state / output.path, room.sums / output.path
        if not came.is_file():
            msg = "a station did not send its part of a sum"
            raise MaskedVectorInvalid(msg, output=output.path)
        make_folder(aside.parent)
        with told(aside.parent):
            came.rename(aside)


def check_shares(accepted: AcceptedTrain, house: House) -> None:
    """Demand, before anything reads data, that we share masks with each of the others.

    Raises:
        PassGone, BoardingRejected, MaskKeyRejected: our keys for the train are gone, or a seed for us is none.
    """
    if any(output.sum is not None for output in accepted.manifest.value.at_stop(accepted.stop).outputs):
        _shares(accepted, house)


def add_up(accepted: AcceptedTrain, room: Workroom) -> None:
    """Put the totals where the run of a combination finds them, and take the vectors away.

    Raises:
        MaskedVectorInvalid, MasksLeft, TotalOutOfBound: what the stations sent is not what becomes this sum.
    """
    manifest = accepted.manifest.value
    for output in manifest.outputs:
        if output.sum is not None:
            _total(output, output.sum, manifest, room)


def _total(output: Output, wanted: Sum, manifest: TrainManifest, room: Workroom) -> None:
    from security.sums.masked import total, unmask  # noqa: PLC0415 - as above
    from security.sums.numbers import write_json, write_npy  # noqa: PLC0415
    from security.sums.ring import FixedPoint  # noqa: PLC0415

    paths = [room.incoming / party / output.path for party in manifest.adders]
    missing = [party for party, path in zip(manifest.adders, paths, strict=True) if not path.is_file()]
    if missing:
        msg = "a station did not send its part of a sum"
        raise MaskedVectorInvalid(msg, output=output.path, stations=", ".join(missing))
    form = FixedPoint(bits=wanted.bits, fraction=wanted.fraction, bound=wanted.bound)
    with ExitStack() as stack:
        sources = [stack.enter_context(path.open("rb")) for path in paths]
        whole = total(sources, numbers=wanted.elements, bits=wanted.bits)
    numbers = unmask(whole, form=form, stations=len(paths))
    into = room.incoming / SUM_FOLDER / output.path
    make_folder(into.parent)
    with told(into.parent), into.open("xb") as sink:
        (write_npy if output.media_type == NPY else write_json)(numbers, wanted.shape, sink)
    for path in paths:
        _remove(path)


def _remove(path: Path) -> None:
    with told(path.parent):
        path.unlink()


def _occasion(accepted: AcceptedTrain, output: Output) -> Occasion:
    """Return what our masks are for. In rounds they hang on what this contribution hangs on: the departure, or the combination before.

    A junction that sends one station another model than the others, such as one for which all others contribute nothing, gets
    noise: it would read that station's part otherwise. In a sequence all hang on the departure, as each stop is told something else.
    """
    route = accepted.manifest.value.route
    (hangs_on,) = accepted.journey.previous
    if route.task(accepted.stop) is Task.RUN and isinstance(route, BoardedRoute):
        hangs_on = accepted.journey.entry(route.departure).digest
    return Occasion(hangs_on=hangs_on, round=route.round(accepted.stop), path=output.path)


def _shares(accepted: AcceptedTrain, house: House) -> dict[int, PairSecret]:
    """Return what we share with each of the others: the seed is that of the earlier one of us two."""
    identities = [one.identity for one in house.keyring]
    ours, passes = pass_secrets(accepted, house), accepted.passes
    adders, found = accepted.manifest.value.adders, dict[int, PairSecret]()
    here = adders.index(house.party)
    for number, party in enumerate(adders):
        if number != here:
            theirs = MaskPublicKey(public=bytes.fromhex(passes[party].mask_key))
            seed = open_seed(passes[party], house.party, identities) if number < here else _made(ours, party)
            found[number] = ours.mask_key.pair_with(theirs, seed)
    return found


def _made(ours: PassSecrets, party: PartyId) -> bytes:
    return ours.seeds[party]
