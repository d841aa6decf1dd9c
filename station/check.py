"""What did a check-up find out about one thing?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One line of ``pht station check``: what was checked, whether it is in order, and what to do if it is not.

    A `warning` is in order as far as can be seen from here, or for the time being: a person looks into it all the same.
    """

    name: str
    ok: bool
    detail: str
    hint: str | None = None
    warning: bool = False
