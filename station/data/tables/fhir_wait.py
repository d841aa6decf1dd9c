"""What does a server's answer say about time: how long to wait, and from when it is?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from security.encoding import print_time

_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110, section 10.2.3), going by the server's own clock; 0 for none."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    then, now = _date(text), _date(headers.get("date", ""))
    return max(0.0, (then - now).total_seconds()) if then and now else 0.0


def time_of(told: str | None, headers: Mapping[str, str]) -> str | None:
    """Return the time of a state of the data: what the page says, else when it was sent. It is a time, or None."""
    if told is not None and _INSTANT.fullmatch(told):
        return told
    sent = _date(headers.get("date", ""))
    return None if sent is None else print_time(sent)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
