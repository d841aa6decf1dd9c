"""The passphrase that lies beside the timer opens the online key and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.directory import directory
from security.directory.root import open_online_key, open_root_key, open_targets_key, root_state
from security.directory.workspace import Workspace
from security.errors import InvalidInput
from security.files import write_file
from security.keys.errors import WrongPassphrase
from tests.integration.security.test_cli import run
from tests.support.desk import quick_keys
from tests.support.directories import house

__all__ = ["quick_keys"]

pytestmark = pytest.mark.usefixtures("quick_keys")

ROOT, ONLINE = b"correct horse battery", b"staple of the timer"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, phrase in (("root", ROOT), ("online", ONLINE)):
        write_file(tmp_path / name, phrase)
    return tmp_path / "root", tmp_path / "online"


def test_init_makes_an_online_key_with_a_passphrase_of_its_own(files: tuple[Path, Path], tmp_path: Path) -> None:
    root, online = files
    words = ("--root-keys", 1, "--threshold", 1, "--passphrase-file", root)
    run(directory, "init", tmp_path / "ours", *words, "--online-passphrase-file", online)
    ours = Workspace(tmp_path / "ours")
    open_online_key(ours, ONLINE)
    open_targets_key(ours, ROOT)
    (path,) = ours.root_keys.iterdir()
    with pytest.raises(WrongPassphrase):
        open_targets_key(ours, ONLINE)
    with pytest.raises(WrongPassphrase):
        open_root_key(path, ONLINE)


@pytest.mark.parametrize("given", [(), ("--online-passphrase-file", "root")])
def test_init_refuses_one_passphrase_for_all_unless_that_is_meant(
    files: tuple[Path, Path], tmp_path: Path, given: tuple[str, ...]
) -> None:
    root, _ = files
    paths = [tmp_path / word if word == "root" else word for word in given]
    words = ("--root-keys", 1, "--threshold", 1, "--passphrase-file", root, *paths)
    with pytest.raises(InvalidInput) as caught:
        run(directory, "init", tmp_path / "ours", *words)
    assert "--one-passphrase" in str(caught.value.hint)
    assert not (tmp_path / "ours").exists()


def test_a_new_online_key_does_not_get_the_passphrase_of_the_root_keys(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    root, online = files
    ours = house(tmp_path / "ours", keys=1, threshold=1).workspace
    (key,) = ours.root_keys.iterdir()
    words = ("--root-key", key, "--replace", "online", "--passphrase-file", root)
    for given in ((), ("--online-passphrase-file", root)):
        with pytest.raises(InvalidInput):
            run(directory, "rotate-keys", ours.path, *words, *given)
    assert root_state(ours).version == 1
    run(directory, "rotate-keys", ours.path, *words, "--online-passphrase-file", online)
    open_online_key(ours, ONLINE)
    with pytest.raises(WrongPassphrase):
        open_online_key(ours, ROOT)
