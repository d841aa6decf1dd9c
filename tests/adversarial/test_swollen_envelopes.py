"""Can signatures that prove nothing make a train unreadable one stop later? (T17)

Whoever signs a statement may add signatures of nobody to it. What is printed again is longer than what arrived where that
had no padding, and would go over the limit; but a letter is never printed again: it travels as it was sealed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from security.age import encrypt, parse_recipient
from security.archive import padme
from security.statement.envelope import Envelope, parse_envelope
from security.train.letters import LEAST, MAX_ENTRY, entry_recipients
from tests.support.trains import NOW
from tests.support.world import World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.close()


def swollen(envelope: Envelope, limit: int, *, count: int = 7, most: int = 16_384) -> bytes:
    """Print an envelope with signatures of nobody's keys, without padding, in exactly `limit` bytes or what is possible."""

    def printed(sizes: Sequence[int]) -> bytes:
        document = json.loads(envelope.to_bytes())
        for number, size in enumerate(sizes):
            document["signatures"].append({"keyid": f"{number:064x}", "sig": "A" * size})
        for one in document["signatures"]:
            one["sig"] = one["sig"].rstrip("=")
        document["payload"] = document["payload"].rstrip("=")
        return json.dumps(document, separators=(",", ":")).encode()

    sizes = [2] * count
    for place in range(count):
        room = limit - len(printed(sizes))
        grown = min(most, sizes[place] + room) - 2
        sizes[place] += max(0, grown // 4 * 4)
    return printed(sizes)


def test_a_swollen_entry_comes_home_all_the_same(here: World, tmp_path: Path) -> None:
    made = here.train()
    made.pass_stop({"sums.json": b'{"sum":1,"n":1}'})
    (entry,) = made.entries
    raw = swollen(entry, MAX_ENTRY)
    assert len(raw) in range(MAX_ENTRY - 3, MAX_ENTRY + 1)
    assert len(parse_envelope(raw).to_bytes()) > MAX_ENTRY  # so that nobody after us could read what is printed again
    sealed = io.BytesIO()
    readers = entry_recipients(made.manifest, 0, here.consortium.trust, NOW)
    with encrypt(sealed, [parse_recipient(one) for one in readers]) as plain:
        plain.write(raw.ljust(max(LEAST, padme(len(raw))), b"\0"))
    made.letters[entry.to_bytes()] = sealed.getvalue()
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)
    assert json.loads(here.results(made, tmp_path / "out")["sums.json"])["n"] == 4
