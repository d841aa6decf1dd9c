"""What people type wrong, file by file and command by command: one line, a hint, a code, and nothing changed."""

from __future__ import annotations

import pytest

from security.keys.keyset import Scheme, SoftwareSigner
from security.keys.store import lock
from tests.support.desk import HOME, SETUP, STATION, WITH, Desk
from tests.support.directories import PASSPHRASE, QUICK

ONE = "--one-passphrase"
WRONG = ("--passphrase-file", "wrong")
AT = ("-s", "hospital-a")
A = "sha256:" + "1" * 64
IDENTITY = ("--party", "bob", "--role", "owner")

KEYS = [
    (("new", "alice/keys", *IDENTITY, *WITH), "file.exists"),
    (("new", "data", *IDENTITY, *WITH), "file.exists"),
    (("new", "k", "--party", "Bob Smith", "--role", "owner", *WITH), "input.invalid"),
    (("new", "k", "--party", "bob", "--role", "king", *WITH), "usage"),
    (("new", "k", "--party", "bob", *WITH), "usage"),
    (("new", "k", *IDENTITY, "--title", "two\nlines", *WITH), "input.invalid"),
    (("new", "k", *IDENTITY, "--passphrase-file", "none"), "file.missing"),
    (("new", "k", *IDENTITY, "--passphrase-file", "data"), "key.unreadable"),
    (("new", "k", *IDENTITY, "--passphrase-file", "1.root.json"), "key.unreadable"),
    (("new", "k", *IDENTITY, "--passphrase-file", "short"), "input.invalid"),
    (("new", "k", *IDENTITY, "--passphrase-file", "binary"), "input.invalid"),
    (("new", "k", *IDENTITY), "input.invalid"),
    (("new", "1.root.json/k", *IDENTITY, *WITH), "file.missing"),
    (("show", "nowhere"), "file.missing"),
    (("show", "data"), "file.missing"),
    (("show", "1.root.json"), "malformed.statement"),
    (("show", "binary"), "malformed.json"),
    (("card", "nowhere", "-o", "x.card.json", *WITH), "file.missing"),
    (("card", "alice/keys", *WITH), "usage"),
    (("card", "alice/keys", "-o", "x.card.json", *WRONG), "key.wrong-passphrase"),
    (("card", "alice/keys", "-o", "no/where/x.card.json", *WITH), "file.missing"),
    (("card", "alice/keys", "-o", "data", *WITH), "file.missing"),
    (("check", "nowhere", *WITH), "file.missing"),
    (("check", "alice/keys", *WRONG), "key.wrong-passphrase"),
    (("check", "alice/keys"), "input.invalid"),
    (("export", "alice/keys", "out", *WITH), "input.invalid"),
    (("export", "alice/keys", "data", "--yes", *WITH), "file.exists"),
    (("export", "alice/keys", "out", "--yes", *WRONG), "key.wrong-passphrase"),
    (("export", "nowhere", "out", "--yes", *WITH), "file.missing"),
    (("import", "k", *IDENTITY, "--signing", "none", "--sealing", "none", *WITH), "file.missing"),
    (("import", "k", *IDENTITY, "--signing", "secret", "--sealing", "secret", *WITH), "key.not-a-key-file"),
    (("import", "k", *IDENTITY, "--signing", "1.root.json", "--sealing", "secret", *WITH), "key.unreadable"),
]

DIRECTORY = [
    (("init", "consortium", *WITH), "file.exists"),
    (("init", "w", *WITH), "input.invalid"),
    (("init", "w", "--online-passphrase-file", "secret", *WITH), "input.invalid"),
    (("init", "w", "--root-keys", "1", "--one-passphrase", *WITH), "input.invalid"),
    (("init", "w", "--threshold", "0", *WITH), "usage"),
    (("init", "w", "--root-keys", "2", "--threshold", "3", "--passphrase-file", "none"), "input.invalid"),
    (("init", "w", "--root-passphrase-file", "secret", "--root-passphrase-file", "secret", *WITH), "input.invalid"),
    (("init", "w", "--online-passphrase-file", "none", *WITH), "file.missing"),
    (("init", "w"), "input.invalid"),
    (("show", "nowhere"), "file.missing"),
    (("show", "alice"), "file.missing"),
    (("add", "nowhere", "alice.card.json"), "file.missing"),
    (("add", "consortium", "nowhere"), "file.missing"),
    (("add", "consortium", "1.root.json"), "malformed.statement"),
    (("add", "consortium", "alice.card.json"), "input.invalid"),
    (("add", "consortium", "alice.card.json", "--fingerprint", "not one"), "input.invalid"),
    (("add", "consortium", "alice.card.json", "--fingerprint", "0" * 64), "key.not-trusted"),
    (("add", "alice.card.json", "consortium"), "input.invalid"),
    (("rotate", "consortium", "nowhere"), "file.missing"),
    (("rotate", "consortium", "alice.card.json"), "input.invalid"),
    (("rotate", "consortium", "alice.card.json", "--overlap", "-1"), "usage"),
    (("revoke", "consortium", "nobody", "--yes"), "party.unknown"),
    (("revoke", "consortium", "alice"), "input.invalid"),
    (("revoke", "consortium", "alice", "--key-set", "0" * 64, "--yes"), "input.invalid"),
    (("approve-base", "consortium", "python", "latest"), "input.invalid"),
    (("approve-base", "consortium", "Py thon", A), "input.invalid"),
    (("approve-base", "consortium", "other", f"base/python@{A}"), "input.invalid"),
    (("approve-base", "nowhere", "python", A), "file.missing"),
    (("withdraw-base", "consortium", "none"), "file.missing"),
    (("rotate-keys", "consortium", "--root-key", "none", *WITH), "file.missing"),
    (("rotate-keys", "consortium", "--root-key", "stranger.age", *WITH), "key.not-trusted"),
    (
        ("rotate-keys", "consortium", "--root-key", "stranger.age", "--replace", "online", *WITH),
        "input.invalid",
    ),
    (
        ("rotate-keys", "consortium", "--root-key", "stranger.age", "--replace", "online", ONE, *WITH),
        "key.not-trusted",
    ),
    (("rotate-keys", "consortium", "--root-key", "secret", *WITH), "key.not-a-key-file"),
    (("rotate-keys", "consortium", "--root-key", "alice/keys/keys.age", *WITH), "key.not-a-key-file"),
    (("rotate-keys", "consortium", "--root-key", "stranger.age", *WRONG), "key.wrong-passphrase"),
    (("publish", "consortium", *WITH), "usage"),
    (("publish", "nowhere", "--to", "folder:out", *WITH), "file.missing"),
    (("publish", "consortium", "--to", "ftp://x", *WITH), "input.invalid"),
    (("publish", "consortium", "--to", "web:https://x", *WITH), "input.invalid"),
    (("publish", "consortium", "--to", "http://registry.example", *WITH), "input.invalid"),
    (("publish", "consortium", "--to", "http://me:secret@127.0.0.1:1", *WITH), "input.invalid"),
    (("publish", "consortium", "--to", "folder:out", *WRONG), "key.wrong-passphrase"),
    (("verify", "layout:registry", "--root", "none"), "file.missing"),
    (("verify", "layout:registry", "--root", "alice.card.json"), "directory.not-pinned"),
    (("verify", "layout:nowhere", "--root", "1.root.json"), "directory.unavailable"),
    (("verify", "folder:nowhere", "--root", "1.root.json"), "directory.unavailable"),
    (("verify", "folder:data", "--root", "1.root.json"), "directory.not-published"),
    (("verify", "layout:data", "--root", "1.root.json"), "directory.not-published"),
    (("pin", "layout:registry", "-o", "1.root.json", "--fingerprint", "0" * 64), "directory.not-pinned"),
    (("pin", "1.root.json", "-o", "1.root.json"), "file.exists"),
    (("pin", "alice.card.json", "-o", "r.json"), "directory.not-pinned"),
    (("pin", "layout:registry", "-o", "r.json"), "input.invalid"),
    (("pin", "layout:registry", "-o", "r.json", "--fingerprint", "not one"), "input.invalid"),
    (("pin", "nowhere"), "input.invalid"),
]

REGISTRY = [
    (("up", "r", "--port", "70000"), "usage"),
    (("up", "r", "--host", "0.0.0.0"), "input.invalid"),  # noqa: S104 - refused, as it must be
    (("up", "r", "--account", "grace"), "input.invalid"),
    (("up", "r", "--account", "grace=none"), "file.missing"),
    (("up", "r", "--certificate", "none"), "input.invalid"),
    (("up", "1.root.json"), "file.missing"),
    (("up", "layout:1.root.json"), "file.missing"),
    (("ls", "nonsense", "alice"), "input.invalid"),
    (("ls", "127.0.0.1:1", "alice"), "input.invalid"),
    (("ls", "memory:", "alice"), "input.invalid"),
    (("ls", "layout:registry"), "usage"),
    (("ls", "layout:registry", "Not A Party"), "input.invalid"),
    (("ls", "layout:nowhere", "alice"), "registry.unavailable"),
    (("ls", "layout:1.root.json", "alice"), "file.missing"),
    (("base", "ls", "layout:registry", "Not A Name"), "input.invalid"),
    (("base", "push", "layout:registry", "python"), "input.invalid"),
    (("base", "push", "layout:registry", "python", "none.tar"), "file.missing"),
    (("base", "push", "layout:registry", "python", "1.root.json"), "malformed.archive"),
    (("base", "push", "layout:registry", "python", "data"), "input.invalid"),
]

TRAIN = [
    (("setup", "alice", *SETUP[2:], "--party", "bob"), "home.invalid"),
    (("setup", "new", "--party", "hospital-a"), "usage"),
    (("setup", "new", *SETUP[:4]), "input.invalid"),
    (("setup", "new", *SETUP[:4], "--root", "none"), "file.missing"),
    (("setup", "new", *SETUP[:4], "--root", "alice.card.json"), "directory.not-pinned"),
    (("setup", "new", *SETUP[:4], "--root-fingerprint", "x"), "input.invalid"),
    (("setup", "new", "--party", "alice", "--registry", "nonsense", "--root", "1.root.json"), "input.invalid"),
    (
        ("setup", "new", "--party", "alice", "--registry", "layout:nowhere", "--root-fingerprint", "0" * 32),
        "directory.unavailable",
    ),
    (("setup", "1.root.json", *SETUP), "file.missing"),
    (("init", "my-train"), "folder.not-empty"),
    (("init", "t", "--template", "cobol"), "usage"),
    (("init", "t", "--route", "Not,A,Party"), "input.invalid"),
    (("init", "t", "--name", "Not A Name"), "input.invalid"),
    (("check", "nowhere", *HOME), "file.missing"),
    (("check", "data", *HOME), "file.missing"),
    (("check", "my-train/train.yaml", *HOME), "file.missing"),
    (("check", "my-train", "--home", "broken"), "home.invalid"),
    (("check", "my-train", "--home", "nowhere"), "home.invalid"),
    (("submit", "nowhere", *HOME, *WITH), "file.missing"),
    (("submit", "my-train", "--home", "nowhere", *WITH), "home.invalid"),
    (("submit", "my-train", *HOME, *WITH), "train.already-sent"),
    (("submit", "my-train", "--again", *HOME, *WRONG), "key.wrong-passphrase"),
    (("submit", "my-train", "--again", *HOME), "input.invalid"),
    (("follow", "ffffffff", *HOME), "train.not-here"),
    (("follow", "not-hex", *HOME), "input.invalid"),
    (("follow", "--home", "nowhere"), "home.invalid"),
    (("follow", "--every", "0", *HOME), "usage"),
    (("open", "ffffffff", "out", *HOME, *WITH), "train.not-here"),
    (("open", "latest", "out", *HOME, *WITH), "train.not-home"),
    (("open", "f" * 64, "out", *HOME, *WITH), "train.not-here"),
    (("open", "F" * 64, "out", *HOME, *WITH), "input.invalid"),
    (("verify", "latest", *HOME), "train.not-home"),
    (("verify", "latest", "--home", "nowhere"), "home.invalid"),
    (("inspect", "1.root.json", *HOME), "malformed.statement"),
    (("inspect", "alice.card.json", *HOME), "malformed.statement"),
    (("inspect", "nowhere", *HOME), "input.invalid"),
    (("inspect", "latest", "--home", "nowhere"), "home.invalid"),
    (("ls", "--home", "nowhere"), "home.invalid"),
    (("stations", "--home", "nowhere"), "home.invalid"),
    (("rehearse", "nowhere"), "file.missing"),
    (("setup", "h", *SETUP, "--directory", f"folder:/{'x' * 5000}"), "input.invalid"),
    (("setup", "h", *SETUP, "--directory", "folder:x\udcff"), "input.invalid"),
    (("rehearse", "my-train", "--into", "data"), "file.exists"),
    (("rehearse", "nowhere", "--into", "secret/new"), "file.missing"),
    (("rehearse", "my-train", "--data", "nonsense"), "input.invalid"),
    (("rehearse", "my-train", "--data", "hospital-a/patients=none"), "input.invalid"),
    (("rehearse", "my-train", "--home", "nowhere"), "home.invalid"),
    (("rehearse", "my-train", "--engine", "unix:///nowhere"), "input.invalid"),
    (("rehearse", "my-train", "--engine", "unix:///nowhere", *HOME), "engine.unavailable"),
]

STATION_COMMANDS = [
    (("init", "hospital-a", *STATION), "file.exists"),
    (("init", "s", *STATION, "--root-fingerprint", "0" * 64), "input.invalid"),
    (("init", "s", *STATION, "--data", "patients=none"), "usage"),
    (("init", "s", *STATION, "--data", "others=none"), "input.invalid"),
    (("init", "s", *STATION, "--data", "others"), "usage"),
    (("init", "s", *STATION, "--party", "Not A Party"), "input.invalid"),
    (("init", "s", *STATION, "--registry", "nonsense"), "config.invalid"),
    (("init", "s", *STATION, "--admit-owner", "Not A Party"), "input.invalid"),
    (("init", "1.root.json/s", *STATION), "file.missing"),
    *(((command, "nowhere", *WITH), "file.missing") for command in ("check", "run", "once")),
    *(((command, "hospital-a", *WRONG), "key.wrong-passphrase") for command in ("run", "once")),
    (("check", "hospital-a", *WRONG), "station.not-ready"),
    (("ls", "nowhere"), "file.missing"),
    (("show", "ffff", *AT), "visit.unknown"),
    (("show", "ffff", "-s", "nowhere"), "file.missing"),
    (("show", "", *AT), "input.invalid"),
    (("show", "TRAIN", *AT, "--code", *WRONG), "key.wrong-passphrase"),
    (("show", "TRAIN", *AT, "--output", *WRONG), "key.wrong-passphrase"),
    (("approve", "", *AT), "input.invalid"),
    (("approve", "f", *AT), "input.invalid"),
    (("approve", "ffff", *AT), "visit.unknown"),
    (("refuse", "ffff", *AT, "--reason", "x"), "visit.unknown"),
    (("refuse", "ffff", *AT), "usage"),
    (("audit", "export", "data", *AT), "file.exists"),
    (("audit", "export", "x", "-s", "nowhere"), "file.missing"),
    (("audit", "verify", "nowhere", *AT), "file.missing"),
    (("audit", "verify", "data", *AT), "file.missing"),
]

CASES = [
    (group, words, code)
    for group, cases in (
        ("keys", KEYS),
        ("directory", DIRECTORY),
        ("registry", REGISTRY),
        ("train", TRAIN),
        ("station", STATION_COMMANDS),
    )
    for words, code in cases
]


@pytest.fixture(scope="module")
def kept(furnished: Desk) -> Desk:
    """One desk for all: a command that fails changes nothing."""
    stranger = lock(SoftwareSigner.generate(Scheme.ED25519).to_pkcs8(), PASSPHRASE, log_n=QUICK)
    for name, data in (
        ("short", b"short\n"),
        ("binary", bytes(range(128, 148)) + b"\n"),
        ("stranger.age", stranger),
    ):
        path = furnished.path / name
        path.touch(mode=0o600)
        path.write_bytes(data)
    (furnished.path / "broken").mkdir(exist_ok=True)
    (furnished.path / "broken" / "pht.json").write_text("{")
    return furnished


@pytest.mark.parametrize(
    ("group", "words", "code"), CASES, ids=lambda one: " ".join(one)[:60] if isinstance(one, tuple) else None
)
def test_what_makes_no_sense_is_told(kept: Desk, group: str, words: tuple[str, ...], code: str) -> None:
    (train,) = (path.parent.name for path in (kept.path / "alice" / "trains").glob("*/record.json"))
    assert kept.fails(group, *(train[:8] if word == "TRAIN" else word for word in words)) == code
