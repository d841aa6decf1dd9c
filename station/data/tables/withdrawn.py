"""Who withdrew their consent, going by the operator's list?

One identifier a line; blank lines do not count. One with a comma, a semicolon, a tab or a quote in it stands in double quotes.
Anything else on a line is an error: an identifier that is not understood is a patient who is not left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from security.errors import FileMissing
from security.files import read_file
from station.errors import DataSourceUnavailable, DataUnfit

_LARGEST: Final = 64 << 20
_LINE: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",;\t]*))\s*')


def withdrawn_in(path: Path, data: str) -> tuple[str, ...]:
    """Return the identifiers, without blanks around them.

    Raises:
        DataSourceUnavailable: the list is not there; the train waits.
        DataUnfit: a line is not one identifier.
    """
    try:
        raw = read_file(path, limit=_LARGEST)
    except FileMissing as error:
        msg = "the list of who withdrew cannot be read"
        raise DataSourceUnavailable(
            msg, data=data, file=path, why=error.message, hint="put it there; the train waits"
        ) from None
    found = []
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", raw.removeprefix(b"\xef\xbb\xbf")), start=1):
        try:
            one = _LINE.fullmatch(line.decode())
        except UnicodeDecodeError:
            one = None
        if one is None or b"\0" in line:
            msg = "a line in the list of who withdrew is not one identifier"
            hint = 'write one identifier a line, in UTF-8; in double quotes, if it has one of , ; " or a tab in it'
            raise DataUnfit(msg, data=data, file=path, line=number, hint=hint)
        name = (one[2] if one[1] is None else one[1].replace('""', '"')).strip()
        if name:
            found.append(name)
    return tuple(found)


def withdrew(patient: str) -> str:
    """Return, in the engine's SQL, whether a patient is on the list that is the next parameter."""
    return f"trim(CAST({patient} AS VARCHAR)) IN (SELECT unnest(CAST(? AS VARCHAR[])))"
