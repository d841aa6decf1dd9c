"""station.yaml: what is accepted, and how clearly the rest is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from registry.places import Login
from security.digest import Digest
from security.errors import FileMissing
from security.ids import PartyId
from station.admission.policy import AllOf, ByHand, KnownCode
from station.errors import ConfigInvalid
from station.house.assembly import policy_of
from station.house.config import CEILING, Approve, load_config, parse_config
from station.house.setup import NewStation, print_config

FILE = Path("/srv/pht/station.yaml")
LEAST = """\
party: hospital-a
folder: state
keys:
  folder: keys
registry:
  location: https://registry.example/pht
directory:
  root_file: root.json
data: {}
admission:
  approve: by-hand
  owners: [alice]
"""


def parse(text: str) -> object:
    return parse_config(text.encode(), file=FILE)


def test_the_least_that_must_be_said_and_what_follows_from_it() -> None:
    config = parse_config(LEAST.encode(), file=FILE)
    assert config.party == PartyId("hospital-a")
    assert config.folder == Path("/srv/pht/state")
    assert config.workrooms == Path("/srv/pht/state/workrooms")
    assert config.directory.location == "https://registry.example/pht"
    assert config.admission.limits == CEILING
    assert config.passphrase_file is None
    assert config.sandbox.engine == "unix:///var/run/docker.sock"
    assert not config.release_by_hand
    assert not config.withhold


def test_everything_that_can_be_said() -> None:
    config = parse_config(
        b"""\
party: hospital-a
folder: /var/lib/pht
workrooms: /run/pht
keys: {folder: /etc/pht/keys, passphrase_file: /etc/pht/passphrase}
registry:
  location: https://registry.example
  ca_file: ca.pem
  username: a
  password_file: password
  token_hosts: ["https://auth.example"]
  blob_hosts: ["https://blobs.example:8443"]
  insecure: false
directory: {root_file: root.json, location: "folder:/mnt/directory", refresh_seconds: 60}
sandbox: {engine: "unix:///run/docker.sock", runtime: runsc}
data:
  patients: {folder: /srv/patients, description: all of them, owners: [alice]}
admission:
  approve: known-code
  release: by-hand
  answer: withheld
  owners: [alice, bob]
  bases: [python]
  approvals: ["ethics-*"]
  legal_bases: [consent]
  known_code: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
  limits: {memory_bytes: 1, cpu_millis: 2, wall_seconds: 3, processes: 4, output_bytes: 5}
daemon: {poll_seconds: 1}
""",
        file=FILE,
    )
    assert config.login == Login(
        username="a",
        password_file=Path("/srv/pht/password"),
        ca_file=Path("/srv/pht/ca.pem"),
        token_hosts=("https://auth.example",),
        blob_hosts=("https://blobs.example:8443",),
    )
    assert config.data["patients"].owners == frozenset({PartyId("alice")})
    assert config.admission.known_code == {Digest("sha256:" + "0" * 64)}
    assert config.admission.limits.output_bytes == 5
    assert config.sandbox.runtime == "runsc"
    assert config.release_by_hand
    assert config.withhold
    rule = policy_of(config.admission, config.data)
    assert isinstance(rule, AllOf)
    assert any(isinstance(one, KnownCode) for one in rule.rules)


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("party: hospital-a", "party: Hospital"), 1, "does not have the right form"),
        (("party: hospital-a\n", ""), 1, "the key 'party' is missing"),
        (("  folder: keys", "  folder: keys\n  passphrase: hunter2"), 5, "unknown key 'passphrase'"),
        (("folder: state", "folder: 7"), 2, "must be text"),
        (("approve: by-hand", "approve: never"), 11, "must be one of"),
        (("owners: [alice]", "owners: alice"), 12, "must be a list"),
        (("owners: [alice]", "owners: [alice, ALICE]"), 12, "does not have the right form"),
        (("owners: [alice]", "owners: [alice]\n  known_code: []"), 10, "known_code goes with"),
        (("party: hospital-a", "party: hospital-a\nparty: hospital-b"), 2, "is there twice"),
        (("data: {}", "data: {}\n1: 2"), 10, "a key is not plain text"),
        (("data: {}", "data: &x {}\ndaemon: *x"), None, "aliases are not allowed"),
        (("data: {}", "data: [}"), 9, "not YAML"),
        (("data: {}", "data:\n  x: {source: bucket}"), 10, "must be one of folder"),
        (("data: {}", "data:\n  x: {source: folder}"), 10, "the key 'folder' is missing"),
        (("data: {}", "data:\n  x: {description: y}"), 10, "the key 'folder' is missing"),
        (("data: {}", "data: !!python/object:os.system {}"), None, "not YAML"),
        (("data: {}", "data: {}\ndaemon: {poll_seconds: 0}"), 10, "must have a minimum of 1"),
        (("location: https", "username: a\n  location: https"), 5, "username and password_file go together"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(change: tuple[str, str], line: int | None, reason: str) -> None:
    assert change[0] in LEAST
    with pytest.raises(ConfigInvalid) as caught:
        parse(LEAST.replace(*change))
    assert reason in str(caught.value.fields["reason"])
    assert "hunter2" not in str(caught.value)
    if line is not None:
        assert caught.value.fields["line"] == line


@pytest.mark.parametrize(
    "change",
    [
        ("https://registry.example/pht", "ftp://registry.example"),
        ("https://registry.example/pht", "https://user:password@registry.example"),
        ("root_file: root.json", "root_file: root.json\n  location: web:nonsense"),
        ("location: https", "token_hosts: [auth]\n  location: https"),
    ],
)
def test_addresses_are_read_when_the_file_is(change: tuple[str, str]) -> None:
    with pytest.raises(ConfigInvalid):
        parse(LEAST.replace(*change))


@pytest.mark.parametrize("raw", [b"", b"- a\n", b"\xff", b"a: 1\n---\nb: 2\n", b"[" * 5000, b"\x00"])
def test_other_files_are_not_configurations(raw: bytes) -> None:
    with pytest.raises(ConfigInvalid):
        parse_config(raw, file=FILE)


def test_t23_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    with pytest.raises(ConfigInvalid, match="aliases"):
        parse(bomb)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        load_config(tmp_path / "station.yaml")


def new(folder: Path, **changes: object) -> NewStation:
    values: dict[str, object] = {
        "folder": folder,
        "party": PartyId("hospital-a"),
        "title": "A",
        "registry": "https://registry.example",
        "login": Login(),
        "directory": None,
        "data": {"patients": Path("/srv/it's: here")},
        "admit": [PartyId("alice"), PartyId("null")],
        "engine": None,
        "passphrase_file": None,
        "by_hand": False,
    }
    return NewStation(**{**values, **changes})  # type: ignore[arg-type] # a test's wish


def test_the_file_that_init_writes_is_read_as_it_was_meant() -> None:
    config = parse_config(print_config(new(Path("/srv/pht"))).encode(), file=FILE)
    assert config.data["patients"].place.folder == Path("/srv/it's: here")
    assert config.admission.owners == {PartyId("alice"), PartyId("null")}
    assert config.admission.approve is Approve.AUTOMATIC
    assert config.login == Login()


def test_the_file_that_init_writes_names_every_setting() -> None:
    def settings(schema: dict[str, Any]) -> Iterator[str]:
        for name, inner in schema.get("properties", {}).items():
            yield name
            yield from settings(inner)

    schema = json.loads(resources.files("station.house").joinpath("config.schema.json").read_text("utf-8"))
    text = print_config(new(Path("/srv/pht")))
    assert [name for name in settings(schema) if not re.search(rf"^[ #]*{name}:", text, re.MULTILINE)] == []
    assert max(map(len, text.splitlines())) <= 120


def test_without_owners_or_by_hand_nothing_is_automatic() -> None:
    wishes: tuple[dict[str, object], ...] = ({"admit": []}, {"by_hand": True})
    for changes in wishes:
        config = parse_config(print_config(new(Path("/srv/pht"), **changes)).encode(), file=FILE)
        assert config.admission.approve is Approve.BY_HAND
        rule = policy_of(config.admission, config.data)
        assert isinstance(rule, AllOf)
        assert any(isinstance(one, ByHand) for one in rule.rules)


def test_an_account_is_kept_as_paths() -> None:
    login = Login(
        username="a", password_file=Path("/p"), ca_file=Path("/ca"), token_hosts=("https://t.example",), insecure=True
    )
    made = new(Path("/srv/pht"), login=login, directory="folder:/d", engine="unix:///e", passphrase_file=Path("/pass"))
    config = parse_config(print_config(made).encode(), file=FILE)
    assert config.login == login
    assert (config.directory.location, config.sandbox.engine) == ("folder:/d", "unix:///e")
    assert config.passphrase_file == Path("/pass")


@pytest.mark.parametrize(
    "folder", [".", "keys", "state", "/srv", "/", "state/spool/x", "state/workrooms", "keys/../keys/sub", "state/.."]
)
def test_t19_a_data_set_that_would_show_runs_the_stations_own_files_is_refused(folder: str) -> None:
    with pytest.raises(ConfigInvalid, match="the station's own files"):
        parse(LEAST.replace("data: {}", f"data: {{patients: {{folder: {folder!r}}}}}"))


def test_t19_a_data_set_that_holds_the_password_is_refused() -> None:
    account = "location: https://registry.example/pht\n  username: a\n  password_file: /etc/pht/password"
    text = LEAST.replace("location: https://registry.example/pht", account)
    with pytest.raises(ConfigInvalid, match="the station's own files"):
        parse(text.replace("data: {}", "data: {patients: {folder: /etc/pht}}"))
    parse(text.replace("data: {}", "data: {patients: {folder: /srv/pht/data}}"))
