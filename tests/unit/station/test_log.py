"""What a line of the log holds, and what it cannot do."""

from __future__ import annotations

import json
import logging

from station.daemon.log import JsonLines, PlainLines

RECORD = logging.makeLogRecord(
    {
        "name": "station.daemon.reconcile",
        "levelname": "WARNING",
        "msg": "recorded",
        "train": "1f2e3d4c5b6a",
        "stop": 0,
        "step": "admit",
        "code": "policy.refused",
        "reason": 'not "today" \x1b[2J\n=)',
        "visit": None,
    }
)


def test_a_plain_line_tells_the_fields() -> None:
    assert PlainLines().format(RECORD) == (
        "WARNING station.daemon.reconcile: recorded, train=1f2e3d4c5b6a stop=0 step=admit code=policy.refused"
        r' reason="not \"today\" \u001b[2J\n=)"'
    )


def test_a_plain_line_without_fields_is_its_message() -> None:
    record = logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": "started"})
    assert PlainLines().format(record) == "INFO a: started"


def test_a_json_line_tells_the_same() -> None:
    told = json.loads(JsonLines().format(RECORD))
    assert told["message"] == "recorded"
    assert (told["train"], told["stop"], told["reason"]) == ("1f2e3d4c5b6a", 0, 'not "today" \x1b[2J\n=)')
    assert "visit" not in told
