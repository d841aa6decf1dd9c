"""Is the train in a folder ready to depart?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from console.problems import Problem
from console.progress import Working
from security.directory.trust import TrustStore
from train_builder.build.submit import fetch_wheels
from train_builder.code.check import Finding, packed, preflight, stops_departure, unresolved
from train_builder.code.sources import SourceTree, collect
from train_builder.code.wheels import DEBIAN_12, REQUIREMENTS, Target
from train_builder.errors import WheelsUnresolved
from train_builder.spec.spec import TrainSpec, read_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A train before departure, and what was found; `directory` says whether it was held against the directory.

    `packages` says whether the packages that its code asks for were fetched and looked into; None if it asks for none.
    """

    spec: TrainSpec
    tree: SourceTree
    directory: bool
    packages: bool | None
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
    offline: bool = False,
    working: Working = nullcontext,
) -> Checked | tuple[Problem, ...]:
    """Check a train's folder; return everything that is wrong with its train.yaml if that cannot be read.

    `trust` fetches the directory, if there is one to ask, once the train.yaml is known to be right. Unless `offline`, the packages
    that travel along are fetched as for a departure, and imports are resolved against them.

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
    packages = None if tree.find(REQUIREMENTS) is None else not offline
    if packages:
        with working("resolving packages"):
            findings = _with_packages(folder, spec, tree, findings, allow=allow, target=target)
    return Checked(spec=spec, tree=tree, directory=known is not None, packages=packages, findings=findings)


def _with_packages(
    folder: Path, spec: TrainSpec, tree: SourceTree, found: Sequence[Finding], *, allow: Sequence[str], target: Target
) -> tuple[Finding, ...]:
    """Replace what was guessed about imports by what the packages that travel along really bring."""
    with tempfile.TemporaryDirectory(prefix="pht-check-") as temporary:
        try:
            _, vendored = fetch_wheels(folder, spec, tree, target, Path(temporary))
        except WheelsUnresolved as error:
            return (*found, unresolved(error))
        certain = packed(spec, tree, vendored, target, allow=allow)
    kinds = {one.code for one in certain} | {"import.missing", "import.vendor", "python.syntax"}
    return (*(one for one in found if one.code not in kinds), *certain)
