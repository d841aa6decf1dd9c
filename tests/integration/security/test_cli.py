"""`pht keys` and `pht directory` as people use them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from console.answer import Answer
from console.directory import directory
from console.keys import keys
from registry.places import Login, source_at
from security.digest import digest_of
from security.directory.client import load_trust
from security.errors import (
    FileExists,
    FileMissing,
    InvalidInput,
    KeyNotTrusted,
    KeyUnreadable,
    Malformed,
    NotPinned,
    PartyUnknown,
    SignatureInvalid,
)
from security.files import read_file, write_file
from security.ids import PartyId
from security.keys.errors import WrongPassphrase
from security.keys.keyset import Scheme, generate
from tests.support.desk import quick_keys
from tests.support.directories import PASSPHRASE, card_of, clock, house, key_folder
from tests.support.root import Root
from tests.support.terminal import at_a_terminal

__all__ = ["quick_keys"]

ROOT = Path(__file__).parents[3]
DIGEST = digest_of(b"a base image")


def run(group: click.Group, *words: object) -> Answer:
    answer = group.main(args=[str(word) for word in words], standalone_mode=False, obj=Root())
    assert isinstance(answer, Answer)
    assert answer.text
    assert json.loads(json.dumps(answer.data)) == answer.data
    return answer


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    write_file(path, PASSPHRASE + b"\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return key_folder(tmp_path / "keys", generate([Scheme.ED25519, Scheme.ML_DSA_65]), "hospital-a").folder


@pytest.fixture
def card(tmp_path: Path, folder: Path, secret: Path) -> Path:
    run(keys, "card", folder, "-o", tmp_path / "card.json", "--passphrase-file", secret)
    return tmp_path / "card.json"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return house(tmp_path / "consortium").workspace.path


def fingerprint(path: Path) -> str:
    return str(run(keys, "show", path).data["spelled"])


def test_a_partys_keys_are_made(tmp_path: Path, secret: Path) -> None:
    words = ["new", tmp_path / "keys", "--party", "alice", "--role", "owner", "--passphrase-file", secret]
    made = run(keys, *words, "--scheme", "ed25519", "--scheme", "ecdsa-sha2-nistp256")
    assert made.data["roles"] == ["owner"]
    assert made.data["title"] == "alice"
    assert run(keys, "show", tmp_path / "keys").data == made.data
    assert opens_slowly(tmp_path / "keys" / "keys.age")
    with pytest.raises(FileExists):
        run(keys, *words)


def test_a_partys_keys_are_checked_and_put_on_a_card(tmp_path: Path, folder: Path, secret: Path) -> None:
    shown = run(keys, "show", folder).data
    assert run(keys, "check", folder, "--passphrase-file", secret).data == shown
    run(keys, "card", folder, "-o", tmp_path / "card", "--passphrase-file", secret)
    assert run(keys, "show", tmp_path / "card").data == shown


def opens_slowly(path: Path) -> bool:
    """Whether a key file asks for the work that makes guessing its passphrase dear; files of tests ask for less."""
    return re.match(rb"age-encryption\.org/v1\n-> scrypt \S+ 18\n", path.read_bytes()) is not None


@pytest.mark.usefixtures("quick_keys")
def test_keys_move_out_and_in(tmp_path: Path, folder: Path, secret: Path) -> None:
    with pytest.raises(InvalidInput):
        run(keys, "export", folder, tmp_path / "plain", "--passphrase-file", secret)
    assert not (tmp_path / "plain").exists(), "nothing is written in the clear unasked"
    files = run(keys, "export", folder, tmp_path / "plain", "--yes", "--passphrase-file", secret).data["files"]
    assert isinstance(files, list)
    *signing, sealing = files
    words = [word for path in signing for word in ("--signing", path)]
    words += ["--sealing", sealing, "--party", "hospital-a", "--title", "Hospital A", "--role", "station"]
    run(keys, "import", tmp_path / "again", *words, "--passphrase-file", secret)
    assert fingerprint(tmp_path / "again") == fingerprint(folder)


def test_passphrases_are_asked_of_people_only(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        run(keys, "check", folder)
    assert caught.value.hint is not None
    assert "--passphrase-file" in caught.value.hint
    wrong = tmp_path / "wrong"
    write_file(wrong, b"another passphrase")
    with pytest.raises(WrongPassphrase):
        run(keys, "check", folder, "--passphrase-file", wrong)
    wrong.chmod(0o644)
    with pytest.raises(KeyUnreadable):
        run(keys, "check", folder, "--passphrase-file", wrong)
    short = tmp_path / "short"
    write_file(short, b"short")
    with pytest.raises(InvalidInput):
        run(keys, "new", tmp_path / "new", "--party", "x", "--role", "owner", "--passphrase-file", short)
    assert not (tmp_path / "new").exists()


def test_no_command_takes_a_passphrase_as_an_argument() -> None:
    for group in (keys, directory):
        for command in group.commands.values():
            given = [one for one in command.params if not getattr(one, "is_flag", False)]
            names = {name for option in given for name in option.opts if "passphrase" in name}
            assert names <= {"--passphrase-file", "--root-passphrase-file", "--online-passphrase-file"}
            assert command.help


def test_a_consortium_is_made(tmp_path: Path, secret: Path) -> None:
    ours = tmp_path / "ours"
    words = ["--root-keys", 2, "--threshold", 1, "--one-passphrase", "--passphrase-file", secret]
    made = run(directory, "init", ours, *words)
    assert made.data["threshold"] == 1
    assert made.data["fingerprint"] == digest_of((ours / "published" / "1.root.json").read_bytes())
    assert made.data == run(directory, "show", ours).data["root"]
    made_keys = list(ours.rglob("*.age"))
    assert len(made_keys) == 4
    assert all(map(opens_slowly, made_keys))


@pytest.mark.usefixtures("quick_keys")
def test_a_consortium_from_first_to_last(tmp_path: Path, secret: Path, card: Path) -> None:
    phrase, place = ["--passphrase-file", secret], f"folder:{tmp_path}/www"
    ours = house(tmp_path / "ours", keys=2, threshold=1).workspace.path
    made: Any = run(directory, "show", ours).data["root"]
    run(directory, "add", ours, card, "--fingerprint", fingerprint(card))
    run(directory, "approve-base", ours, "python", DIGEST, "--note", "built in CI")
    shown = run(directory, "show", ours).data
    assert shown["staged"] == {"policy.json": "added", "party.hospital-a.json": "added", "base.python.json": "added"}
    run(directory, "publish", ours, "--to", place, *phrase)

    pinned = run(directory, "pin", place, "--fingerprint", made["spelled"], "-o", tmp_path / "root.json")
    assert pinned.data["fingerprint"] == made["fingerprint"]
    seen = run(directory, "verify", place, "--root", tmp_path / "root.json").data
    assert (seen["parties"], seen["bases"]) == (shown["parties"], shown["bases"])

    root_key = min((ours / "root-keys").iterdir())
    state = run(
        directory, "rotate-keys", ours, "--root-key", root_key, "--replace", "online", "--one-passphrase", *phrase
    )
    assert state.data["version"] == 2
    renewed = run(directory, "publish", ours, "--to", place, "--refresh", "--timestamp-days", 3, *phrase).data
    assert renewed["versions"] == {"root": 2, "targets": 1, "snapshot": 2, "timestamp": 2}

    run(directory, "withdraw-base", ours, "python")
    run(directory, "revoke", ours, "hospital-a", "--yes")
    dates = run(directory, "publish", ours, "--to", place, "--refresh", *phrase)
    assert dates.data["staged"] == {"base.python.json": "changed", "party.hospital-a.json": "changed"}
    assert "NOT published" in dates.text
    run(directory, "publish", ours, "--to", place, *phrase)
    trust = load_trust(source_at(place, Login()), tmp_path / "cache", read_file(tmp_path / "root.json"), clock())
    assert trust.parties[PartyId("hospital-a")].revoked
    assert trust.bases[DIGEST].withdrawn
    assert run(directory, "show", ours).data["staged"] == {}


def test_a_party_is_added_only_under_the_fingerprint_it_read_out(workspace: Path, card: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        run(directory, "add", workspace, card)
    with pytest.raises(KeyNotTrusted):
        run(directory, "add", workspace, card, "--fingerprint", "0000 1111 2222 3333 4444 5555 6666 7777")
    spoiled = tmp_path / "spoiled.json"
    document = json.loads(card.read_bytes())
    document["signatures"][0]["sig"] = "AAAA" + document["signatures"][0]["sig"][4:]
    spoiled.write_text(json.dumps(document))
    with pytest.raises(SignatureInvalid):
        run(directory, "add", workspace, spoiled, "--fingerprint", fingerprint(card))
    assert [path.name for path in (workspace / "work").iterdir()] == ["policy.json"]


@pytest.mark.usefixtures("quick_keys")
def test_new_keys_replace_old_ones_after_the_same_question(
    workspace: Path, card: Path, tmp_path: Path, secret: Path
) -> None:
    run(directory, "add", workspace, card, "--fingerprint", fingerprint(card))
    before = fingerprint(card)
    made = generate([Scheme.P256])
    newer = key_folder(tmp_path / "newer", made, "hospital-a")
    run(keys, "card", newer.folder, "-o", tmp_path / "newer.json", "--passphrase-file", secret)
    with pytest.raises(KeyNotTrusted):
        run(directory, "rotate", workspace, tmp_path / "newer.json", "--fingerprint", before)
    run(directory, "rotate", workspace, tmp_path / "newer.json", "--fingerprint", fingerprint(newer.folder))
    revoked = run(directory, "revoke", workspace, "hospital-a", "--key-set", before, "--yes")
    assert isinstance(revoked.data["keySets"], list)
    assert [bool(one["revoked"]) for one in revoked.data["keySets"] if isinstance(one, dict)] == [True, False]
    assert revoked.data["revoked"] is False
    assert card_of(made, "hospital-a").key_set == newer.key_set


def test_what_cannot_be_undone_needs_a_yes(workspace: Path, card: Path) -> None:
    run(directory, "add", workspace, card, "--fingerprint", fingerprint(card))
    with pytest.raises(InvalidInput):
        run(directory, "revoke", workspace, "hospital-a")
    assert run(directory, "show", workspace).data["parties"][0]["revoked"] is False  # type: ignore[index, call-overload]


def test_a_root_in_hand_is_its_own_pin(workspace: Path, tmp_path: Path) -> None:
    given = workspace / "published" / "1.root.json"
    run(directory, "pin", given, "-o", tmp_path / "root.json")
    assert (tmp_path / "root.json").read_bytes() == given.read_bytes()
    with pytest.raises(FileExists):
        run(directory, "pin", given, "-o", tmp_path / "root.json")
    shutil.copy(workspace / "work" / "policy.json", tmp_path / "other.json")
    with pytest.raises(NotPinned):
        run(directory, "pin", tmp_path / "other.json", "-o", tmp_path / "another.json")
    with pytest.raises(InvalidInput):  # a root from afar needs somebody to compare it
        run(directory, "pin", f"folder:{workspace}/published", "-o", tmp_path / "another.json")
    assert not (tmp_path / "another.json").exists()


def test_bad_words_are_explained(workspace: Path, tmp_path: Path, secret: Path) -> None:
    with pytest.raises(InvalidInput):
        run(directory, "approve-base", workspace, "python", "latest")
    with pytest.raises(InvalidInput):
        run(directory, "revoke", workspace, "Hospital A", "--yes")
    with pytest.raises(FileMissing):
        run(directory, "show", tmp_path / "nowhere")
    with pytest.raises(FileMissing):
        run(keys, "show", tmp_path / "nowhere")
    words = ["--root-keys", 3, "--root-passphrase-file", secret, "--root-passphrase-file", secret]
    with pytest.raises(InvalidInput):
        run(directory, "init", tmp_path / "new", *words, "--passphrase-file", secret)
    with pytest.raises(click.UsageError):
        run(keys, "new", tmp_path / "new", "--role", "owner")
    assert not (tmp_path / "new").exists()


def test_a_person_compares_the_fingerprint(workspace: Path, card: Path) -> None:
    document = workspace / "work" / "party.hospital-a.json"
    status, screen = at_a_terminal("directory", "add", workspace, card, typed="n")
    assert status != 0
    assert fingerprint(card) in screen
    assert not document.exists()
    status, _ = at_a_terminal("directory", "add", workspace, card, typed="y")
    assert status == 0
    assert document.exists()


def test_a_person_is_asked_for_the_passphrase_and_it_is_not_shown(folder: Path, tmp_path: Path) -> None:
    status, screen = at_a_terminal("keys", "card", folder, "-o", tmp_path / "card", typed=PASSPHRASE.decode())
    assert status == 0
    assert PASSPHRASE.decode() not in screen
    assert fingerprint(tmp_path / "card") in screen
    status, screen = at_a_terminal("keys", "check", folder, typed="another passphrase")
    assert status == WrongPassphrase.exit
    assert "key.wrong-passphrase" in screen
    assert "another passphrase" not in screen


def test_a_no_changes_nothing_and_is_told_as_one(workspace: Path, card: Path, folder: Path, tmp_path: Path) -> None:
    status, screen = at_a_terminal("directory", "add", workspace, card, typed="n")
    assert status == 130
    assert "not confirmed; nothing was changed" in screen
    run(directory, "add", workspace, card, "--fingerprint", fingerprint(card))
    before = (workspace / "work" / "party.hospital-a.json").read_bytes()
    status, screen = at_a_terminal("directory", "revoke", workspace, "hospital-a", typed="n")
    assert status == 130
    assert "counts no more" in screen
    assert "not confirmed" in screen
    assert (workspace / "work" / "party.hospital-a.json").read_bytes() == before
    status, screen = at_a_terminal("keys", "export", folder, tmp_path / "plain", typed="n")
    assert status == 130
    assert not (tmp_path / "plain").exists()


def test_what_is_not_there_is_told_before_anybody_is_asked(workspace: Path, card: Path) -> None:
    status, screen = at_a_terminal("directory", "revoke", workspace, "nobody")
    assert status == PartyUnknown.exit
    assert "Revoke" not in screen
    run(directory, "add", workspace, card, "--fingerprint", fingerprint(card))
    with pytest.raises(InvalidInput) as caught:
        run(directory, "revoke", workspace, "hospital-a", "--key-set", "0" * 32)
    assert "no such key set" in caught.value.message


def test_what_is_no_card_is_named_and_folder_and_card_may_not_change_places(
    workspace: Path, card: Path, tmp_path: Path
) -> None:
    for text in ("{", "{}", '{"type": "x"}'):
        (tmp_path / "else.json").write_text(text)
        with pytest.raises(Malformed) as malformed:
            run(directory, "add", workspace, tmp_path / "else.json")
        assert malformed.value.fields["file"] == tmp_path / "else.json"
        assert "party card" in malformed.value.message
    for command in ("add", "rotate"):
        with pytest.raises(InvalidInput) as caught:
            run(directory, command, card, workspace)
        assert caught.value.hint == f"pht directory {command} {workspace} {card}"


def test_a_base_is_approved_as_base_push_prints_it(workspace: Path) -> None:
    run(directory, "approve-base", workspace, "python", f"base/python@{DIGEST}")
    assert run(directory, "show", workspace).data["bases"][0]["digest"] == DIGEST  # type: ignore[index, call-overload]
    with pytest.raises(InvalidInput):
        run(directory, "approve-base", workspace, "other", f"base/python@{DIGEST}")


def test_a_withdrawn_base_counts_again_only_after_a_yes(workspace: Path) -> None:
    run(directory, "approve-base", workspace, "python", DIGEST)
    run(directory, "approve-base", workspace, "python", DIGEST)
    run(directory, "withdraw-base", workspace, "python")
    with pytest.raises(InvalidInput) as caught:
        run(directory, "approve-base", workspace, "python", DIGEST)
    assert "--yes" in str(caught.value.hint)
    assert run(directory, "show", workspace).data["bases"][0]["withdrawn"] is True  # type: ignore[index, call-overload]
    assert run(directory, "approve-base", workspace, "python", DIGEST, "--yes").data["withdrawn"] is False


@pytest.mark.usefixtures("quick_keys")
def test_too_few_root_keys_names_those_that_may_be_given(tmp_path: Path, secret: Path) -> None:
    ours = house(tmp_path / "ours", keys=3, threshold=2).workspace.path
    first, *others = sorted((ours / "root-keys").iterdir())
    with pytest.raises(KeyNotTrusted) as caught:
        run(directory, "rotate-keys", ours, "--root-key", first, "--passphrase-file", secret)
    hint = str(caught.value.hint)
    assert "one more" in hint
    assert all(path.stem.removeprefix("root-") in hint for path in others)
    assert first.stem.removeprefix("root-") not in hint


@pytest.mark.usefixtures("quick_keys")
def test_new_keys_of_the_directory_tell_which_files_are_new_and_which_are_over(tmp_path: Path, secret: Path) -> None:
    ours = house(tmp_path / "ours", keys=2, threshold=1).workspace.path
    keep, drop = sorted((ours / "root-keys").iterdir())
    (online,) = ours.glob("online-*.age")
    words = ["--root-key", keep, "--replace", "online", "--add-root-keys", 1, "--one-passphrase"]
    words += ["--drop-root-key", drop.stem.removeprefix("root-"), "--passphrase-file", secret]
    done = run(directory, "rotate-keys", ours, *words)
    (new_root,) = set((ours / "root-keys").iterdir()) - {keep, drop}
    (new_online,) = set(ours.glob("online-*.age")) - {online}
    assert done.data["made"] == [str(new_root), str(new_online)]
    assert done.data["retired"] == [drop.name, online.name]
    assert f"{new_root}: move it to its holder" in done.text
    assert run(directory, "show", ours).data["root"]["made"] == []  # type: ignore[index, call-overload]


@pytest.mark.parametrize("data", [b"", b"\n", b"a long passphrase\nand another line\n"])
def test_a_passphrase_file_of_another_form_says_which_form_it_has(folder: Path, tmp_path: Path, data: bytes) -> None:
    write_file(tmp_path / "odd", data)
    with pytest.raises(KeyUnreadable) as caught:
        run(keys, "check", folder, "--passphrase-file", tmp_path / "odd")
    assert "one line" in str(caught.value.hint)
