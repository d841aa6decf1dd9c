"""How does a scientist see, before anybody else does, whether a train would come home?

This side builds the train and finds the samples; the stations' side (`rehearsal.stations`) runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from registry.blobs import BlobFolder
from registry.port import Registry
from rehearsal.stations import Rehearsal, Rehearsed, Stage
from security.digest import digest_of
from security.directory.trust import Base, TrustStore
from security.encoding import Json
from security.errors import FileMissing, InvalidInput
from security.files import make_folder
from security.ids import PartyId, TrainId
from security.train.manifest import Output
from security.train.route import counted
from train_builder.build.build import build
from train_builder.build.submit import fetch_wheels
from train_builder.code.sources import collect
from train_builder.code.wheels import DEBIAN_12, Target
from train_builder.spec.spec import TrainSpec, load_spec
from train_builder.spec.units import show_size

OWNER: Final = PartyId("rehearsing-owner")
SAMPLES: Final = "samples"
_GATE: Final = {
    "gate.undeclared": "the analysis left a file in /pht/state that train.yaml does not declare under 'outputs'",
    "gate.oversized": "leave less in /pht/state, or raise limits.output or an output's max_bytes in train.yaml",
    "gate.type": "leave plain files in /pht/state, of the media_type that train.yaml declares for them",
    "gate.schema": "what the analysis left does not satisfy a schema in train.yaml",
    "run.no-results": "the analysis left none of the outputs of train.yaml in /pht/state",
}


class Rehearse(Protocol):
    """The stations' side."""

    def __call__(
        self,
        submit: Callable[[Stage], TrainId],
        *,
        owner: PartyId,
        stations: Mapping[PartyId, Mapping[str, Path]],
        base: Base,
        bases: Registry | None,
        engine: str,
        walls: bool,
        room: Path,
        results: Path,
        tell: Callable[[PartyId, str], None] | None,
    ) -> Rehearsal:
        """Let the train that `submit` sends go its whole way.

        Raises:
            EngineUnavailable: there must be `walls`, and the engine gives none.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """Where base images come from: the directory that names them, and the registry that holds them."""

    trust: TrustStore
    registry: Registry


def rehearse_folder(
    folder: Path,
    rehearse: Rehearse,
    *,
    places: Sequence[str],
    bases: Bases | None,
    engine: str,
    walls: bool,
    room: Path,
    results: Path,
    target: Target = DEBIAN_12,
    tell: Callable[[PartyId, str], None] | None = None,
) -> Rehearsal:
    """Build the train in `folder` with the rehearsal's keys and let it go round; `room` is an empty private folder.

    With `walls` it does not run as a plain process, whatever is missing.

    Raises:
        EngineUnavailable: there must be `walls`, and the engine gives none.
        SpecInvalid, SourcesRejected, WheelsUnresolved: there is something to put right first.
        FileMissing: a data set of a station is nowhere to be found.
        BaseNotApproved: the base image is not in the directory.
    """
    spec = load_spec(folder)
    tree = collect(folder / spec.code)
    stations = samples_of(folder, spec, places)
    _, vendored = fetch_wheels(folder, spec, tree, target, make_folder(room / "wheels"))

    def submit(stage: Stage) -> TrainId:
        built = build(
            spec,
            tree,
            owner=OWNER,
            secrets=stage.secrets,
            trust=stage.trust,
            blobs=BlobFolder(room / "built"),
            now=stage.now,
            vendored=vendored,
        )
        first = built.accepted.stop
        station = built.accepted.manifest.value.expected_at(first).party
        stage.depot.send(built.parts, built.blobs, to=station, train=built.train, stop=first)
        return built.train

    if bases is None:  # no image is needed, but the manifest names one
        base = Base(name=spec.base, digest=digest_of(spec.base.encode()), note="", withdrawn=False)
    else:
        base = bases.trust.base_named(spec.base)
    return rehearse(
        submit,
        owner=OWNER,
        stations=stations,
        base=base,
        bases=None if bases is None else bases.registry,
        engine=engine,
        walls=walls,
        room=make_folder(room / "stations"),
        results=results,
        tell=tell,
    )


def samples_of(folder: Path, spec: TrainSpec, places: Sequence[str]) -> dict[PartyId, dict[str, Path]]:
    """Find each station's data sets: named as ``STATION/NAME=FOLDER``, or in ``FOLDER/samples/STATION/NAME``.

    Raises:
        InvalidInput: a place is not of that form, or names a station or data set the train does not have.
        FileMissing: a data set is nowhere.
    """
    named = dict(map(_place, places))
    wanted = {(party, need.name) for party in spec.route for need in spec.data}
    if unknown := set(named) - wanted:
        party, name = min(unknown)
        msg = "the train has no such data set at such a station"
        raise InvalidInput(msg, value=f"{party}/{name}", known=", ".join(f"{a}/{b}" for a, b in sorted(wanted)))
    found: dict[PartyId, dict[str, Path]] = {party: {} for party in spec.route}
    for party, name in sorted(wanted):
        path = named.get((party, name), folder / SAMPLES / party / name)
        if not path.is_dir():
            msg = "no sample data for a station"
            hint = f"make that folder, or name another: --data {party}/{name}=FOLDER"
            raise FileMissing(msg, path=path, hint=hint)
        found[party][name] = path
    return found


def tell_rehearsal(done: Rehearsal, results: Path | None) -> str:
    """Return what a person reads: each stop, and for one that did not pass, why, with what the analysis printed."""
    walls = "the stations' sandbox" if done.sealed else "a plain local process, without any walls"
    lines = [f"the analysis ran in {walls} ({done.sandbox})"]
    if done.lacking:
        lines.append(f"  because {done.lacking}")
    for one in done.stops:
        if one.passed:
            files = ", ".join(f"{path} ({show_size(size)})" for path, size in one.outputs)
            lines.append(f"  stop {counted(one.stop)}  {one.station}: passed; leaves {files or 'nothing'}")
            continue
        lines.append(f"  stop {counted(one.stop)}  {one.station}: {one.code}: {one.reason}")
        lines += [f"    | {line}" for line in one.printed.decode("utf-8", "replace").splitlines()[-20:]]
    if done.results is None:
        lines.append("this train would not come home")
    else:
        lines.append("this train would come home" + (f"; its results are in {results}" if results else ""))
    return "\n".join(lines)


def hint_for(failed: Rehearsed, outputs: Sequence[Output]) -> str:
    """Return what to do about a stop that did not pass; `outputs` are those the train declares."""
    if failed.code in _GATE:
        meant = [one.path for one in outputs if failed.code != "gate.schema" or one.schema is not None]
        return f"{_GATE[failed.code]}: {', '.join(meant)}"
    return "what the analysis printed stands above" if failed.printed else "the analysis printed nothing"


def rehearsal_document(done: Rehearsal, results: Path | None) -> dict[str, Json]:
    """Return the same for programs."""
    return {
        "sandbox": done.sandbox,
        "sealed": done.sealed,
        "lacking": done.lacking,
        "home": done.results is not None,
        "results": str(results) if results and done.results else None,
        "stops": [
            {
                "stop": one.stop,
                "station": str(one.station),
                "passed": one.passed,
                "code": one.code,
                "reason": one.reason,
                "seconds": one.seconds,
                "outputs": dict(one.outputs),
                "printed": one.printed.decode("utf-8", "replace"),
            }
            for one in done.stops
        ],
    }


def _place(text: str) -> tuple[tuple[PartyId, str], Path]:
    where, found, path = text.partition("=")
    party, slash, name = where.partition("/")
    if not (found and slash and name and path):
        msg = "a place is STATION/NAME=FOLDER"
        raise InvalidInput(msg, value=text[:80])
    return (PartyId(party), name), Path(path)
