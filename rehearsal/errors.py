"""Which errors does a rehearsal raise beyond those of the packages below it?"""

from __future__ import annotations

from security.errors import Misconfigured


class RehearsalStuck(Misconfigured):
    """A rehearsal cannot go on on this machine; this says nothing about the train."""

    code = "rehearsal.stuck"
