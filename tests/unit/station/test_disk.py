"""What the kernel's tables say of where plaintext lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.house.disk import Rest, at_rest

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / {root}/run rw,nosuid shared:2 - tmpfs tmpfs rw,size=10%
24 22 254:0 / {root}/secret rw - ext4 /dev/mapper/secret rw
25 22 254:2 / {root}/volume rw - xfs /dev/mapper/volume rw
26 22 254:5 / {root}/mixed rw - xfs /dev/mapper/mixed rw
27 22 0:40 / {root}/of\\040many rw - btrfs {root}/nowhere rw
28 23 254:0 / {root}/run/over rw - ext4 /dev/mapper/secret rw
29 22 8:1 / {root}/twice rw - ext4 /dev/sda1 rw
30 29 0:41 / {root}/twice rw - tmpfs tmpfs rw
31 22 254:9 / {root}/circle rw - xfs /dev/mapper/circle rw
a line of another kernel
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """LUKS below secret; a volume on two LUKS disks; a volume on one LUKS disk and a plain one."""
    (tmp_path / "mountinfo").write_text(TABLE.replace("{root}", str(tmp_path)))
    devices = tmp_path / "devices"
    mapped = {"254:0": "CRYPT-LUKS2-1-secret", "254:1": "CRYPT-LUKS2-2-b", "254:2": "LVM-3", "254:5": "LVM-4"}
    for number, uuid in mapped.items():
        (devices / number / "dm").mkdir(parents=True)
        (devices / number / "dm" / "uuid").write_text(uuid + "\n")
    (devices / "8:1").mkdir()
    for above, below in (("254:2", "254:0"), ("254:2", "254:1"), ("254:5", "254:0"), ("254:5", "8:1")):
        (devices / above / "slaves").mkdir(exist_ok=True)
        (devices / above / "slaves" / below.replace(":", "-")).symlink_to(devices / below)
    (devices / "254:9" / "slaves").mkdir(parents=True)
    (devices / "254:9" / "slaves" / "itself").symlink_to(devices / "254:9")
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "rest"),
    [
        ("elsewhere", Rest.PLAIN),
        ("run", Rest.MEMORY),
        ("run/pht/workrooms", Rest.MEMORY),
        ("runner", Rest.PLAIN),
        ("run/over", Rest.ENCRYPTED),
        ("secret/workrooms", Rest.ENCRYPTED),
        ("volume", Rest.ENCRYPTED),
        ("mixed", Rest.PLAIN),
        ("of many", Rest.PLAIN),
        ("twice", Rest.MEMORY),
        ("circle", Rest.PLAIN),
    ],
)
def test_where_a_folder_is_kept(machine: Path, folder: str, rest: Rest) -> None:
    assert at_rest(machine / folder, mounts=machine / "mountinfo", devices=machine / "devices") is rest


def test_a_link_is_followed_to_where_the_files_are(machine: Path) -> None:
    (machine / "run").mkdir()
    (machine / "rooms").symlink_to(machine / "run")
    assert at_rest(machine / "rooms", mounts=machine / "mountinfo", devices=machine / "devices") is Rest.MEMORY


def test_without_the_kernels_table_nothing_is_promised(tmp_path: Path) -> None:
    assert at_rest(tmp_path, mounts=tmp_path / "nowhere", devices=tmp_path) is Rest.PLAIN


def test_this_machine_has_an_answer() -> None:
    assert at_rest(Path("/dev/shm")) is Rest.MEMORY  # noqa: S108 - nothing is written
