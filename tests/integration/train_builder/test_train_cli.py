"""``pht train``, with a directory and a registry in a folder: what a scientist types and sees."""

from __future__ import annotations

import base64
import json
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from console.answer import Answer
from registry.depot import ReceiptKind
from registry.directory import RegistryDirectory
from registry.layout import LayoutRegistry
from security.digest import digest_of
from security.directory.workspace import approve_base, revoke, withdraw_base
from security.errors import PhtError
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, generate, spell
from security.statement.envelope import parse_envelope
from security.train.journey import Outcome
from tests.support.clocks import SetClock
from tests.support.desk import in_a_process, typed
from tests.support.directories import PASSPHRASE, House, clock, house, key_folder
from tests.support.owners import SPEC, OwnerWorld, write_train
from tests.support.root import Root
from tests.support.stretchings import counted
from tests.support.terminal import at_a_terminal
from tests.support.trains import BASE, Consortium, consortium
from train_builder.cli.commands import train
from train_builder.desk.watch import watch
from train_builder.errors import PreflightFailed, SpecInvalid
from train_builder.follow.follow import StopState, Whereabouts
from train_builder.home import open_home


@dataclass
class Scientist:
    """A scientist's desk: a passphrase file, and the world around."""

    path: Path
    house: House
    world: OwnerWorld

    @property
    def address(self) -> str:
        return f"layout:{self.path / 'registry'}"

    @property
    def home(self) -> Path:
        return self.path / "home"

    def run(self, *words: str, home: Path | None = None) -> Answer:
        """Run a command; its error is raised."""
        environment = {"PHT_PASSPHRASE_FILE": str(self.path / "passphrase"), "PHT_HOME": str(home or self.home)}
        done = CliRunner().invoke(train, list(words), obj=Root(), standalone_mode=False, env=environment)
        if done.exception is not None:
            raise done.exception
        answer = done.return_value
        assert isinstance(answer, Answer)
        assert json.dumps(answer.data)
        return answer

    def begin(self, folder: str) -> Answer:
        """Begin a train over three hospitals that is not boarded: they do their part one after the other, by hand."""
        route = "hospital-a,hospital-b,hospital-c"
        made = self.run("init", folder, "--route", route, "--approval", "vote 1/2026")
        with (Path(folder) / "train.yaml").open("a") as spec:
            spec.write("boarding: false\n")
        return made

    def fails(self, *words: str, home: Path | None = None) -> PhtError:
        """Run a command that must fail; return its error, raised or told with an answer."""
        try:
            answer = self.run(*words, home=home)
        except PhtError as error:
            return error
        assert answer.error is not None
        return answer.error

    def pass_on(self, *stations: str) -> None:
        self.world.now = clock()
        for station in stations:
            self.world.pass_stop(station)


@pytest.fixture
def scientist(tmp_path: Path) -> Scientist:
    consort = house(tmp_path / "consortium", keys=1, threshold=1)
    for name in ("hospital-a", "hospital-b", "hospital-c"):
        consort.admit(name)
    consort.admit("alice", Role.OWNER)
    approve_base(consort.workspace, "python", BASE, note="")
    (tmp_path / "registry").mkdir()
    registry = LayoutRegistry(tmp_path / "registry")
    consort.publish(RegistryDirectory(registry))
    keys = {PartyId(name): secrets for name, secrets in consort.secrets.items()}
    roles = {name: Role.OWNER if name == "alice" else Role.STATION for name in keys}
    members = Consortium(
        secrets=keys, roles=roles, bases=consortium([], owners=[]).bases, expires=clock() + timedelta(days=1)
    )
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE + b"\n")
    passphrase.chmod(0o600)
    key_folder(tmp_path / "home" / "keys", consort.secrets["alice"], "alice", Role.OWNER)
    return Scientist(tmp_path, consort, OwnerWorld(tmp_path / "world", world=members, registry=registry, now=clock()))


@pytest.fixture
def ready(scientist: Scientist) -> Scientist:
    root = scientist.path / "root.json"
    root.write_bytes(scientist.house.root)
    scientist.run(
        "setup", str(scientist.home), "--party", "alice", "--registry", scientist.address, "--root", str(root)
    )
    return scientist


def test_the_whole_way(ready: Scientist) -> None:
    folder, out, journey = (str(ready.path / name) for name in ("ages", "out", "journey"))
    made = ready.begin(folder)
    assert "train.yaml" in str(made.data["files"])
    assert ready.run("check", folder).data["findings"] == []
    sent = ready.run("submit", folder)
    name = str(sent.data["train"])
    assert sent.data["to"] == ["hospital-a"]
    told = ready.run("follow")
    assert told.data["waitingFor"] == ["hospital-a"]
    ready.pass_on("hospital-a", "hospital-b")
    stops: Any = ready.run("follow", name[:8]).data["stops"]
    assert [one["state"] for one in stops] == ["passed", "passed", "waiting"]
    assert ready.fails("open", "latest", out).code == "train.not-home"
    ready.pass_on("hospital-c")
    assert ready.run("follow", "--watch", "latest").data["passed"] is True
    opened = ready.run("open", "latest", out)
    assert opened.data["files"] == ["sums.json"]
    assert (ready.path / "out" / "sums.json").read_bytes() == b'{"n":3}'
    proof = ready.run("verify", "latest", "--export", journey)
    assert "3. hospital-c signed" in proof.text
    assert (ready.path / "journey" / "verify.sh").exists()
    inspected = ready.run("inspect", "latest").data
    assert (inspected["proven"], inspected["doubt"], inspected["baseName"]) == (True, None, "python")
    (sealed,) = ready.home.glob("trains/*/manifest.json")
    signed = json.loads(parse_envelope(sealed.read_bytes()).payload)["predicate"]
    assert signed["letterKey"] not in json.dumps(inspected)
    assert inspected["manifest"] == {name: value for name, value in signed.items() if name != "letterKey"}
    assert ready.run("inspect", str(ready.path / "journey" / "manifest" / "envelope.json")).data["train"] == name
    (listed,) = cast("list[dict[str, object]]", ready.run("ls").data["trains"])
    assert (listed["train"], listed["name"], listed["state"]) == (name, "ages", "opened")
    assert ready.fails("open", "latest", out).code == "folder.not-empty"


def test_an_exported_journey_is_judged_by_the_command_from_a_pinned_root_alone(ready: Scientist) -> None:
    name = str(ready.run("submit", str(write_train(ready.path / "t"))).data["train"])
    ready.pass_on("hospital-a", "hospital-b", "hospital-c")
    journey = ready.path / "journey"
    exported = ready.run("verify", "latest", "--export", str(journey)).data
    for gone in ("home", "registry", "consortium"):  # an auditor has none of them
        shutil.rmtree(ready.path / gone)
    words = ("--json", "verify", str(journey), "--root", str(ready.path / "root.json"))
    judged = typed(ready.path, *words)
    assert judged.exit == 0, str(judged)
    told = judged.document
    assert (told["train"], told["stops"], told["offline"]) == (name, exported["stops"], True)
    statement = journey / "entry-2" / "envelope.json"
    statement.write_bytes((journey / "entry-1" / "envelope.json").read_bytes())
    refused = typed(ready.path, *words)
    assert refused.code == "signature.missing", str(refused)
    shutil.rmtree(journey / "directory")
    assert typed(ready.path, *words).code == "directory.unavailable"


def test_of_a_whole_journey_sending_and_opening_ask_for_the_passphrase_and_each_once(ready: Scientist) -> None:
    with counted() as sending:
        name = str(ready.run("submit", str(write_train(ready.path / "t"))).data["train"])
    ready.pass_on("hospital-a", "hospital-b", "hospital-c")
    with counted() as looking:
        ready.run("follow", "--watch")
        ready.run("ls")
        ready.run("verify", "latest", "--export", str(ready.path / "journey"))
    with counted() as opening:
        ready.run("open", "latest", str(ready.path / "out"))
    assert (sending.number, looking.number, opening.number) == (1, 0, 1)
    elsewhere = ready.path / "elsewhere"  # where only the keys are: they open what is said about the train, too
    root = str(ready.path / "root.json")
    ready.run("setup", str(elsewhere), "--party", "alice", "--registry", ready.address, "--root", root, home=elsewhere)
    shutil.copytree(ready.home / "keys", elsewhere / "keys")
    with counted() as opening:
        ready.run("open", name, str(ready.path / "again"), home=elsewhere)
    assert opening.number == 1
    assert (ready.path / "again" / "sums.json").read_bytes() == (ready.path / "out" / "sums.json").read_bytes()


def test_opening_results_is_shown_at_a_terminal_and_nowhere_else(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    ready.pass_on("hospital-a", "hospital-b", "hospital-c")
    words = ("train", "open", "latest", "--home", "home", "--passphrase-file", "passphrase")
    status, screen = at_a_terminal(*words, "seen", folder=ready.path)
    assert status == 0, screen
    assert screen.index("opening the keys") < screen.index("opening the results") < screen.index("1 files")
    typed = in_a_process(ready.path, {}, *words, "unseen")
    assert (typed.exit, typed.err) == (0, ""), str(typed)
    assert (ready.path / "seen" / "sums.json").read_bytes() == (ready.path / "unseen" / "sums.json").read_bytes()


def test_inspect_says_what_is_not_to_be_believed(ready: Scientist) -> None:
    folder = str(write_train(ready.path / "t"))
    ready.run("submit", folder)
    (manifest,) = ready.home.glob("trains/*/manifest.json")
    copy = ready.path / "copy.json"
    envelope = json.loads(manifest.read_bytes())
    envelope["signatures"][0]["sig"] = "AAAA"
    copy.write_text(json.dumps(envelope))
    told = ready.run("inspect", str(copy))
    assert (told.data["proven"], told.data["doubt"]) == (False, "signature.invalid")
    assert "NOT TO BE BELIEVED" in told.text


def test_inspect_lets_no_stranger_move_the_cursor_or_write_lines_of_its_own(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    (manifest,) = ready.home.glob("trains/*/manifest.json")
    envelope = json.loads(manifest.read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["purpose"] = "x\n  signed by alice\x1b[2J"
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    copy = ready.path / "copy.json"
    copy.write_text(json.dumps(envelope))
    told = ready.run("inspect", str(copy))
    assert told.data["proven"] is False
    assert "\x1b" not in told.text
    assert not any(line.startswith("  signed by") for line in told.text.splitlines())


def test_results_sealed_for_earlier_keys_open_as_long_as_those_are_in_the_home(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    ready.pass_on("hospital-a", "hospital-b", "hospital-c")
    (ready.home / "keys").rename(ready.path / "away")
    key_folder(ready.home / "keys", generate([Scheme.P256]), "alice", Role.OWNER)
    error = ready.fails("open", "latest", str(ready.path / "out"))
    assert error.code == "file.missing"
    assert error.fields["key_set"] == spell(ready.house.secrets["alice"].key_set.fingerprint)
    assert not (ready.path / "out").exists()
    (ready.path / "away").rename(ready.home / "keys-before")
    assert ready.run("open", "latest", str(ready.path / "out")).data["files"] == ["sums.json"]


def test_follow_tells_a_refusal(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    (record,) = open_home(ready.home).records()
    ready.world.now = clock()
    ready.world.refuse("hospital-a", record, 0, Outcome.REFUSED)
    told = ready.run("follow", "--watch")
    assert "ended at hospital-a: refused" in told.text
    assert ready.fails("open", "latest", str(ready.path / "out")).code == "train.refused"
    assert not (ready.path / "out").exists()


def test_setup_by_fingerprint(scientist: Scientist) -> None:
    fingerprint = spell(digest_of(scientist.house.root))
    told = scientist.run(
        "setup",
        str(scientist.home),
        "--party",
        "alice",
        "--registry",
        scientist.address,
        "--root-fingerprint",
        fingerprint,
    )
    assert fingerprint in told.text
    assert open_home(scientist.home).root() == scientist.house.root


def test_setup_with_a_wrong_fingerprint_pins_nothing(scientist: Scientist) -> None:
    wrong = spell(digest_of(b"another root"))
    error = scientist.fails(
        "setup", str(scientist.home), "--party", "alice", "--registry", scientist.address, "--root-fingerprint", wrong
    )
    assert error.code == "directory.not-pinned"
    assert not (scientist.home / "trust").exists()


def test_setup_again_changes_the_registry_but_neither_root_nor_party(ready: Scientist) -> None:
    root = str(ready.path / "root.json")
    elsewhere = f"layout:{ready.path / 'elsewhere'}"
    ready.run("setup", str(ready.home), "--party", "alice", "--registry", elsewhere, "--root", root)
    assert open_home(ready.home).settings.registry == elsewhere
    assert (
        ready.fails("setup", str(ready.home), "--party", "bob", "--registry", elsewhere, "--root", root).code
        == "home.invalid"
    )
    other = ready.path / "other.json"
    other.write_bytes(house(ready.path / "others", keys=1, threshold=1).root)
    again = ready.fails("setup", str(ready.home), "--party", "alice", "--registry", elsewhere, "--root", str(other))
    assert again.code == "home.invalid"
    assert open_home(ready.home).root() == ready.house.root


def test_setup_with_what_is_no_root(scientist: Scientist) -> None:
    fake = scientist.path / "root.json"
    fake.write_text("{}")
    error = scientist.fails(
        "setup", str(scientist.home), "--party", "alice", "--registry", scientist.address, "--root", str(fake)
    )
    assert error.code == "directory.not-pinned"


def test_the_stations_that_can_be_visited(ready: Scientist) -> None:
    told = ready.run("stations")
    titles = {f"hospital-{letter}": f"Hospital-{letter.upper()}" for letter in "abc"}
    assert told.data["stations"] == [
        {"party": name, "title": title, "open": True, "code": None} for name, title in titles.items()
    ]
    assert told.data["bases"] == [{"name": "python", "digest": BASE, "note": ""}]
    assert "alice" not in told.text


def test_a_station_that_cannot_be_visited_is_told_with_the_reason(ready: Scientist) -> None:
    consort = ready.house
    revoke(consort.workspace, PartyId("hospital-b"), None, since=clock(), now=clock())
    withdraw_base(consort.workspace, "python")
    consort.publish(RegistryDirectory(LayoutRegistry(ready.path / "registry")))
    told = ready.run("stations")
    stations: Any = told.data["stations"]
    assert {one["party"]: one["code"] for one in stations} == {
        "hospital-a": None,
        "hospital-b": "key.revoked",
        "hospital-c": None,
    }
    assert "not now: every key set of the party is revoked" in told.text
    assert told.data["bases"] == []
    assert "base images: none" in told.text


def test_a_home_that_is_not_set_up(scientist: Scientist) -> None:
    for words in (
        ("ls",),
        ("stations",),
        ("follow",),
        ("submit", "x"),
        ("open", "latest", "out"),
        ("verify", "latest"),
        ("inspect", "latest"),
    ):
        assert scientist.fails(*words, home=scientist.path / "nowhere").code == "home.invalid"


@pytest.mark.parametrize("text", ["", "{", "{}", '{"type": "pht-owner-home-v1", "party": "A"}', '{"type": "x"}'])
def test_settings_that_are_damaged(ready: Scientist, text: str) -> None:
    (ready.home / "pht.json").write_text(text)
    assert ready.fails("ls").code == "home.invalid"


def test_a_record_that_is_damaged(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    (manifest,) = ready.home.glob("trains/*/manifest.json")
    manifest.write_text(manifest.read_text()[:-40])
    assert ready.fails("ls").code == "home.invalid"


def test_a_wrong_passphrase_leaves_nothing_behind(ready: Scientist) -> None:
    (ready.path / "passphrase").write_bytes(b"not the right one\n")
    assert ready.fails("submit", str(write_train(ready.path / "t"))).code == "key.wrong-passphrase"
    assert ready.run("ls").data["trains"] == []


def test_a_registry_that_is_away(ready: Scientist) -> None:
    (ready.path / "registry").rename(ready.path / "gone")
    assert ready.fails("submit", str(write_train(ready.path / "t"))).exit == 20
    (ready.path / "gone").rename(ready.path / "registry")
    assert ready.run("submit", str(ready.path / "t")).data["to"] == ["hospital-a"]


def test_check_tells_everything_and_stops(ready: Scientist) -> None:
    folder = write_train(
        ready.path / "t", files={"main.py": "pass\n", "patients.csv": "a\n", "key.pem": "-----BEGIN PRIVATE KEY-----"}
    )
    found = ready.run("check", str(folder))
    assert isinstance(found.error, PreflightFailed)
    assert "patients.csv: has the name of a table" in found.text
    assert "key.pem:1: holds a private key" in found.text
    allowed = ready.run("check", str(folder), "--allow", "patients.csv", "--allow", "key.pem")
    findings: Any = allowed.data["findings"]
    assert [one["code"] for one in findings if one["allowed"]] == ["secret.private-key", "data.file"]


def test_check_without_a_home_says_that_nobody_was_asked(scientist: Scientist) -> None:
    folder = str(write_train(scientist.path / "t"))
    checked = typed(scientist.path, "--json", "train", "check", folder, HOME=str(scientist.path / "nowhere"))
    assert (checked.exit, checked.document["directory"]) == (0, False), str(checked)
    assert "not looked up" in typed(scientist.path, "train", "check", folder, HOME=str(scientist.path)).out


def test_check_with_a_home_that_somebody_named_needs_it(scientist: Scientist) -> None:
    folder, nowhere = str(write_train(scientist.path / "t")), scientist.path / "nowhere"
    assert scientist.fails("check", folder, "--home", str(nowhere)).code == "home.invalid"
    error = scientist.fails("check", folder, home=nowhere)
    assert error.code == "home.invalid"
    assert "--home" in str(error.hint)
    assert scientist.run("check", folder, "--offline", home=nowhere).data["directory"] is False


def test_check_tells_every_line_that_is_wrong(scientist: Scientist) -> None:
    folder = write_train(scientist.path / "t", "train: X\npurpose:\n")
    found = scientist.run("check", str(folder))
    assert isinstance(found.error, SpecInvalid)
    assert "train.yaml: line 1: train: is 'X'" in found.text
    assert "line 2: purpose: is empty" in found.text


def test_submitting_twice_makes_two_trains_only_when_the_first_is_away(ready: Scientist) -> None:
    folder = str(write_train(ready.path / "t"))
    first, second = ready.run("submit", folder), ready.run("submit", folder, "--again")
    assert first.data["train"] != second.data["train"]
    assert ready.fails("follow", "zz").code == "input.invalid"


def states(scientist: Scientist) -> list[str]:
    trains: Any = scientist.run("ls").data["trains"]
    return [str(one["state"]) for one in trains]


def test_the_list_tells_what_was_learnt_last_and_asks_nobody(ready: Scientist) -> None:
    for name in ("one", "two"):
        ready.run("submit", str(write_train(ready.path / name, SPEC.replace("train: sums", f"train: {name}"))))
        if name == "one":
            ready.pass_on("hospital-a")

    def listed() -> dict[str, str]:
        trains: Any = ready.run("ls").data["trains"]
        return {one["name"]: one["state"] for one in trains}

    assert listed() == {"one": "sent", "two": "sent"}
    records = {record.manifest.name: record for record in open_home(ready.home).records()}
    first, second = (records[name].train[:12] for name in ("one", "two"))
    ready.run("follow", first)
    ready.world.now = clock()
    ready.world.refuse("hospital-a", records["two"], 0, Outcome.FAILED)
    assert ready.fails("open", second, str(ready.path / "out")).code == "train.failed"
    registry = ready.path / "registry"
    registry.rename(ready.path / "away")
    assert listed() == {"one": "at hospital-b", "two": "failed at hospital-a"}
    assert ready.run("ls").text.splitlines()[0].split() == ["train", "made", "state", "as", "of", "name"]
    (ready.path / "away").rename(registry)
    ready.pass_on("hospital-b", "hospital-c")
    ready.run("follow", first)
    assert listed()["one"] == "ready to open"
    ready.run("open", first, str(ready.path / "out"))
    assert listed()["one"] == "opened"


def test_the_list_says_when_it_was_looked_last_and_can_look_itself(ready: Scientist) -> None:
    for name in ("one", "two"):
        ready.run("submit", str(write_train(ready.path / name, SPEC.replace("train: sums", f"train: {name}"))))
        ready.pass_on("hospital-a")
    before: Any = ready.run("ls")
    assert [(one["state"], one["looked"]) for one in before.data["trains"]] == [("sent", None)] * 2
    assert before.text.count("never looked") == 2
    after: Any = ready.run("ls", "--look").data["trains"]
    assert [one["state"] for one in after] == ["at hospital-b"] * 2
    assert all(one["looked"] for one in after)
    registry = ready.path / "registry"
    registry.rename(ready.path / "away")
    again: Any = ready.run("ls").data["trains"]
    assert again == after


def test_what_was_learnt_is_not_unlearnt_when_receipts_go_away(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    ready.pass_on("hospital-a", "hospital-b")
    ready.run("follow")
    shutil.rmtree(ready.path / "registry" / "mailbox" / "alice")
    assert ready.run("follow").data["waitingFor"] == ["hospital-a"]
    assert states(ready) == ["at hospital-c"]
    (seen,) = ready.home.glob("trains/*/seen.json")
    seen.write_text("{}")
    assert states(ready) == ["sent"]


def test_who_watches_keeps_what_was_verified_when_receipts_go_away(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    ready.pass_on("hospital-a", "hospital-b")
    looks = watch("latest", open_home(ready.home), clock=SetClock(clock()), every=1)
    before = next(looks)
    shutil.rmtree(ready.path / "registry" / "mailbox" / "alice")
    assert isinstance(before, Whereabouts)
    assert [one.state for one in before.stops] == [StopState.PASSED, StopState.PASSED, StopState.WAITING]
    assert next(looks) == before


def test_a_train_is_recalled_by_a_command_that_names_who_was_told(ready: Scientist) -> None:
    hospitals = ["hospital-a", "hospital-b", "hospital-c"]
    ready.run("submit", str(write_train(ready.path / "t")))
    said = ready.run("recall", "latest", "--yes", "--reason", "wrong base image")
    assert (said.data["told"], said.data["notTold"]) == (hospitals, [])
    assert "told hospital-a, hospital-b, hospital-c" in said.text
    (record,) = open_home(ready.home).records()
    kinds = (ReceiptKind.RECALL,)
    assert [len(ready.world.depot.receipts_of(PartyId(one), record.train, (0,), kinds)) for one in hospitals] == [1] * 3
    ready.pass_on(*hospitals)
    assert ready.fails("recall", "latest", "--yes").code == "train.not-here"


def test_a_receipt_nobody_vouches_for_is_not_remembered(ready: Scientist) -> None:
    ready.run("submit", str(write_train(ready.path / "t")))
    (record,) = open_home(ready.home).records()
    ready.world.now = clock()
    ready.world.world.secrets[PartyId("hospital-a")] = generate([Scheme.ED25519])
    ready.world.refuse("hospital-a", record, 0, Outcome.FAILED)
    assert ready.run("follow").data["doubts"]
    assert states(ready) == ["sent"]


def test_a_second_train_of_the_same_source_is_told(ready: Scientist) -> None:
    folder = str(write_train(ready.path / "t"))
    first = ready.run("submit", folder)
    assert first.data["twin"] is None
    refused = ready.fails("submit", folder)
    assert (refused.code, refused.fields["train"]) == ("train.already-sent", str(first.data["train"])[:12])
    assert "--again" in str(refused.hint)
    assert len(open_home(ready.home).records()) == 1
    second = ready.run("submit", folder, "--again")
    assert second.data["twin"] == first.data["train"]
    assert f"note: the same train was already sent as {str(first.data['train'])[:12]}" in second.text
    ready.world.now = clock()
    for record in open_home(ready.home).records():
        ready.world.refuse("hospital-a", record, 0, Outcome.REFUSED)
        ready.run("follow", record.train[:12])
    assert ready.run("submit", folder).data["twin"] is None


def test_the_hint_of_a_check_fits_what_it_found(ready: Scientist) -> None:
    typo = write_train(ready.path / "typo", SPEC.replace("hospital-b", "hospital-bb"))
    found = ready.run("check", str(typo))
    assert found.error is not None
    assert found.error.hint == "did you mean 'hospital-b'?"
    findings: Any = found.data["findings"]
    assert [one["hint"] for one in findings if one["level"] == "error"] == ["did you mean 'hospital-b'?"]
    data = write_train(ready.path / "data", files={"main.py": "pass\n", "patients.csv": "a\n"})
    error = ready.fails("check", str(data))
    assert "--allow patients.csv" in str(error.hint)
    assert "--allow patients.csv" in str(ready.fails("submit", str(data)).hint)


def test_setup_names_its_own_option_for_the_fingerprint(scientist: Scientist) -> None:
    error = scientist.fails("setup", str(scientist.home), "--party", "alice", "--registry", scientist.address)
    assert "--root-fingerprint" in str(error.hint)


def test_an_engine_that_was_named_and_is_away_runs_nothing(ready: Scientist) -> None:
    folder, left = write_train(ready.path / "t"), ready.path / "left"
    (folder / "code" / "main.py").write_text(f"open({str(left)!r}, 'w').close()\n")
    words = ("train", "rehearse", str(folder), "--engine", f"unix://{ready.path}/nowhere")
    checked = typed(ready.path, "--json", *words, "--home", str(ready.home))
    assert checked.code == "engine.unavailable", str(checked)
    assert typed(ready.path, "--json", *words).code == "input.invalid"
    assert not left.exists()
    away = {"DOCKER_HOST": f"unix://{ready.path}/nowhere"}
    usual = typed(ready.path, "--json", "train", "rehearse", str(folder), "--home", str(ready.home), **away)
    assert usual.document["sealed"] is False
    assert usual.document["lacking"]
    assert usual.document["error"]["hint"].endswith(": sums.json (line 8 of train.yaml)")
    assert left.exists()


def test_a_rehearsal_that_the_gate_ended_names_the_outputs_it_may_be_about(scientist: Scientist) -> None:
    second = "\n  - {path: other.json, media_type: application/json, max_bytes: 10KB, schema: other.schema.json}"
    spec = SPEC.replace("max_bytes: 10KB}", "max_bytes: 10KB}" + second)
    script = "import os, pathlib\n(pathlib.Path(os.environ['PHT_STATE']) / 'other.json').write_text('{}')\n"
    folder = write_train(scientist.path / "t", spec, files={"main.py": script})
    (folder / "other.schema.json").write_text('{"type": "array"}')
    document = typed(scientist.path, "--json", "train", "rehearse", str(folder)).document
    assert document["error"]["fields"]["reason"] == "gate.schema"
    assert document["error"]["hint"].endswith(": other.json (line 9 of train.yaml)")
    (folder / "code" / "main.py").write_text("raise SystemExit(1)\n")
    silent = typed(scientist.path, "--json", "train", "rehearse", str(folder)).document
    assert silent["error"]["hint"] == "the analysis printed nothing"
    (folder / "code" / "main.py").write_text("raise SystemExit('no such column')\n")
    told = typed(scientist.path, "--json", "train", "rehearse", str(folder)).document
    assert "see above" in told["error"]["hint"]


def came_home(ready: Scientist) -> str:
    folder = str(ready.path / "ages")
    ready.begin(folder)
    name = str(ready.run("submit", folder).data["train"])
    ready.pass_on("hospital-a", "hospital-b", "hospital-c")
    return name


def mailbox_of_alice(ready: Scientist) -> int:
    depot = ready.world.depot
    return len(depot.arrivals(PartyId("alice"))) + len(depot.receipt_tags(PartyId("alice")))


def test_a_train_that_has_ended_is_forgotten_and_still_proven(ready: Scientist) -> None:
    name, home = came_home(ready), open_home(ready.home)
    ready.run("open", "latest", str(ready.path / "out"))
    assert mailbox_of_alice(ready) == 1 + 3
    before = sum(path.stat().st_size for path in home.blobs.path.iterdir())
    done = ready.run("forget", name[:8], "--yes")
    assert done.data["trains"] == [name]
    assert done.data["messages"] == 4
    assert mailbox_of_alice(ready) == 0
    after = sum(path.stat().st_size for path in home.blobs.path.iterdir())
    assert before - after == done.data["freed"]
    assert int(str(done.data["freed"])) > 0
    trains: Any = ready.run("ls").data["trains"]
    assert [one["state"] for one in trains] == ["forgotten"]
    assert "3. hospital-c signed" in ready.run("verify", "latest").text
    assert ready.fails("open", "latest", str(ready.path / "again")).code == "train.forgotten"
    assert not (ready.path / "again").exists()
    assert ready.run("forget", name[:8], "--yes").data["messages"] == 0


def test_a_forgotten_train_does_not_seem_to_wait_where_it_began(ready: Scientist) -> None:
    name = came_home(ready)
    ready.run("open", "latest", str(ready.path / "out"))
    ready.run("forget", name[:8], "--yes")
    for words in (("follow",), ("follow", "--watch"), ("verify", "latest", "--export", str(ready.path / "proof"))):
        assert ready.fails(*words).code == "train.forgotten", words
    assert not (ready.path / "proof").exists()


def test_what_may_still_run_or_was_never_opened_is_not_forgotten(ready: Scientist) -> None:
    folder = str(ready.path / "ages")
    ready.begin(folder)
    ready.run("submit", folder)
    assert ready.fails("forget", "latest", "--yes").code == "train.not-over"
    ready.pass_on("hospital-a", "hospital-b", "hospital-c")
    ready.run("follow")
    assert ready.fails("forget", "latest", "--yes").code == "train.not-over"
    assert mailbox_of_alice(ready) == 1 + 3
    assert ready.run("forget", "latest", "--unopened", "--yes").data["messages"] == 4


def test_old_trains_are_forgotten_together_and_young_ones_are_not(ready: Scientist) -> None:
    name = came_home(ready)
    ready.run("open", "latest", str(ready.path / "out"))
    assert ready.run("forget", "--older-than", "1d", "--yes").data["trains"] == []
    time.sleep(2.1)  # made in one second, forgotten in a later one
    assert ready.run("forget", "--older-than", "1s", "--yes").data["trains"] == [name]
    assert ready.run("forget", "--older-than", "1s", "--yes").data["trains"] == []
    assert ready.fails("forget").code == "input.invalid"
    assert ready.fails("forget", name[:8], "--older-than", "1d").code == "input.invalid"
