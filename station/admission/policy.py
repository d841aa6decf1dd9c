"""Does this hospital admit this train?

A policy is a value made of small rules. A rule admits a train, holds it for a person, or refuses it; all are asked, a
refusal outweighs a hold, and a person's approval answers holds only. Verification comes first (`security.train.verify`): the
question here is not whether the train is genuine, but whether it is wanted.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from security.digest import Digest
from security.errors import SelectionInvalid
from security.ids import PartyId
from security.tables.column import Column, column_named
from security.tables.fit import fit
from security.tables.parse import parse
from security.train.manifest import Limits, TrainManifest
from station.errors import PolicyRefused
from station.gate.rules import need_usable

MISSING: Final = "files that the train expects are missing"
"""What a person is told who is asked about such a train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a policy is asked about.

    `base` is the directory's name for the base image. `analysis` is what a person approves once
    (`security.train.analysis`), if the policy asks for it. `missing` are the expected files that each data set here lacks.
    """

    manifest: TrainManifest
    base: str
    analysis: Digest | None
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """The train may run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A person must decide, and this is why."""

    reason: str


Verdict: TypeAlias = Admit | Hold


class Rule(Protocol):
    """One thing a hospital insists on."""

    def consider(self, request: Request) -> Verdict:
        """Judge.

        Raises:
            PolicyRefused: the train must not run here.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Only trains of these owners."""

    allowed: frozenset[PartyId]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        owner = request.manifest.owner.party
        if owner not in self.allowed:
            msg = "this station does not admit trains of this owner"
            raise PolicyRefused(msg, owner=owner, hint="name the owner under admission.owners to admit them")
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """Only these of the base images that the directory approves."""

    allowed: frozenset[str]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        if request.base not in self.allowed:
            msg = "this station does not run this base image"
            raise PolicyRefused(msg, base=request.base)
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """Only trains whose approval reference matches one of these shell patterns."""

    allowed: tuple[str, ...]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        reference = request.manifest.approval.reference
        if not any(fnmatch.fnmatchcase(reference, pattern) for pattern in self.allowed):
            msg = "this station does not accept the approval that the train refers to"
            raise PolicyRefused(msg, reference=reference[:200])
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalBases:
    """Only trains that name one of these legal bases."""

    allowed: frozenset[str]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        named = request.manifest.approval.legal_basis
        if named not in self.allowed:
            msg = "this station does not accept the legal basis that the train names"
            raise PolicyRefused(msg, legal_basis=(named or "none")[:200])
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSets:
    """Only data sets that are here, for owners who may use them; None means every admitted owner."""

    offered: Mapping[str, frozenset[PartyId] | None]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        owner, lacking = request.manifest.owner.party, []
        for need in request.manifest.data:
            if need.name not in self.offered:
                msg = "this station has no such data set"
                raise PolicyRefused(msg, data=need.name)
            readers = self.offered[need.name]
            if readers is not None and owner not in readers:
                msg = "this owner may not use this data set"
                raise PolicyRefused(msg, data=need.name, owner=owner)
            lacking += [f"{need.name}/{name}" for name in request.missing.get(need.name, ())]
        if lacking:
            return Hold(reason=f"{MISSING}: {', '.join(lacking)}")
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selections:
    """Only columns that are there, and rows selected by a condition that fits them; None stands for a folder, given whole."""

    described: Mapping[str, tuple[Column, ...] | None]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        for need in request.manifest.data:
            columns = self.described.get(need.name)
            if (columns is None) != (need.columns is None):
                msg = "this data set is a folder, and has no columns" if columns is None else "this data set is a table"
                raise PolicyRefused(msg, data=need.name, hint="'pht data show' tells what a data set is")
            for name in need.columns or ():
                if column_named(columns or (), name) is None:
                    msg = "a data set does not have a column that the train asks for"
                    raise PolicyRefused(msg, data=need.name, column=name)
            if need.where is not None:
                try:
                    fit(parse(need.where), columns or ())
                except SelectionInvalid as error:
                    raise PolicyRefused(str(error), data=need.name, hint=error.hint) from error
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """At most this much of everything, for one run; what is kept for the next is bounded like what leaves."""

    most: Limits

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        wanted, kept = request.manifest.limits, request.manifest.keep_bytes or 0
        names = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")
        asking = [(name, getattr(wanted, name), getattr(self.most, name)) for name in names]
        for name, asked, most in (*asking, ("keep_bytes", kept, self.most.output_bytes)):
            if asked > most:
                msg = "the train asks for more than this station gives a run"
                raise PolicyRefused(msg, limit=name, wanted=asked, most=most)
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Only sums over so many stations: of fewer, each knows too much of the others."""

    least: int

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        manifest = request.manifest
        if any(one.sum is not None for one in manifest.outputs) and len(manifest.adders) < self.least:
            msg = "the train takes sums over fewer stations than this station takes part in"
            raise PolicyRefused(msg, stations=len(manifest.adders), least=self.least)
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckableOutputs:
    """Only outputs declared so that the gate can check them."""

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        need_usable(request.manifest.outputs)
        return Admit()


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """A person approves every train."""

    def consider(self, request: Request) -> Verdict:  # noqa: ARG002 - every request
        """See `Rule`."""
        return Hold(reason="a person approves every train here")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnalysis:
    """A person approves an analysis once, by the digest that `pht station show` shows.

    Not its code alone: the same files with another command, other data or other outputs do something else.
    """

    approved: frozenset[Digest]

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        if request.analysis in self.approved:
            return Admit()
        return Hold(reason="this analysis has not been approved here")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Every rule must admit. Reasons to hold are told together."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            msg = "a policy without rules would admit everything"
            raise ValueError(msg)

    def consider(self, request: Request) -> Verdict:
        """See `Rule`."""
        verdicts = [rule.consider(request) for rule in self.rules]
        reasons = [verdict.reason for verdict in verdicts if isinstance(verdict, Hold)]
        return Hold(reason="; ".join(reasons)) if reasons else Admit()
