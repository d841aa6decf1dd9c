"""station.yaml: what is accepted, and how clearly the rest is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from registry.places import Login
from security.digest import Digest
from security.errors import FileMissing
from security.ids import PartyId
from station.admission.policy import AllOf, ByHand, KnownAnalysis
from station.data.tables.bucket import Bucket
from station.data.tables.kinds import SETTINGS
from station.data.tables.s3 import S3Source
from station.data.tables.source import Spelling
from station.desk.setup import NewStation, print_config
from station.desk.unit import station_unit
from station.errors import ConfigInvalid
from station.house.assembly import capacity_of, policy_of
from station.house.capacity import Capacity, Resources
from station.house.config import CEILING, Approve, Retention, StationConfig, config_schema, load_config, parse_config

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


def parse(text: str) -> StationConfig:
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
  approve: known-analysis
  release: by-hand
  answer: withheld
  owners: [alice, bob]
  bases: [python]
  approvals: ["ethics-*"]
  legal_bases: [consent]
  known_analyses: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
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
    assert config.admission.known_analyses == {Digest("sha256:" + "0" * 64)}
    assert config.admission.limits.output_bytes == 5
    assert config.sandbox.runtime == "runsc"
    assert config.release_by_hand
    assert config.withhold
    rule = policy_of(config.admission, config.data, capacity_of(config))
    assert isinstance(rule, AllOf)
    assert any(isinstance(one, KnownAnalysis) for one in rule.rules)


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("party: hospital-a", "party: Hospital"), 1, "party: is 'Hospital'"),
        (("party: hospital-a\n", ""), 1, "party: is missing"),
        (("  folder: keys", "  folder: keys\n  passphrase: hunter2"), 5, "keys.passphrase: is not a field"),
        (("folder: state", "folder: 7"), 2, "folder: is 7"),
        (("approve: by-hand", "approve: never"), 11, "admission.approve: is 'never'"),
        (("owners: [alice]", "owners: alice"), 12, "admission.owners: is 'alice'"),
        (("owners: [alice]", "owners: [alice, ALICE]"), 12, "admission.owners[1]: is 'ALICE'"),
        (("owners: [alice]", "owners: [alice]\n  known_analyses: []"), 13, "unless 'approve' is 'known-analysis'"),
        (("party: hospital-a", "party: hospital-a\nparty: hospital-b"), 2, "is given twice"),
        (("data: {}", "data: {}\n1: 2"), 10, "1: is not a field"),
        (("data: {}", "data: &x {}\ndaemon: *x"), 9, "anchors and aliases"),
        (("data: {}", "data: [}"), 9, "not YAML"),
        (("data: {}", "data:\n  x: {source: bucket}"), 10, "data.x.source: is 'bucket'"),
        (("data: {}", "data:\n  x: {source: folder}"), 10, "data.x.folder: is missing"),
        (("data: {}", "data:\n  x: {description: y}"), 10, "data.x.folder: is missing"),
        (("data: {}", "data: !!python/object:os.system {}"), 9, "tags (!) are not used"),
        (("data: {}", "data: {}\ndaemon: {poll_seconds: 0}"), 10, "daemon.poll_seconds: is 0"),
        (("data: {}", "data: {Patients: {folder: /srv}}"), 9, "data: cannot be called 'Patients'"),
        (("location: https", "username: a\n  location: https"), 6, "needs 'password_file' as well"),
        (("location: https", "insecure: yes\n  location: https"), 6, "registry.insecure: is 'yes'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(change: tuple[str, str], line: int, reason: str) -> None:
    assert change[0] in LEAST
    with pytest.raises(ConfigInvalid) as caught:
        parse(LEAST.replace(*change))
    assert reason in str(caught.value.fields["problem"])
    assert "hunter2" not in str(caught.value)
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
    assert config.data["patients"].reads == (Path("/srv/it's: here"),)
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
        assert config.release_by_hand
        rule = policy_of(config.admission, config.data, capacity_of(config))
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


BUCKET = """\
data:
  lungs:
    source: s3
    endpoint: https://s3.example:9000/
    bucket: clinic
    prefix: /lungs/2026
    keys_file: private/keys
    patient: patient
    columns: {patient: {type: identifier}}
"""


def test_a_bucket() -> None:
    place = parse(LEAST.replace("data: {}\n", BUCKET)).data["lungs"].source
    where = Bucket(
        endpoint="https://s3.example:9000",
        name="clinic",
        prefix="lungs/2026/",
        region="us-east-1",
        keys_file=Path("/srv/pht/private/keys"),
        seconds=600,
    )
    assert place == S3Source(name="lungs", bucket=where, pattern="*.csv", spelling=Spelling())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://s3.example:9000/", "http://s3.example:9000"),
        ("https://s3.example:9000/", "https://key:secret@s3.example"),
        ("https://s3.example:9000/", "https://s3.example/clinic"),
        ("https://s3.example:9000/", "s3.example"),
        ("    keys_file: private/keys\n", ""),
        ("    endpoint: https://s3.example:9000/\n", ""),
        ("bucket: clinic", "bucket: Clinic/lungs"),
        ("bucket: clinic", "bucket: clinic..lungs"),
        ("bucket: clinic", "bucket: clinic\n    region: 'eu west'"),
        ("bucket: clinic", "bucket: clinic\n    secret_key: abc"),
    ],
)
def test_a_bucket_that_cannot_be_is_refused(before: str, after: str) -> None:
    assert before in BUCKET
    with pytest.raises(ConfigInvalid):
        parse(LEAST.replace("data: {}\n", BUCKET.replace(before, after)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("bucket: clinic", "bucket: clinic\n    database: sqlite:///a"),
        ("source: s3", "source: sql\n    database: sqlite:///a\n    table: b"),
        ("source: s3", "source: folder\n    folder: a"),
    ],
)
def test_a_setting_of_another_kind_of_source_is_refused_by_its_name(before: str, after: str) -> None:
    with pytest.raises(ConfigInvalid, match="no setting of 'source: "):
        parse(LEAST.replace("data: {}\n", BUCKET.replace(before, after)))


@pytest.mark.parametrize(
    ("names", "says"), [("", "table: is missing"), ("table: a, query_file: b,", "left out where 'query_file' is")]
)
def test_one_of_two_settings_is_wanted(names: str, says: str) -> None:
    entry = f"{{source: sql, database: 'sqlite:///a', {names} patient: id, columns: {{id: {{type: identifier}}}}}}"
    with pytest.raises(ConfigInvalid, match=says):
        parse(LEAST.replace("data: {}", f"data: {{rows: {entry}}}"))


def test_every_setting_is_of_some_kind_of_source_or_of_all() -> None:
    entry = config_schema()["properties"]["data"]["additionalProperties"]["properties"]
    of_all = {
        "source",
        "columns",
        "patient",
        "withdrawn",
        "catalogue",
        "least_patients",
        "description",
        "owners",
    }
    assert set(entry) - of_all == SETTINGS


def test_a_table_of_files_is_within_reach_of_the_service_and_so_are_its_secrets() -> None:
    withdrawn = BUCKET.replace("bucket: clinic", "bucket: clinic\n    withdrawn: lists/withdrawn.csv")
    rows = "  rows: {source: files, folder: /srv/rows, patient: id, columns: {id: {type: identifier}}}\n"
    text = station_unit(
        parse(LEAST.replace("data: {}\n", withdrawn + rows)),
        passphrase_file=Path("/etc/pht/passphrase"),
        user="pht",
        group="docker",
        pht="/usr/bin/pht",
    )
    for path in ("/srv/rows", "/srv/pht/private/keys", "/srv/pht/lists/withdrawn.csv"):
        assert path in text


def test_t19_a_data_set_that_holds_the_keys_of_a_bucket_is_refused() -> None:
    text = LEAST.replace("data: {}\n", BUCKET + "  other: {folder: private}\n")
    with pytest.raises(ConfigInvalid, match="the station's own files"):
        parse(text)


def test_the_capacity_is_that_of_the_machine_unless_the_file_says_otherwise() -> None:
    machine = Resources(runs=4, memory_bytes=1000, cpu_millis=4000, disk_bytes=500)
    assert parse(LEAST).capacity.on(machine) == Capacity.of(machine)
    written = LEAST + "capacity: {runs: 3, disk_bytes: 9999, per_owner: {runs: 1, memory_bytes: 10}}\n"
    total = Resources(runs=3, memory_bytes=1000, cpu_millis=4000, disk_bytes=9999)
    wanted = Capacity(total=total, per_owner=replace(total, runs=1, memory_bytes=10))
    assert parse(written).capacity.on(machine) == wanted
    with pytest.raises(ConfigInvalid):
        parse(LEAST + "capacity: {runs: 0}\n")
    with pytest.raises(ConfigInvalid):
        parse(LEAST + "capacity: {gpus: 1}\n")


def test_no_run_may_ask_for_more_than_its_owner_ever_gets() -> None:
    machine = Resources(runs=4, memory_bytes=1 << 30, cpu_millis=1500, disk_bytes=1 << 20)
    capacity = parse(LEAST + "capacity: {per_owner: {memory_bytes: 1000}}\n").capacity.on(machine)
    most = capacity.ceiling(CEILING)
    assert (most.memory_bytes, most.cpu_millis, most.output_bytes) == (1000, 1500, 1 << 19)  # granted twice of the disk
    assert (most.wall_seconds, most.processes) == (CEILING.wall_seconds, CEILING.processes)


def test_no_owner_gets_more_than_there_is() -> None:
    """A train that fits the share of its owner and not the station would wait for ever, and everybody behind it."""
    machine = Resources(runs=4, memory_bytes=1000, cpu_millis=4000, disk_bytes=500)
    capacity = parse(LEAST + "capacity: {per_owner: {runs: 9, memory_bytes: 2000}}\n").capacity.on(machine)
    assert capacity == Capacity.of(machine)


def test_retention_has_its_defaults_and_can_be_set() -> None:
    assert parse(LEAST).retention == Retention()
    assert parse(LEAST + "retention: {evidence_bytes: 0, printed_days: 7}\n").retention == Retention(
        evidence_bytes=0, printed_days=7
    )
