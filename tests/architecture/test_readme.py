"""What the documents and the help texts tell people to type exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("pht_under_test", ROOT / "pht.py")
assert spec is not None
assert spec.loader is not None
pht = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = pht
spec.loader.exec_module(pht)


def commands(command: click.Command = pht.root, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(("pht", *path)), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


COMMANDS = dict(commands())
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))


def shown() -> Iterator[tuple[str, str]]:
    """Yield every command line that a document, a help text or a message of ours shows."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            lines = (line.strip().removeprefix("sudo ") for line in block.splitlines())
            yield from ((document.name, line) for line in lines if line.startswith("pht "))
        yield from ((document.name, " ".join(line.split())) for line in re.findall(r"`(?:sudo )?(pht [^`]+)`", text))
    for name, command in COMMANDS.items():
        for line in (command.help or "").splitlines():
            if line.startswith("pht "):
                yield name, re.split(r"\s{3,}", line)[0]


LINES = sorted(set(shown()))


@pytest.mark.parametrize(("where", "line"), LINES)
def test_a_command_line_that_is_shown_exists(where: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    path, command = ["pht"], pht.root
    for word in words[1:]:
        if not isinstance(command, click.Group) or word.startswith("-") or word == "…":
            break
        inner = command.get_command(click.Context(command), word)
        assert inner is not None, f"{where}: {line}: there is no '{' '.join(path)} {word}'"
        command, path = inner, [*path, word]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {option for parameter in pht.root.params for option in parameter.opts} | {"-h", "--help"}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= known, f"{where}: {line}: unknown option"


def test_the_handbook_is_about_what_operators_type() -> None:
    told = {line for where, line in LINES if where == "handbook.md"}
    for command in (
        "station init",
        "station check",
        "station unit",
        "station approve",
        "station refuse",
        "station show",
    ):
        assert any(line.startswith(f"pht {command}") for line in told), command
    for command in ("keys new", "directory rotate", "directory revoke", "directory unit", "registry sweep"):
        assert any(line.startswith(f"pht {command}") for line in told), command


def anchors(document: Path) -> set[str]:
    """Return where a link into a document can lead: its headings, as they are made into anchors."""
    titles = re.findall(r"^#+ +(.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target) is None:
            path, _, anchor = target.partition("#")
            meant = document if not path else (document.parent / path).resolve()
            assert meant.exists(), f"{target} leads nowhere"
            assert not anchor or anchor in anchors(meant), f"{target} leads nowhere"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_is_named_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    places = re.findall(r"`((?:[a-z_]+/)+[A-Za-z_-]+\.(?:py|md|json|sh|sql))`", text)
    assert [
        place for place in places if (ROOT / place.partition("/")[0]).is_dir() and not (ROOT / place).exists()
    ] == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, f"{name} has no help"
    text = command.get_help(click.Context(command, info_name=name))
    assert "\\b" not in text
    assert "\b" not in text
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{name}: {parameter.opts} has no help"


@pytest.mark.parametrize(
    ("words", "told", "heavy"),
    [
        (("--version",), "version", "cryptography tuf requests urllib3 docker yaml rich jsonschema sqlite3"),
        (("keys", "--help"), "show", "requests urllib3 docker yaml jsonschema sqlite3"),
        (("station", "ls", "--help"), "--waiting", "requests urllib3 docker duckdb numpy jsonschema station.steps"),
        (("station", "approve", "--help"), "--note", "requests urllib3 docker duckdb numpy jsonschema station.steps"),
        (("station", "run", "--help"), "SIGTERM", "requests urllib3 docker duckdb numpy jsonschema"),
        (("train", "follow", "--help"), "--watch", "requests urllib3 docker yaml jsonschema pathspec"),
        (("train", "check", "--help"), "--offline", "requests urllib3 docker jsonschema"),
    ],
)
def test_a_command_is_there_without_importing_what_it_does_not_need(
    words: tuple[str, ...], told: str, heavy: str
) -> None:
    script = (
        f"import sys; sys.argv = {['pht', *words]}\n"
        "import atexit; atexit.register(lambda: print(sorted(sys.modules)))\n"
        "import pht; pht.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told in done.stdout
    assert [one for one in heavy.split() if f"'{one}'" in done.stdout] == []


def test_shells_can_complete() -> None:
    done = subprocess.run(
        [sys.executable, "pht.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"_PHT_COMPLETE": "bash_complete", "COMP_WORDS": "pht train su", "COMP_CWORD": "2"},
    )
    assert "plain,submit" in done.stdout
