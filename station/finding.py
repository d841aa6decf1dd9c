"""What does a check-up say about one thing?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of ``pht station check``: what was looked at, whether it is in order, and what to do if it is not."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None
