"""``pht registry``: does a registry come up again as it was, and do its commands say where it is?"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import RegistryDenied
from registry.http.auth import Credentials
from registry.http.terms import Trust
from registry.names import Repository, location
from registry.open import Access, open_registry
from registry.server.process import down
from tests.support.certificates import Authority
from tests.support.desk import Desk, private

pytestmark = pytest.mark.registry

REPO = Repository("mailbox/hospital-a")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Desk]:
    yield Desk(path=tmp_path, whole=tmp_path)
    for name in ("r", "other"):
        down(tmp_path / name, sleep=time.sleep)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def options(bare: Desk, authority: Authority, name: str = "127.0.0.1") -> list[str]:
    certificate, key = authority.issue(name)
    private(bare.path / "password", b"secret of a\n")
    files = [str(path.relative_to(bare.path)) for path in (certificate, key)]
    return ["--certificate", files[0], "--key", files[1], "--account", "hospital-a=password"]


def test_up_again_without_options_is_as_before(bare: Desk, authority: Authority) -> None:
    first = bare.answer("registry", "up", "r", *options(bare, authority))
    assert bare.answer("registry", "up", "r")["started"] is False
    assert first["url"].startswith("https://127.0.0.1:")
    bare.answer("registry", "down", "r")
    assert "pht registry up r" in bare.pht("registry", "status", "r").out
    again = bare.answer("registry", "up", "r")
    assert (again["url"], again["started"]) == (first["url"], True)
    trust = Trust(ca_file=authority.file)
    with pytest.raises(RegistryDenied):
        open_registry(location(again["url"]), Access(trust=trust), sleep=time.sleep).list_tags(REPO)
    account = Credentials(username="hospital-a", password="secret of a")  # noqa: S106 - for a registry that lives for one test
    access = Access(credentials=account, trust=trust)
    assert open_registry(location(again["url"]), access, sleep=time.sleep).list_tags(REPO) == ()
    assert bare.answer("registry", "up", "r")["started"] is False
    kept = bare.path / "r" / "settings.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert "secret of a" not in kept.read_text()


def test_a_folder_of_something_else_stays_as_it_is(bare: Desk) -> None:
    """Patients' data, named by mistake: a private file among them, which runs cannot read, makes every train wait."""
    (bare.path / "data").mkdir()
    private(bare.path / "data" / "patients.csv", b"value\n1\n")
    assert "not running" in bare.pht("registry", "status", "data").out
    assert "not running" in bare.pht("registry", "down", "data").out
    assert bare.pht("--json", "registry", "sweep", "data").code == "file.missing"
    assert [one.name for one in (bare.path / "data").iterdir()] == ["patients.csv"]


def test_options_that_are_not_said_stay_and_anew_forgets_them(bare: Desk, authority: Authority) -> None:
    bare.answer("registry", "up", "r", *options(bare, authority))
    bare.answer("registry", "down", "r")
    private(bare.path / "second", b"secret of b\n")
    assert bare.answer("registry", "up", "r", "--account", "hospital-b=second")["url"].startswith("https://")
    typed = bare.pht("--json", "registry", "up", "r", "--account", "hospital-c=second")
    assert typed.code == "registry.in-the-way"
    assert typed.document["error"]["hint"].endswith("pht registry down r")
    kept = json.loads((bare.path / "r" / "settings.json").read_text())
    assert [one["name"] for one in kept["accounts"]] == ["hospital-b"], "what was refused is not remembered"
    bare.answer("registry", "down", "r")
    plain = bare.answer("registry", "up", "r", "--anew")["url"]
    assert plain.startswith("http://127.0.0.1:")
    assert open_registry(location(plain), sleep=time.sleep).list_tags(REPO) == ()


def test_an_empty_option_is_none_and_does_not_spoil_what_is_kept(bare: Desk) -> None:
    first = bare.answer("registry", "up", "r", "--host", "", "--engine", "")
    bare.answer("registry", "down", "r")
    assert bare.answer("registry", "sweep", "r")["freed"] == 0
    assert bare.answer("registry", "up", "r")["url"] == first["url"]


def test_a_password_file_that_went_away_starts_no_open_registry(bare: Desk, authority: Authority) -> None:
    bare.answer("registry", "up", "r", *options(bare, authority))
    bare.answer("registry", "down", "r")
    (bare.path / "password").unlink()
    assert bare.fails("registry", "up", "r") == "file.missing"
    assert bare.answer("registry", "status", "r")["running"] is False


def test_settings_that_are_damaged_start_nothing(bare: Desk, authority: Authority) -> None:
    bare.answer("registry", "up", "r", *options(bare, authority))
    bare.answer("registry", "down", "r")
    (bare.path / "r" / "settings.json").write_text("{}")
    assert bare.fails("registry", "up", "r") == "input.invalid"
    assert bare.answer("registry", "status", "r")["running"] is False


def test_listening_everywhere_is_told_with_a_name_that_others_can_use(bare: Desk, authority: Authority) -> None:
    name = socket.getfqdn()
    words = options(bare, authority, name)
    typed = bare.pht("registry", "up", "r", "--host", "0.0.0.0", *words)  # noqa: S104 - with accounts and a certificate
    assert typed.exit == 0, str(typed)
    assert typed.out.splitlines()[0].startswith(f"https://{name}:")
    assert "certificate must contain" in typed.out
    assert bare.answer("registry", "status", "r")["url"] == typed.out.splitlines()[0]


def test_a_folder_needs_no_process(bare: Desk) -> None:
    place = f"layout:{bare.path}/other"
    assert "no such folder" in bare.pht("registry", "status", place).out
    bare.answer("registry", "up", place)
    for command in ("status", "down"):
        told = bare.pht("registry", command, place)
        assert told.exit == 0, str(told)
        assert "no process is needed" in told.out
        assert bare.answer("registry", command, place)["runs"] == "folder"
