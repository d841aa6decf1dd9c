"""What is a rule about what leaves the house, and what can it say?

A gate is a value made of small rules. A rule clears what a run left, holds it for a person, or refuses it; all are asked, a
refusal outweighs a hold, and a person's approval answers holds only. What clearing costs is recorded with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from security.archive import Member
from security.train.manifest import Output, TrainManifest
from station.visit.parts import Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftFile:
    """A file that a run left in its state, and the first declaration that covers it, if one does."""

    member: Member
    declared: Output | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Everything a run left behind, and the signed manifest of its train."""

    manifest: TrainManifest
    files: tuple[LeftFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """It may leave, at this cost."""

    cost: tuple[Spent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A person must decide, and this is why; releasing it costs this."""

    reason: str
    cost: tuple[Spent, ...] = ()


Verdict: TypeAlias = Clear | Hold


class GateRule(Protocol):
    """One thing that a hospital insists on before results leave.

    A rule reads and changes nothing. It is asked about what the gate printed: of their types, and as their schemas say. It is
    asked again when a person has released what it held, and gives the same verdict on the same files. Its reasons and errors name the rule, the declared path and numbers that say nothing
    about a patient; never a path, a value or a byte that the run produced (attack T20).
    """

    def judge(self, left: Left) -> Verdict:
        """Judge.

        Raises:
            GateRefused: it must not leave.
            NoResults: there is nothing to leave.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All rules of a house, and itself a rule: each must clear. Reasons to hold are told together, costs are added up."""

    rules: tuple[GateRule, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            msg = "a gate without rules would let everything out"
            raise ValueError(msg)

    def judge(self, left: Left) -> Verdict:
        """See `GateRule`. The rules are asked in their order; the first refusal is the one that is raised."""
        verdicts = [rule.judge(left) for rule in self.rules]
        reasons = [one.reason for one in verdicts if isinstance(one, Hold)]
        cost = _total([spent for one in verdicts for spent in one.cost])
        return Hold(reason="; ".join(reasons), cost=cost) if reasons else Clear(cost=cost)


def _total(spent: Sequence[Spent]) -> tuple[Spent, ...]:
    amounts: dict[str, int] = {}
    for one in spent:
        amounts[one.budget] = amounts.get(one.budget, 0) + one.amount
    return tuple(Spent(budget=budget, amount=amount) for budget, amount in sorted(amounts.items()))
