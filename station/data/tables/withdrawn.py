"""Who withdrew their consent, going by the operator's list?

One identifier a line; blank lines do not count. One with a comma, a semicolon, a tab or a quote in it stands in double quotes.
Anything else on a line is an error: an identifier that is not understood is a patient who is not left out.

Lists and tables come out of different programs. An identifier on the list is whoever is called like that but for how a whole
number is written (``7``, ``007``, ``7.0``), capitals, composed letters and FHIR's ``Patient/`` before it. If that is somebody else
as well, they are left out, too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from security.errors import FileMissing
from security.files import read_file
from station.data.tables.engine import quoted
from station.errors import DataSourceUnavailable, DataUnfit

_LARGEST: Final = 64 << 20
_LINE: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",;\t]*))\s*')

_BEFORE: Final = "^(?:.*/)?patient/"
_WHOLE: Final = r"^0*([0-9]+?)(?:\.0*)?$"


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
    return f"{_alike(patient)} IN (SELECT {_alike('one')} FROM (SELECT unnest(CAST(? AS VARCHAR[])) AS one))"


def _alike(text: str) -> str:
    plain = f"regexp_replace(lower(nfc_normalize(trim({text}))), {quoted(_BEFORE)}, '')"
    return rf"regexp_replace({plain}, {quoted(_WHOLE)}, '\1')"
