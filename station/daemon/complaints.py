"""What is in the way of the daemon, told to its log once while it stays the same?

It is tried again every few seconds: who reads the log needs what began and what changed, not each try.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from security.errors import PhtError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Complaints:
    """By what is tried, what was last said of it."""

    _said: dict[str, tuple[str, str]] = field(default_factory=dict)

    def hear(self, what: str, result: object) -> None:
        """Say what went wrong and what to do about it, unless the last try failed in the same way."""
        if not isinstance(result, PhtError):
            self._said.pop(what, None)
            return
        why = result.code, str(result)
        if self._said.get(what) != why:
            code, reason = self._said[what] = why
            log.warning("not done", extra={"what": what, "code": code, "reason": reason, "hint": result.hint})
