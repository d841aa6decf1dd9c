"""How is it shown to a person and to a program whether a station is ready?"""

from __future__ import annotations

from console.answer import Answer
from security.encoding import Json
from station.desk.checkup import Checkup
from station.errors import CheckFailed


def render_checkup(found: Checkup) -> Answer:
    """Render every result on a line of its own, with what to do below."""
    lines = []
    for one in found.results:
        word = "FAIL" if not one.ok else "WARN" if one.warning else "ok  "
        lines.append(f"{word}  {one.name:<14} {one.detail}")
        if one.hint and (one.warning or not one.ok):
            lines.append(f"      {'':<14} -> {one.hint}")
    listed: list[Json] = [
        {"name": one.name, "ok": one.ok, "warning": one.warning, "detail": one.detail, "hint": one.hint}
        for one in found.results
    ]
    error = None
    if not found.ok:
        msg = "the station is not ready"
        failed = ", ".join(one.name for one in found.results if not one.ok)
        error = CheckFailed(msg, failed=failed, hint="do what the lines above say, and check again")
    return Answer(text="\n".join(lines), data={"ok": found.ok, "checks": listed}, error=error)
