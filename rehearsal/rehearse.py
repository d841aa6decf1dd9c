"""Would this train come home? Built, sent, run and opened on this machine, by the same code as for real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.blobs import BlobFolder
from rehearsal.company import Company, Venue, company
from rehearsal.journey import Tell, go_round, open_results
from rehearsal.report import Rehearsal
from rehearsal.samples import DataSetOf, find_samples
from security.archive import Member
from security.files import make_folder
from train_builder.build.build import BuiltTrain, build
from train_builder.build.submit import fetch_wheels
from train_builder.code.sources import SourceTree, collect
from train_builder.code.wheels import DEBIAN_12, Target
from train_builder.spec.spec import TrainSpec, load_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is rehearsed: the train in `folder`, on `samples` where they are elsewhere, opened into `results`."""

    folder: Path
    results: Path
    samples: Mapping[DataSetOf, Path] = field(default_factory=dict)
    target: Target = DEBIAN_12


def rehearse(play: Play, venue: Venue, tell: Tell | None = None) -> Rehearsal:
    """Build the train with keys of its own, let it go its whole route, and open what comes home.

    Raises:
        SpecInvalid, SourcesRejected, WheelsUnresolved: there is something to fix first.
        FileMissing: a station has no samples.
        BaseNotApproved, EngineUnavailable, DataClosed: see `company`.
        RehearsalStuck: see `go_round`.
    """
    spec = load_spec(play.folder)
    tree = collect(play.folder / spec.code)
    stations = find_samples(play.folder, spec, play.samples)
    _, vendored = fetch_wheels(play.folder, spec, tree, play.target, make_folder(venue.room / "wheels"))
    with company(spec.base, stations, venue) as ours:
        built = _send(spec, tree, vendored, ours, BlobFolder(venue.room / "built"))
        train, route = built.train, built.accepted.manifest.value.route
        stops = go_round(route, ours, venue, tell)
        home = all(one.passed for one in stops) and bool(stops)
        return Rehearsal(
            train=train,
            sandbox=ours.sandbox,
            sealed=ours.sealed,
            lacking=ours.lacking,
            stops=stops,
            outputs=spec.outputs,
            lines=spec.lines,
            results=open_results(train, ours, venue, play.results) if home else None,
        )


def _send(
    spec: TrainSpec, tree: SourceTree, vendored: tuple[Member, ...], ours: Company, blobs: BlobFolder
) -> BuiltTrain:
    built = build(
        spec,
        tree,
        owner=ours.owner,
        secrets=ours.secrets,
        trust=ours.trust,
        blobs=blobs,
        now=ours.began,
        vendored=vendored,
    )
    manifest = built.accepted.manifest.value
    for start in manifest.route.starts:
        station = manifest.expected_at(start).party
        ours.depot.send(built.parcel, built.blobs, to=station, train=built.train, stop=start)
    return built
