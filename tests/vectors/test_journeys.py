"""Journeys that were made once are judged as they were then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from security.digest import Digest
from security.directory.documents import parse_trust
from security.directory.trust import DirectoryVersion
from security.encoding import dump_json, parse_time
from security.errors import PhtError
from security.ids import PartyId
from security.statement.envelope import parse_envelope
from security.train.journey import StateRef, TrainParts
from security.train.manifest import CodeRef
from security.train.verify import verify_home, verify_train

VECTORS = sorted((Path(__file__).parent / "journeys").glob("*.json"))


def test_the_vectors_are_there() -> None:
    assert len(VECTORS) >= 15
    verdicts = {json.loads(path.read_bytes())["expect"] for path in VECTORS}
    assert {"accepted", "signature.missing", "journey.incomplete", "key.not-trusted"} <= verdicts


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: str(path.stem))
def test_a_frozen_journey_is_judged_as_it_was(path: Path) -> None:
    vector = json.loads(path.read_bytes())
    trust = parse_trust(
        {name: dump_json(document) for name, document in vector["directory"].items()},
        version=DirectoryVersion(root=1, targets=3),
        expires=parse_time(vector["expires"]),
    )
    state = vector["state"]
    parts = TrainParts(
        manifest=parse_envelope(dump_json(vector["manifest"])),
        entries=tuple(parse_envelope(dump_json(entry)) for entry in vector["entries"]),
        code=CodeRef(digest=Digest(vector["code"]["digest"]), size=vector["code"]["size"]),
        states=() if state is None else (StateRef(digest=Digest(state["digest"]), size=state["size"]),),
    )
    here, now = PartyId(vector["here"]), parse_time(vector["now"])
    try:
        if vector["home"]:
            verify_home(parts, trust, owner=here, now=now)
        else:
            verify_train(parts, trust, here=here, now=now)
        verdict = "accepted"
    except PhtError as error:
        verdict = error.code
    assert verdict == vector["expect"]
