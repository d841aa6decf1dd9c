"""Attack: what was approved is run as something else, or shown to the person who approves it as less than it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.visible import visible_lines
from security.digest import Digest, digest_of
from security.errors import InvalidInput
from security.train.analysis import DIFFERS, analysis_digest
from security.train.manifest import (
    Approval,
    DataNeed,
    Limits,
    Output,
    TrainManifest,
    print_manifest,
)
from station.admission.policy import KnownAnalysis
from station.visit.events import Approved, Held, HoldFor
from station.visit.plan import approve, permits
from tests.support.desk import HOME, STATION_SPEC, WITH, Desk, desk, furnished
from tests.support.owners import write_train
from tests.support.trains import NOW, consortium, train
from tests.support.world import World, world

__all__ = ["desk", "furnished"]

AT = ("-s", "hospital-a", *WITH)
THEFT = ("python3", "-c", "import shutil; shutil.copytree('/pht/data', '/pht/state')")
BYTES = Output(path="*", media_type="application/octet-stream", max_bytes=1 << 20)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=("hospital-a", "hospital-b"))
    yield made
    made.close()


def held_for(here: World) -> Held:
    held = here.visits("hospital-a")[-1].held
    assert held is not None
    assert held.hold is HoldFor.ADMISSION
    return held


def known(here: World) -> Digest:
    """Let a person read a train, and put what they approve on the list."""
    here.change("hospital-a", policy=KnownAnalysis(approved=frozenset()), by_analysis=True)
    here.submit(here.train(route=("hospital-a",)))
    here.settle("hospital-a")
    analysis = held_for(here).analysis
    assert analysis is not None
    here.change("hospital-a", policy=KnownAnalysis(approved=frozenset({analysis})))
    return analysis


def test_an_analysis_on_the_list_runs_again_unasked(here: World) -> None:
    """Another train of it: newly sealed, with another nonce and at another time."""
    known(here)
    again = here.train(route=("hospital-a",), valid_until=NOW + timedelta(days=3))
    here.submit(again)
    here.settle("hospital-a")
    assert here.at_home(again.id)
    admitted = here.visits("hospital-a")[-1].admitted
    assert admitted is not None
    assert admitted.by == "policy"


CHANGES: dict[str, Callable[[TrainManifest], dict[str, Any]]] = {
    "command": lambda _: {"command": THEFT},
    "environment": lambda _: {"environment": {"TRAIN_COPY": "1"}},
    "outputs": lambda _: {"outputs": (BYTES,)},
    "data": lambda one: {"data": (*one.data, DataNeed(name="staff", description="wages", files=()))},
    "limits": lambda one: {"limits": replace(one.limits, output_bytes=one.limits.output_bytes + 1)},
    "name": lambda _: {"name": "another"},
    "purpose": lambda _: {"purpose": "sell them"},
    "approval": lambda _: {"approval": Approval(reference="ethics 2/2026")},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_the_code_that_was_approved_does_not_run_as_something_else(here: World, changed: str) -> None:
    analysis = known(here)
    different = CHANGES[changed](here.train(route=("hospital-a",)).manifest)
    other = here.train(route=("hospital-a",), **different)
    here.submit(other)
    here.settle("hospital-a")
    assert held_for(here).analysis not in {analysis, None}
    assert here.sandboxes["hospital-a"].started == []
    assert not here.at_home(other.id)


def test_the_code_that_was_approved_does_not_run_for_somebody_else_or_on_the_way_to_them(here: World) -> None:
    analysis = known(here)
    for other in (here.train(route=("hospital-a",), owner="mallory"), here.train(route=("hospital-a", "hospital-b"))):
        here.submit(other)
        here.settle("hospital-a")
        assert held_for(here).analysis not in {analysis, None}
    assert here.sandboxes["hospital-a"].started == []


def test_every_field_of_a_manifest_is_approved_but_those_that_only_tell_trains_apart() -> None:
    """By construction: a field that is added to the manifest is part of what is approved without anybody's doing."""
    one, code = train(consortium()).manifest, digest_of(b"code")
    changed: dict[str, Any] = {
        "name": "other",
        "purpose": "other",
        "approval": Approval(reference="other"),
        "owner": one.route.stop(0),
        "code": replace(one.code, size=one.code.size + 1),
        "base": digest_of(b"other"),
        "command": ("other",),
        "environment": {},
        "data": (),
        "outputs": (BYTES,),
        "limits": replace(one.limits, processes=33),
        "route": type(one.route)(stops=(one.owner,)),  # type: ignore[call-arg] # a sequence
        "recipient": "other",
        "valid_from": one.valid_from - timedelta(days=1),
        "valid_until": one.valid_until + timedelta(days=1),
        "nonce": "0" * 32,
        "mail": one.recipient,
        "letter_key": "0" * 64,
        "combine": ("other",),
        "keep_bytes": 1,
    }
    assert changed.keys() == {field.name for field in fields(TrainManifest)}
    before = analysis_digest(one, code)
    same = {name for name, value in changed.items() if analysis_digest(replace(one, **{name: value}), code) == before}
    assert same == DIFFERS
    assert analysis_digest(one, digest_of(b"other code")) != before
    for name in (field.name for field in fields(Limits)):
        more: dict[str, Any] = {name: getattr(one.limits, name) + 1}
        limits = replace(one.limits, **more)
        assert analysis_digest(replace(one, limits=limits), code) != before


def test_a_persons_approval_records_what_it_was_about_and_answers_nothing_else(here: World) -> None:
    known(here)
    visit = here.visits("hospital-a")[-1]
    yes = approve(visit, by="grace", note="", now=here.now)
    assert yes.analysis == held_for(here).analysis
    assert permits(visit, yes)
    for other in (None, digest_of(b"another analysis")):
        assert not permits(visit, replace(yes, analysis=other))
    here.houses["hospital-a"].journal.append(visit.arrival, yes, expect=visit.length)
    here.settle("hospital-a")
    done = here.visits("hospital-a")[-1]
    assert [one.analysis for one in done.events if isinstance(one, Approved)] == [yes.analysis]
    assert done.admitted is not None


# --- What a person sees ----------------------------------------------------------------------------------------------


def arrive(desk: Desk, spec: str, files: dict[str, str] | None = None) -> str:
    write_train(desk.path / "other", spec, files)
    train = str(desk.answer("train", "submit", "other", *HOME, *WITH)["train"])
    desk.answer("station", "once", "hospital-a", *WITH)
    return train[:12]


def test_a_command_is_shown_whole_with_its_blanks_counted_and_its_controls_visible(desk: Desk) -> None:
    hidden = "print(1)" + " " * 900 + "; steal()\\x1b[2K\\rok\\u2800\\u202e"
    spec = STATION_SPEC.replace("[python3, main.py]", f'[sh, -c, "{hidden}"]')
    train = arrive(desk, spec)
    typed = desk.pht("station", "show", train, *AT)
    assert "print(1)«900 blanks»; steal()«U+001B»[2K«U+000D»ok«U+2800»«U+202E»\n" in typed.out
    assert "  command    sh\n             -c\n             print(1)" in typed.out
    manifest = desk.answer("station", "show", train, *AT)["manifest"]
    assert "steal()" in manifest["command"][2]


def test_show_tells_the_digest_that_the_list_of_known_analyses_holds(desk: Desk) -> None:
    train = arrive(desk, STATION_SPEC.replace("add numbers", "add other numbers"))
    shown = desk.answer("station", "show", train, *AT)["analysis"]
    assert shown == desk.answer("station", "show", train, "--code", *AT)["analysis"]
    assert desk.answer("station", "approve", train, *AT[:2])["analysis"] == shown
    assert f"  analysis   {shown}\n" in desk.pht("station", "show", train, *AT).out
    settings = desk.path / "hospital-a" / "station.yaml"
    text = settings.read_text().replace("approve: by-hand", "approve: known-analysis")
    settings.write_text(text.replace('# known_analyses: ["sha256:..."]', f'known_analyses: ["{shown}"]'))
    assert "this analysis has not been approved here" not in desk.pht("station", "once", "hospital-a", *WITH).out
    again = str(desk.answer("train", "submit", "other", "--again", *HOME, *WITH)["train"])[:12]
    desk.answer("station", "once", "hospital-a", *WITH)
    events = desk.answer("station", "show", again, *AT)["events"]
    assert [one["by"] for one in events if one["kind"] == "admitted"] == ["policy"]


def test_a_file_of_the_code_is_shown_to_its_end_or_not_at_all(desk: Desk) -> None:
    end = "steal()\n"
    long, longest = "# padding\n" * 300_000 + end, "x" * (16 << 20) + end
    train = arrive(desk, STATION_SPEC, {"main.py": long, "lib.py": longest})
    assert desk.pht("station", "show", train, "--code", "main.py", *AT).out.endswith(end)
    refused = desk.pht("--json", "station", "show", train, "--code", "lib.py", *AT)
    assert refused.code == "input.invalid"
    assert "--into" in refused.document["error"]["hint"]
    desk.answer("station", "show", train, "--code", "--into", "read-me", *AT)
    assert (desk.path / "read-me" / "lib.py").read_text().endswith(end)
    assert desk.pht("--json", "station", "show", train, "--code", "--into", "read-me", *AT).code == "file.exists"


def test_nothing_in_a_file_hides_from_the_person_who_reads_it(desk: Desk) -> None:
    text = "a = 1" + " " * 200 + "; steal()\n" + "\n" * 50 + "\x1b[8mb = 2\u200b\n    indented()\n"
    train = arrive(desk, STATION_SPEC, {"main.py": "print(1)\n", "notes.txt": text})
    shown = desk.pht("station", "show", train, "--code", "notes.txt", *AT).out
    assert shown == "a = 1«200 blanks»; steal()\n«50 empty lines»\n«U+001B»[8mb = 2«U+200B»\n    indented()\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a = 1" + "\t" * 59 + "; steal()", "a = 1«59 blanks»; steal()"),
        ("a = 1" + (" " * 9 + "#") * 5 + "; steal()", "a = 1" + "«9 blanks»#" * 5 + "; steal()"),
        ("\t" * 8 + "deep()", "«8 blanks»deep()"),
        ("\t" * 7 + "deep()  # told", "\t" * 7 + "deep()  # told"),
        (" " * 60 + "deep()", " " * 60 + "deep()"),
        (" " * 61 + "far()", "«61 blanks»far()"),
    ],
)
def test_nothing_stands_so_far_to_the_right_that_nobody_reads_it(line: str, shown: str) -> None:
    assert visible_lines(f"first\n{line}\n".encode()) == f"first\n{shown}\n"


@pytest.mark.parametrize("command", [("x" * 1001,), ("x" * 1000,) * 5])
def test_a_command_too_long_to_be_read_is_no_manifest(command: tuple[str, ...]) -> None:
    one = train(consortium()).manifest
    assert print_manifest(replace(one, command=("x" * 1000,) * 4))
    with pytest.raises(InvalidInput):
        print_manifest(replace(one, command=command))
