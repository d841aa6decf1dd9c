"""Is the train in a folder ready to depart?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from console.problems import Problem
from security.directory.trust import TrustStore
from train_builder.code.check import Finding, preflight, stops_departure
from train_builder.code.sources import SourceTree, collect
from train_builder.code.wheels import DEBIAN_12, Target
from train_builder.spec.spec import TrainSpec, read_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A train before departure, and what was found; `directory` says whether it was held against the directory."""

    spec: TrainSpec
    tree: SourceTree
    directory: bool
    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing was found that stops a departure."""
        return not stops_departure(self.findings)


def check_folder(
    folder: Path,
    trust: Callable[[], TrustStore | None],
    *,
    now: datetime,
    allow: Sequence[str],
    target: Target = DEBIAN_12,
) -> Checked | tuple[Problem, ...]:
    """Check a train's folder; return everything that is wrong with its train.yaml if that cannot be read.

    `trust` fetches the directory, if there is one to ask, once the train.yaml is known to be right.

    Raises:
        FileMissing: there is no train.yaml.
        SourcesRejected: the code folder holds something that cannot travel.
    """
    spec, problems = read_spec(folder)
    if spec is None:
        return problems
    tree = collect(folder / spec.code)
    known = trust()
    findings = preflight(spec, tree, known, now=now, allow=allow, target=target)
    return Checked(spec=spec, tree=tree, directory=known is not None, findings=findings)
