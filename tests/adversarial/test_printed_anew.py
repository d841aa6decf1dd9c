"""Bytes that ride in the spelling of an output: of two spellings of one result, the same bytes leave (attack T18)."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from security.encoding import Json
from security.train.manifest import Output, TrainManifest
from station.errors import GateOversized, GateType, GateUndeclared
from station.gate.anew import move, print_anew, put_back
from station.gate.port import Clear, Gate, Left, Verdict
from station.gate.rules import FORM
from station.house.assembly import gate_of
from station.house.workroom import Workroom, Workrooms
from station.sandbox.order import RunOrder
from station.steps.gate import judged_in
from station.visit.events import Cleared, HoldFor, Sealed
from station.visit.plan import Phase, phase_of
from tests.support.trains import Train, consortium, train
from tests.support.world import World, world

ONE_NUMBER: Json = {
    "type": "object",
    "properties": {"n": {"type": "integer", "maximum": 1000}},
    "required": ["n"],
    "additionalProperties": False,
}
MANIFEST = train(consortium()).manifest


def declaring(path: str, media_type: str, most: int = 1 << 20) -> TrainManifest:
    return replace(MANIFEST, outputs=(Output(path=path, media_type=media_type, max_bytes=most),))


def printed(folder: Path, data: bytes, media_type: str = "application/json") -> bytes:
    state, into = folder / "state", folder / "into"
    for made in (state, into):
        made.mkdir(parents=True)
    (state / "a.out").write_bytes(data)
    print_anew(state, declaring("a.out", media_type), into)
    return (into / "a.out").read_bytes()


@pytest.mark.parametrize(
    ("spellings", "only"),
    [
        (
            [b'{"n":1}', b' {\n\t"n" : 1 }\r\n', b'{"\\u006e":1}', b'{"n":1.0}', b'{"n":1e0}', b'{"n":10E-1}'],
            b'{"n":1}',
        ),
        ([b'{"a":1,"b":2}', b'{"b":2,"a":1}', b'{"b":2.000,"a":100e-2}'], b'{"a":1,"b":2}'),
        ([b"[0,0]", b"[-0,-0.0]", b"[0e9,1e-400]"], b"[0,0]"),
        ([b"[0.1]", b"[0.1000]", b"[1e-1]", b"[0.10000000000000000555]", b"[0.00001E4]"], b"[0.1]"),
        ([b'["a/\xc3\xa9\\n"]', b'["\\u0061\\/\\u00e9\\u000a"]', b'["a\\/\\u00E9\\n"]'], b'["a/\xc3\xa9\\n"]'),
        ([b"[1e300]", b"[1E+300]", b"[10.0e299]", b"[1" + b"0" * 300 + b".0]"], b"[1e+300]"),
        ([b"[9007199254740992]", b"[9007199254740992.0]", b"[9.007199254740992e15]"], b"[9007199254740992]"),
    ],
)
def test_one_value_of_json_has_one_spelling_t18_(tmp_path: Path, spellings: list[bytes], only: bytes) -> None:
    found = {printed(tmp_path / str(turn), one) for turn, one in enumerate(spellings)}
    assert found == {only + b"\n"}


@pytest.mark.parametrize(
    ("spellings", "only"),
    [
        (
            [
                b"a,b\n1,x\n",
                b"a,b\r\n1,x\r\n",
                b'"a","b"\n"1","x"',
                b"\xef\xbb\xbfa,b\n1.0,x",
                b'\xef\xbb\xbf"a",b\n10e-1,"x"\r\n',
            ],
            b"a,b\n1,x\n",
        ),
        ([b'a\n""\n', b'"a"\r\n""\r\n'], b'a\n""\n'),
        ([b'a,b\n"x\ny",-0\n', b'a,b\r\n"x\r\ny",0\r\n', b'a,b\n"x\ry",-0.0\n'], b'a,b\n"x\ny",0\n'),
        ([b'a,b\n"say ""hi"", you",0.50\n', b'"a",b\n"say ""hi"", you",5e-1'], b'a,b\n"say ""hi"", you",0.5\n'),
        (
            [b"a,b\n007,12345678901234567890\n", b'a,b\n"007","12345678901234567890"\n'],
            b"a,b\n007,12345678901234567890\n",
        ),
    ],
)
def test_one_table_has_one_spelling_t18_(tmp_path: Path, spellings: list[bytes], only: bytes) -> None:
    found = {printed(tmp_path / str(turn), one, "text/csv") for turn, one in enumerate(spellings)}
    assert found == {only}


@pytest.mark.parametrize("data", [b"a\n\n1\n", b"a\n1\n\n", b"\na\n1\n", b"a,b\n1,2\n\n\n"])
def test_blank_lines_of_a_table_are_refused_t18_(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(GateType):
        printed(tmp_path, data, "text/csv")


@pytest.mark.parametrize("media_type", ["application/json", "text/csv"])
def test_what_was_printed_is_printed_the_same_again_t18_(tmp_path: Path, media_type: str) -> None:
    rng = random.Random(18)  # noqa: S311 - it hides nothing
    letters = ["a", "é", '"', ",", "\n", "\r\n", " ", "1", ".", "e", "-", "0", "\t"]
    for turn in range(150):
        words = ["".join(rng.choices(letters, k=rng.randrange(6))) for _ in range(4)]
        numbers: list[Json] = [
            rng.uniform(-1e9, 1e9),
            rng.randrange(-(2**53), 2**53),
            rng.random() * 10 ** rng.randrange(-300, 300),
        ]
        if media_type == "application/json":
            data = json.dumps([words, numbers, {words[0]: words[1]}], indent=rng.randrange(4)).encode()
        else:
            rows = itertools.chain([["x", "y", "z", "w"]], [words], [[*map(str, numbers), ""]])
            data = "".join(
                ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in rows
            ).encode()
        once = printed(tmp_path / f"{turn}-once", data, media_type)
        assert printed(tmp_path / f"{turn}-twice", once, media_type) == once


def test_the_mode_of_a_file_does_not_leave_t18_(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    (state / "a.out").write_bytes(b"anything")
    (state / "a.out").chmod(0o777)
    print_anew(state, declaring("a.out", "application/octet-stream"), into)
    assert (into / "a.out").read_bytes() == b"anything"
    assert (into / "a.out").stat().st_mode & 0o111 == 0


def test_a_file_without_a_meaning_is_moved_and_can_be_taken_again(tmp_path: Path) -> None:
    manifest = declaring("*/a.out", "application/octet-stream")
    state, into = tmp_path / "state", tmp_path / "into"
    (state / "deep").mkdir(parents=True)
    into.mkdir()
    (state / "deep" / "a.out").write_bytes(b"anything")
    facts = (state / "deep" / "a.out").stat()
    print_anew(state, manifest, into, take=move)
    assert os.path.samestat((into / "deep" / "a.out").stat(), facts)
    assert not (state / "deep" / "a.out").exists()
    put_back(state, manifest, into)
    assert os.path.samestat((state / "deep" / "a.out").stat(), facts)
    assert not (into / "deep" / "a.out").exists()
    put_back(state, manifest, tmp_path / "nowhere")


def test_what_is_moved_is_not_executable_any_more_t18_(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    (state / "a.out").write_bytes(b"anything")
    (state / "a.out").chmod(0o777)
    print_anew(state, declaring("a.out", "application/octet-stream"), into, take=move)
    assert (into / "a.out").stat().st_mode & 0o777 == 0o600


def test_what_has_another_name_elsewhere_is_not_taken_t16_(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"the station's own")
    os.link(tmp_path / "elsewhere", state / "a.out")
    with pytest.raises(GateType):
        print_anew(state, declaring("a.out", "application/octet-stream"), into, take=move)
    assert list(into.iterdir()) == []


def test_what_a_process_of_a_run_without_a_sandbox_may_hold_open_is_copied_t18_(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    with (state / "a.out").open("wb") as held:
        held.write(b"judged")
        held.flush()
        print_anew(state, declaring("a.out", "application/octet-stream"), into)
        held.write(b", and more")
    assert (into / "a.out").read_bytes() == b"judged"


def test_what_lies_in_both_places_is_not_put_back_over_the_other(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    for folder, data in ((state, b"as the run left it"), (into, b"put here")):
        folder.mkdir()
        (folder / "a.out").write_bytes(data)
    put_back(state, declaring("a.out", "application/octet-stream"), into)
    assert (state / "a.out").read_bytes() == b"as the run left it"


def test_what_was_never_printed_is_not_put_back(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    (into / "undeclared").write_bytes(b"put here")
    put_back(state, declaring("a.out", "application/octet-stream"), into)
    assert list(state.iterdir()) == []
    (into / "a.out").symlink_to("undeclared")
    with pytest.raises(GateType):
        put_back(state, declaring("a.out", "application/octet-stream"), into)


def test_what_cannot_be_moved_is_copied(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    places = (Path("/dev/shm"), Path("/var/tmp"), Path(__file__).parent)  # noqa: S108 - the test makes a folder of its own there
    another = next(one for one in places if one.is_dir() and one.stat().st_dev != tmp_path.stat().st_dev)
    with tempfile.TemporaryDirectory(dir=another) as elsewhere:
        state = Path(elsewhere)
        (state / "a.out").write_bytes(b"anything")
        print_anew(state, declaring("a.out", "application/octet-stream"), into, take=move)
        assert (state / "a.out").read_bytes() == (into / "a.out").read_bytes() == b"anything"


def test_what_is_moved_is_bounded_t17_(tmp_path: Path) -> None:
    manifest = declaring("*.out", "application/octet-stream")
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    for name in ("a.out", "b.out"):
        (state / name).write_bytes(bytes(600))
    with pytest.raises(GateOversized):
        print_anew(state, replace(manifest, limits=replace(MANIFEST.limits, output_bytes=1000)), into, take=move)


def test_what_grows_by_being_printed_is_still_bounded_t18_(tmp_path: Path) -> None:
    manifest = replace(declaring("a.out", "application/json"), limits=replace(MANIFEST.limits, output_bytes=3000))
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    (state / "a.out").write_bytes(b"[" + b"1e15," * 500 + b"1]")
    with pytest.raises(GateOversized):
        print_anew(state, manifest, into)
    with pytest.raises(GateUndeclared):
        print_anew(state, declaring("b.out", "application/json"), into)


def test_a_large_table_is_printed_in_bounded_memory_t17_(tmp_path: Path) -> None:
    state, into = tmp_path / "state", tmp_path / "into"
    state.mkdir()
    into.mkdir()
    rows = 40_000
    with (state / "a.out").open("wb") as out:
        out.write(b"age,note\r\n")
        out.writelines(b'"%d.0","%s"\r\n' % (turn % 90, b"x" * 400) for turn in range(rows))
    manifest = replace(declaring("a.out", "text/csv"), limits=replace(MANIFEST.limits, output_bytes=1 << 30))
    tracemalloc.start()
    try:
        print_anew(state, manifest, into)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (into / "a.out").stat().st_size == len(b"age,note\n") + sum(
        len(b"%d,%s\n" % (turn % 90, b"x" * 400)) for turn in range(rows)
    )
    assert peak < (state / "a.out").stat().st_size // 2


# --- A whole visit


def smuggling(payload: bytes) -> Callable[[RunOrder, Callable[[bytes], None]], int]:
    """An analysis that writes its one number with patients in the white space around it."""

    def program(order: RunOrder, say: Callable[[bytes], None]) -> int:
        del say
        blanks = "".join(" \t\n\r"[byte >> shift & 3] for byte in payload for shift in (6, 4, 2, 0))
        (order.state / "sums.json").write_bytes(b'{"n":' + blanks.encode() + b"1.000E0}")
        return 0

    return program


def one_stop(root: Path, payload: bytes, *, by_hand: bool = False) -> World:
    made = world(root, stations=("hospital-a",), program=smuggling(payload))
    made.change("hospital-a", gate=gate_of(release_by_hand=by_hand))
    return made


def outputs() -> tuple[Output, ...]:
    return (Output(path="sums.json", media_type="application/json", max_bytes=40_000, schema=ONE_NUMBER),)


def test_white_space_in_valid_json_takes_no_patients_home_t18_(tmp_path: Path) -> None:
    made = one_stop(tmp_path / "world", b"7 500 bytes of patients" * 326)
    sent = made.train(route=("hospital-a",), outputs=outputs())
    made.submit(sent)
    made.settle()
    assert made.results(sent, tmp_path / "home") == {"sums.json": b'{"n":1}\n'}
    (cleared,) = (one for one in made.visit("hospital-a").events if isinstance(one, Cleared))
    assert [one.size for one in cleared.files] == [len(b'{"n":1}\n')]
    made.close()


def test_two_payloads_give_the_same_size_and_the_same_bytes_t18_(tmp_path: Path) -> None:
    found = []
    for turn, payload in enumerate((b"", b"Ada Lovelace, 1815" * 400)):
        made = one_stop(tmp_path / f"world-{turn}", payload)
        sent = made.train(route=("hospital-a",), outputs=outputs())
        made.submit(sent)
        made.settle()
        (sealed,) = (one for one in made.visit("hospital-a").events if isinstance(one, Sealed))
        found.append((sealed.size, made.results(sent, tmp_path / f"home-{turn}")))
        made.close()
    assert found[0] == found[1]


def held(root: Path, declared: tuple[Output, ...] | None = None) -> tuple[World, Train]:
    made = one_stop(root, b"patients", by_hand=True)
    sent = made.train(route=("hospital-a",), outputs=declared or outputs())
    made.submit(sent)
    made.step("hospital-a")
    while made.visit("hospital-a").held is None:
        made.step("hospital-a")
    visit = made.visit("hospital-a")
    assert visit.held is not None
    assert visit.held.hold is HoldFor.RELEASE
    return made, sent


def release(made: World) -> None:
    made.approve("hospital-a")
    made.settle()


def test_what_is_shown_for_release_is_what_was_printed_t18_(tmp_path: Path) -> None:
    made, _ = held(tmp_path)
    visit, house = made.visit("hospital-a"), made.houses["hospital-a"]
    room = house.workrooms.find(visit.arrival)
    assert b"\t" in (room.state / "sums.json").read_bytes()
    assert (room.outgoing / "sums.json").read_bytes() == b'{"n":1}\n'
    digest = judged_in(room)
    assert digest is not None
    release(made)
    assert phase_of(made.visit("hospital-a")) is Phase.GONE
    assert made.visit("hospital-a").pushed is not None
    assert not any(digest.hex in str(event) for event in made.visit("hospital-a").events)
    made.close()


Change = Callable[[Workroom], None]


def in_state(room: Workroom) -> None:
    (room.state / "sums.json").write_bytes(b'{"n":2}')


def in_printed(room: Workroom) -> None:
    (room.outgoing / "sums.json").write_bytes(b'{"n":2}\n')


def in_both(room: Workroom) -> None:
    in_state(room)
    in_printed(room)


def state_gone(room: Workroom) -> None:
    (room.state / "sums.json").unlink()


def printed_gone(room: Workroom) -> None:
    shutil.rmtree(room.outgoing)


def printed_cut(room: Workroom) -> None:
    (room.outgoing / "sums.json").write_bytes(b"")


def printed_more(room: Workroom) -> None:
    (room.outgoing / "more.json").write_bytes(b"{}")


def not_noted(room: Workroom) -> None:
    room.judged.unlink()


HARMLESS: dict[str, Change] = {
    one.__name__: one for one in (in_state, in_printed, state_gone, printed_gone, printed_cut, printed_more)
}


def ran(root: Path, declared: tuple[Output, ...], phase: Phase = Phase.CLEARED) -> tuple[World, Train]:
    """A train that has run, and is in this phase after that."""
    made = one_stop(root, b"patients")
    sent = made.train(route=("hospital-a",), outputs=declared)
    made.submit(sent)
    while made.visits("hospital-a") == () or phase_of(made.visit("hospital-a")) is not phase:
        made.step("hospital-a")
    return made, sent


def room_of(made: World) -> Workroom:
    return made.houses["hospital-a"].workrooms.find(made.visit("hospital-a").arrival)


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_was_shown_is_what_is_released_t18_(tmp_path: Path, change: Change) -> None:
    """It lies there as it was shown, or is printed again from what it was printed from."""
    made, sent = held(tmp_path / "world")
    change(room_of(made))
    release(made)
    assert made.visit("hospital-a").refused is None
    assert made.results(sent, tmp_path / "home") == {"sums.json": b'{"n":1}\n'}
    made.close()


@pytest.mark.parametrize("change", [in_both, not_noted])
def test_another_number_of_the_same_size_is_not_released_in_place_of_what_was_shown_t18_(
    tmp_path: Path, change: Change
) -> None:
    made, _ = held(tmp_path)
    change(room_of(made))
    release(made)
    after = made.visit("hospital-a")
    assert after.refused is not None
    assert (after.refused.code, after.pushed) == ("gate.type", None)
    made.close()


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_was_judged_is_what_is_sealed_t18_(tmp_path: Path, change: Change) -> None:
    """A power cut may have taken what was printed; a run that left something behind may have changed the state."""
    made, sent = ran(tmp_path / "world", outputs())
    change(room_of(made))
    made.settle()
    assert made.visit("hospital-a").refused is None
    assert made.results(sent, tmp_path / "home") == {"sums.json": b'{"n":1}\n'}
    made.close()


@pytest.mark.parametrize("change", [in_both, not_noted])
def test_another_number_of_the_same_size_is_not_sealed_in_place_of_what_was_cleared_t18_(
    tmp_path: Path, change: Change
) -> None:
    made, _ = ran(tmp_path, outputs())
    change(room_of(made))
    made.settle()
    after = made.visit("hospital-a")
    assert after.refused is not None
    assert (after.refused.code, after.sealed, after.pushed) == ("gate.type", None, None)
    assert list(made.houses["hospital-a"].spool.path.glob(".new.*")) == []
    made.close()


def cut_short(room: Workroom) -> None:
    """What had not reached the disk when the machine went down is there, and empty."""
    for path in (*room.state.rglob("*"), *room.outgoing.rglob("*"), *room.keep.rglob("*")):
        if path.is_file():
            path.write_bytes(b"")


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("where", ["ended", "held", "cleared"])
def test_t25_what_a_power_cut_left_of_results_neither_leaves_nor_is_the_train_s_fault(
    tmp_path: Path, where: str, media_type: str
) -> None:
    """Whether the run had just ended, or a person was asked, or what was cleared was to be sealed: it is run again."""
    declared = (replace(*outputs(), media_type=media_type, schema=ONE_NUMBER if "json" in media_type else None),)
    if where == "held":
        made, sent = held(tmp_path / "world", declared)
    else:
        made, sent = ran(tmp_path / "world", declared, Phase(where))
    cut_short(room_of(made))
    rooms = Workrooms(made.folder("hospital-a") / "workrooms", boot=lambda: "another life")
    made.change("hospital-a", workrooms=rooms)
    if where == "held":
        made.approve("hospital-a")
        for _ in range(12):
            made.step("hospital-a")
            made.now += timedelta(seconds=1)
        assert made.visit("hospital-a").held is not None  # about the results of the second run
        made.approve("hospital-a")
    made.settle()
    visit = made.visit("hospital-a")
    assert (visit.refused, visit.fault, visit.attempt) == (None, None, 2)
    (result,) = made.results(sent, tmp_path / "home").values()
    assert b'"n"' in result
    made.close()


def of_bytes() -> tuple[Output, ...]:
    return (Output(path="sums.json", media_type="application/octet-stream", max_bytes=1 << 20),)


def test_bytes_that_lie_there_as_they_were_judged_leave_t18_(tmp_path: Path) -> None:
    made, sent = ran(tmp_path / "world", of_bytes())
    left = (room_of(made).outgoing / "sums.json").read_bytes()
    made.settle()
    assert made.results(sent, tmp_path / "home") == {"sums.json": left}
    made.close()


def test_bytes_that_went_back_with_a_power_cut_are_taken_again_t18_(tmp_path: Path) -> None:
    """The rename had not reached the disk, or what the gate had noted had not."""
    made, sent = ran(tmp_path / "world", of_bytes())
    room = room_of(made)
    left = (room.outgoing / "sums.json").read_bytes()
    (room.outgoing / "sums.json").rename(room.state / "sums.json")
    made.settle()
    assert made.results(sent, tmp_path / "home") == {"sums.json": left}
    made.close()


def test_bytes_that_are_others_than_were_judged_do_not_leave_t18_(tmp_path: Path) -> None:
    made, _ = ran(tmp_path, of_bytes())
    changed = room_of(made).outgoing / "sums.json"
    changed.write_bytes(bytes(changed.stat().st_size))
    made.settle()
    after = made.visit("hospital-a")
    assert after.refused is not None
    assert (after.refused.code, after.sealed, after.pushed) == ("gate.type", None, None)
    made.close()


def test_a_gate_that_was_stopped_after_it_took_bytes_judges_them_all_the_same_t18_(tmp_path: Path) -> None:
    made, sent = ran(tmp_path / "world", of_bytes(), Phase.ENDED)
    room = room_of(made)
    left = (room.state / "sums.json").read_bytes()
    room.outgoing.mkdir()
    (room.state / "sums.json").rename(room.outgoing / "sums.json")
    made.settle()
    assert made.results(sent, tmp_path / "home") == {"sums.json": left}
    made.close()


@dataclass
class Asked:
    """A rule that counts how often it is asked."""

    times: int = 0

    def judge(self, left: Left) -> Verdict:
        assert [one.member.path for one in left.files] == ["sums.json"]
        self.times += 1
        return Clear()


def test_what_a_run_left_is_read_and_judged_once(tmp_path: Path) -> None:
    made, asked = one_stop(tmp_path, b"patients"), Asked()
    made.change("hospital-a", gate=Gate(rules=(*FORM, asked)))
    made.submit(made.train(route=("hospital-a",), outputs=outputs()))
    while made.visits("hospital-a") == () or phase_of(made.visit("hospital-a")) is not Phase.CLEARED:
        made.step("hospital-a")
    state_gone(room_of(made))  # so nobody can read it again
    made.settle()
    assert made.visit("hospital-a").pushed is not None
    assert asked.times == 1
    made.close()
