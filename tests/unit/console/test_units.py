"""Do the printed systemd units say what the services need, and give them nothing else?"""

from __future__ import annotations

import json
import os
import pwd
from collections import defaultdict
from pathlib import Path

import pytest

from console.systemd import Service, owner_of
from console.unit import directory_units
from registry.places import Login
from security.errors import InvalidInput
from station.desk.unit import engine_group, station_unit, unit_name
from station.house.config import StationConfig, parse_config

CONFIG = """\
party: hospital-a
folder: state
workrooms: {workrooms}
keys: {{folder: keys, earlier: [keys-2025]}}
registry: {{location: '{registry}'}}
directory: {{root_file: root.json}}
data: {{patients: {{folder: /srv/patients}}}}
admission: {{approve: automatic, owners: [alice]}}
"""
Statements = dict[str, dict[str, list[str]]]


def read(unit: str) -> Statements:
    """Return the statements of a unit, by section and key, in their order."""
    found: Statements = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in unit.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert section
            assert equals
            found[section][key].append(value)
    return found


def config(
    place: str = "/srv/pht", *, workrooms: str = "rooms", registry: str = "https://registry.example"
) -> StationConfig:
    text = CONFIG.format(workrooms=workrooms, registry=registry)
    return parse_config(text.encode(), file=Path(place) / "station.yaml")


def printed(of: StationConfig, pht: str = "/usr/local/bin/pht") -> Statements:
    return read(station_unit(of, passphrase_file=Path("/etc/pht/passphrase"), user="pht", group="docker", pht=pht))


def test_a_station_may_write_to_its_state_and_its_workrooms_only() -> None:
    service = printed(config())["Service"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["ReadWritePaths"] == ["/srv/pht/state", "/srv/pht/rooms"]
    assert service["UMask"] == ["0077"]
    assert service["ProtectHome"] == ["yes"]
    assert service["PrivateTmp"] == ["yes"]


def test_a_station_has_a_user_no_rights_and_the_engines_socket() -> None:
    service = printed(config())["Service"]
    assert (service["User"], service["SupplementaryGroups"]) == (["pht"], ["docker"])
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == [""]
    for yes in ("NoNewPrivileges", "PrivateDevices", "RestrictSUIDSGID", "RestrictNamespaces", "LockPersonality"):
        assert service[yes] == ["yes"], yes
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]


def test_the_passphrase_comes_from_systemd_and_the_command_is_the_daemons() -> None:
    service = printed(config())["Service"]
    assert service["LoadCredential"] == ["passphrase:/etc/pht/passphrase"]
    assert service["ExecStart"] == ["/usr/local/bin/pht station run /srv/pht --passphrase-file %d/passphrase"]


def test_what_a_person_must_put_right_is_not_tried_again() -> None:
    service = printed(config())["Service"]
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["2 10 30 40"]


def test_the_state_the_keys_and_the_data_must_be_mounted() -> None:
    needed = printed(config())["Unit"]["RequiresMountsFor"][0].split()
    assert needed == ["/srv/pht", "/srv/pht/state", "/srv/pht/rooms", "/srv/patients"]


def test_workrooms_in_memory_outlive_a_restart_of_the_daemon() -> None:
    service = printed(config(workrooms="/run/pht/hospital-a"))["Service"]
    assert service["ReadWritePaths"] == ["/srv/pht/state"]
    assert service["RuntimeDirectory"] == ["pht/hospital-a"]
    assert service["RuntimeDirectoryMode"] == ["0700"]
    assert service["RuntimeDirectoryPreserve"] == ["yes"]


def test_a_folder_as_registry_is_written_for_others_to_read() -> None:
    service = printed(config(registry="layout:/srv/share"))["Service"]
    assert service["ReadWritePaths"] == ["/srv/pht/state", "/srv/pht/rooms", "/srv/share"]
    assert service["UMask"] == ["0022"]


def test_a_station_in_a_home_sees_it() -> None:
    service = printed(config("/home/pht/station"))["Service"]
    assert service["ProtectHome"] == ["read-only"]
    assert printed(config(), pht="/home/pht/.local/bin/pht")["Service"]["ProtectHome"] == ["read-only"]


@pytest.mark.parametrize(
    ("name", "word", "path"),
    [
        ("a b", '"/srv/a b"', '"/srv/a b/state"'),
        ("50%", "/srv/50%%", "/srv/50%%/state"),
        ("$HOME", "/srv/$$HOME", "/srv/$HOME/state"),
        ('say "x"', '"/srv/say \\"x\\""', '"/srv/say \\"x\\"/state"'),
        ("back\\slash", '"/srv/back\\\\slash"', '"/srv/back\\\\slash/state"'),
    ],
)
def test_a_path_means_itself(name: str, word: str, path: str) -> None:
    service = printed(config(f"/srv/{name}"))["Service"]
    assert service["ExecStart"] == [f"/usr/local/bin/pht station run {word} --passphrase-file %d/passphrase"]
    assert service["ReadWritePaths"][0] == path


def test_no_path_begins_another_statement() -> None:
    service = Service(
        user="pht", command=["/bin/true"], credentials=[], writable=[Path("/srv/a\nUser=root")], readable=[]
    )
    with pytest.raises(InvalidInput):
        service.settings()


def test_a_service_does_not_run_as_root(tmp_path: Path) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name
    assert owner_of(tmp_path, "pht") == "pht"
    if name != "root":
        assert owner_of(tmp_path, None) == name
    with pytest.raises(InvalidInput) as caught:
        owner_of(Path("/"), None)
    assert "--user" in str(caught.value.hint)


def test_the_group_is_that_of_the_socket(tmp_path: Path) -> None:
    assert engine_group(f"unix://{tmp_path}/absent") == "docker"
    socket = tmp_path / "engine.sock"
    socket.touch()
    if os.geteuid() == 0:
        os.chown(socket, 0, pwd.getpwnam("nobody").pw_gid)
        assert engine_group(f"unix://{socket}") == "nogroup"
        os.chown(socket, 0, 0)
        assert engine_group(f"unix://{socket}") == "docker"


def test_the_unit_is_named_after_the_station() -> None:
    assert unit_name(config()) == "pht-station-hospital-a.service"


def units(place: str, login: Login) -> tuple[Statements, Statements]:
    (_, service), (_, timer) = directory_units(
        Path("/srv/consortium"),
        place,
        login,
        passphrase_file=Path("/etc/pht/online"),
        user="pht",
        pht="/usr/local/bin/pht",
    )
    return read(service), read(timer)


def test_the_directory_is_renewed_every_day_and_after_a_day_that_was_missed() -> None:
    service, timer = units("https://registry.example", Login())
    assert service["Service"]["Type"] == ["oneshot"]
    publish = "/usr/local/bin/pht directory publish /srv/consortium --to https://registry.example --refresh"
    assert service["Service"]["ExecStart"] == [f"{publish} --online-passphrase-file %d/passphrase"]
    assert service["Service"]["ReadWritePaths"] == ["/srv/consortium"]
    assert timer["Timer"] == {"OnCalendar": ["daily"], "RandomizedDelaySec": ["1h"], "Persistent": ["yes"]}
    assert timer["Install"] == {"WantedBy": ["timers.target"]}


def test_the_account_of_the_registry_is_handed_over_too() -> None:
    login = Login(username="admin", password_file=Path("/etc/pht/registry"), ca_file=Path("/etc/pht/ca.pem"))
    service = units("https://registry.example", login)[0]["Service"]
    assert service["LoadCredential"] == ["passphrase:/etc/pht/online", "registry-password:/etc/pht/registry"]
    (command,) = service["ExecStart"]
    assert command.startswith(
        "/usr/local/bin/pht --registry-user admin --registry-password-file %d/registry-password"
        " --registry-ca-file /etc/pht/ca.pem directory publish "
    )


def test_a_directory_in_a_folder_is_written_for_others_to_read() -> None:
    service = units("folder:/srv/www/directory", Login())[0]["Service"]
    assert service["ReadWritePaths"] == ["/srv/consortium", "/srv/www/directory"]
    assert service["UMask"] == ["0022"]


def test_units_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    from console.systemd import told_units

    answer = told_units([("a.service", "[Service]\n")], tmp_path, "a.service")
    assert (tmp_path / "a.service").read_text() == "[Service]\n"
    assert (tmp_path / "a.service").stat().st_mode & 0o777 == 0o644
    assert "systemctl enable --now a.service" in answer.text
    assert json.loads(json.dumps(answer.data))["units"] == {"a.service": "[Service]\n"}
