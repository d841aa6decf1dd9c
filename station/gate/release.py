"""Which results may leave without a person having looked at them?

Small typed JSON, and what the operator names. Of a table, of bytes, or of a type it does not know the gate sees the form and
not what is in it: two hundred patients are as well-formed a table as two hundred means.
"""

from __future__ import annotations

from dataclasses import dataclass

from security.train.slight import reasons_to_look
from station.gate.port import Clear, Hold, Left, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseUnlessSlight:
    """A person releases what holds more than small typed JSON (`security.train.slight`), or is not of a `named` type."""

    named: frozenset[str]

    def judge(self, left: Left) -> Verdict:
        """See `GateRule`."""
        outputs = [output for output in left.manifest.outputs if any(one.declared is output for one in left.files)]
        reasons = tuple(reasons_to_look(outputs, self.named))
        if not reasons:
            return Clear()
        return Hold(reason=f"a person looks before this leaves: {'; '.join(reasons)}: show it with --results")
