"""What a station may call its sandbox, and what of it reaches a terminal or a file for other people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from security.errors import MalformedStatement
from security.train.journey import SANDBOX, print_entry, read_entry
from security.train.verify import verify_train
from tests.support.owners import OwnerWorld
from tests.support.trains import NOW, consortium, train
from train_builder.cli.render_journey import render_proof
from train_builder.proof.export import export_journey
from train_builder.proof.proof import Proof, describe_proof, prove

ESCAPES = (
    "docker\x1b[2K\x1b[1Aclean",
    "docker\x1b]0;title\x07",
    "docker\r\n  3. hospital-c signed",
    "docker\x9b2J",
    "docker\N{RIGHT-TO-LEFT OVERRIDE}cnur",
    "döcker",
    "docker runc",
    "docker\x7f",
    "",
    "x" * 61,
)


@pytest.mark.parametrize("name", ESCAPES)
def test_t24_a_station_that_names_its_sandbox_in_escape_sequences_passes_nothing_on(name: str) -> None:
    """It signs properly: the next station, and the owner, refuse the entry as none."""
    world = consortium()
    it = train(world)
    it.pass_stop(sandbox=name)
    with pytest.raises(MalformedStatement):
        verify_train(it.parts, world.trust, here=it.manifest.route.stop(1).party, now=NOW)
    assert not SANDBOX.accepts(name)


def test_the_names_that_there_are_are_names() -> None:
    it = train(consortium()).travel(1)
    entry = read_entry(it.entries[0].payload)
    for name in ("docker-runc-v1", "docker-runsc-v1", "process-v1"):
        assert read_entry(print_entry(replace(entry, sandbox=name))).sandbox == name


def hostile(proof: Proof) -> Proof:
    """A proof whose every free text drives a terminal: as if a form had let it through."""
    steps = tuple(replace(step, sandbox=ESCAPES[0]) for step in proof.steps)
    return replace(proof, steps=steps, name=ESCAPES[1], base_name=ESCAPES[2], purpose=ESCAPES[3])


def test_a_proof_drives_no_terminal_and_no_file_that_is_read_on_one(tmp_path: Path) -> None:
    here = OwnerWorld(tmp_path / "world")
    found = here.bring_home(here.journey())
    proof = hostile(prove(found.accepted, here.world.trust))
    export_journey(proof, found.parts, here.home().blobs, {}, tmp_path / "journey")
    shown = [describe_proof(proof), render_proof(proof).text]
    shown += [(tmp_path / "journey" / name).read_text() for name in ("README.txt", "witnesses.txt")]
    for text in shown:
        assert all(letter.isprintable() for line in text.split("\n") for letter in line)
    assert shown[0].count("\n") == describe_proof(prove(found.accepted, here.world.trust)).count("\n")
