"""Which rules has every gate, and which can a hospital add?

`FORM` is what every station demands: results are there, declared, and no larger than declared. That they are of the declared
media type and satisfy the declared schema is no rule's business: nothing else is printed (`station.gate.anew`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from security.archive import Member
from security.train.manifest import Output
from station.errors import GateOversized, GateUndeclared, NoResults, PolicyRefused
from station.gate.form import WITH_SCHEMA
from station.gate.port import Clear, GateRule, Hold, Left, Verdict
from station.gate.schema import checker_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SomethingLeft:
    """There is a file. That a declared one is missing is no offence."""

    def judge(self, left: Left) -> Verdict:
        """See `GateRule`."""
        if not left.files:
            msg = "the run left nothing behind"
            raise NoResults(msg)
        return Clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Every file is covered by a declaration."""

    def judge(self, left: Left) -> Verdict:
        """See `GateRule`."""
        undeclared = sum(one.declared is None for one in left.files)
        if undeclared:
            msg = "files in the state match no declared output"
            declared = ", ".join(one.path for one in left.manifest.outputs)
            raise GateUndeclared(msg, files=undeclared, declared=declared)
        return Clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """No file is larger than its declaration says, nor all of them together than the manifest's limit."""

    def judge(self, left: Left) -> Verdict:
        """See `GateRule`."""
        total, limit = sum(one.member.size for one in left.files), left.manifest.limits.output_bytes
        if total > limit:
            msg = "the state is larger than the manifest's output limit"
            raise GateOversized(msg, bytes=total, limit=limit)
        for member, output in _declared(left):
            if member.size > output.max_bytes:
                msg = "an output is larger than declared"
                raise GateOversized(msg, output=output.path, bytes=member.size, limit=output.max_bytes)
        return Clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseByHand:
    """A person releases everything."""

    def judge(self, left: Left) -> Verdict:
        """See `GateRule`."""
        size = sum(one.member.size for one in left.files)
        return Hold(
            reason=f"{len(left.files)} files with {size} bytes wait to be released: show them with --results",
        )


FORM: Final[tuple[GateRule, ...]] = (SomethingLeft(), Declared(), Sizes())


def need_usable(outputs: Sequence[Output]) -> None:
    """Refuse, before anything runs, declarations that the gate could not check afterwards.

    Raises:
        PolicyRefused: a schema this station does not evaluate, or one for a media type it is not defined for.
    """
    for one in outputs:
        if one.schema is not None and one.media_type not in WITH_SCHEMA:
            msg = "a schema is declared for a media type it is not defined for"
            raise PolicyRefused(msg, output=one.path, media_type=one.media_type)
        checker_of(one)


def _declared(left: Left) -> Iterator[tuple[Member, Output]]:
    for one in left.files:
        if one.declared is not None:
            yield one.member, one.declared
