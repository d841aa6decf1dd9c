"""What does one line of a station's log look like?

The daemon's is one JSON object: time, level, logger, a constant message, and what varies as fields of their own. For a
person, the same in words. What a container prints is data and never comes here (attack T20).
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_WORD = re.compile(r"[\w./:@+-]+", re.ASCII)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON. Tracebacks are reduced to the type of the exception: messages may quote."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= _varying(record)
        if record.exc_info and record.exc_info[0]:
            told["exception"] = record.exc_info[0].__name__
        return json.dumps(told, ensure_ascii=True, default=str)


class PlainLines(logging.Formatter):
    """Formats a record as one line for a person: ``WARNING station.daemon.reconcile: recorded, step=admit code=…``.

    Values that are more than a word stand in quotes, with everything escaped that could drive a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        told = " ".join(f"{name}={_word(value)}" for name, value in _varying(record).items())
        line = f"{record.levelname} {record.name}: {record.getMessage()}"
        return f"{line}, {told}" if told else line


def _varying(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}


def _word(value: object) -> str:
    text = str(value)
    return text if _WORD.fullmatch(text) else json.dumps(text, ensure_ascii=True)


def log_json_lines() -> None:
    """Let whatever handlers there are write JSON lines, and the station's own news among them."""
    _write_as(JsonLines())
    logging.getLogger("station").setLevel(logging.INFO)


def log_plain_lines() -> None:
    """Let whatever handlers there are write plain lines, with the fields; what is worth one is as before."""
    _write_as(PlainLines())


def _write_as(formatter: logging.Formatter) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
