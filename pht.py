"""The one entry point: which command was asked for, and how are its answer and its errors shown?

The only module that sees all packages; nobody imports it. Commands are loaded when they are called, so that a scientist's
machine never imports a sandbox and ``pht --version`` imports next to nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import click

from console.answer import Answer
from console.lazy import LazyGroup
from security.encoding import Json
from security.errors import FileMissing, PhtError
from security.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.places import Login

_PATH: Final = click.Path(path_type=Path)
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})  # what click takes for yes in a variable
_YOUNG: Final = 10_000  # objects made since the last look for garbage, before the next
_TALKATIVE: Final = ("docker", "requests", "urllib3")

_MEMBERS: Final = {
    "keys": ("console.keys:keys", "Make, show and check a party's keys."),
    "directory": (
        "console.directory:directory",
        "Run the consortium's directory of parties, bases and revocations.",
    ),
    "registry": ("console.registry:registry", "Start a registry and publish base images in it."),
    "data": ("train_builder.cli.data:data", "See which data are where, and draw synthetic ones (for scientists)."),
    "train": ("train_builder.cli.commands:train", "Build, submit, follow and open trains (for scientists)."),
    "station": ("station.cli.commands:station", "Run a hospital's station (for operators)."),
    "verify": ("train_builder.cli.verify:verify", "Verify an exported journey, from a pinned root alone."),
}

_FROM_ABOVE: Final = {"train": {"rehearse": "rehearsal.cli:rehearse_command"}}
"""Commands that a group shows but cannot import: what they need lies above it."""

_log = logging.getLogger("pht")


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: a progress display replaces it, and prints above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stderr)
        super().emit(record)


class RootGroup(LazyGroup):
    """All groups, and the commands that are in none."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a member."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, LazyGroup) and cmd_name in _FROM_ABOVE:
            return command.and_also(_FROM_ABOVE[cmd_name])
        return command


@dataclass(frozen=True, slots=True)
class Context:
    """What every command may ask of the root. Implements `console.root.Root`."""

    as_json: bool
    login_options: dict[str, Any]

    def login(self) -> Login:
        """Return the account and the trust that the options of ``pht`` name."""
        from registry.places import Login  # noqa: PLC0415 - only for the commands that need it

        return Login(**self.login_options)


def _tell_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        _say(_document({"version": VERSION}) if ctx.params.get("as_json") else f"pht, version {VERSION}")
        ctx.exit()


@click.group(
    cls=RootGroup,
    members={name: place for name, (place, _) in _MEMBERS.items()},
    texts={name: text for name, (_, text) in _MEMBERS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    envvar="PHT_JSON",
    help="Print the answer, or the error, as one JSON document. Or set PHT_JSON=1.",
)
@click.option("-v", "--verbose", count=True, help="Log more on standard error; twice for everything.")
@click.option("--registry-user", "username", metavar="NAME", help="Account at the registry.")
@click.option("--registry-password-file", "password_file", type=_PATH, help="Private file with its password.")
@click.option("--registry-ca-file", "ca_file", type=_PATH, help="Certificate authority of the registry (PEM).")
@click.option("--registry-token-host", "token_hosts", multiple=True, help="Origin of its token service, if elsewhere.")
@click.option("--registry-insecure", "insecure", is_flag=True, help="Allow plain http to another machine.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.pass_context
def root(ctx: click.Context, /, as_json: bool, verbose: int, **login_options: Any) -> None:  # noqa: ANN401 - a Login's
    """Personal Health Train: the analysis travels, the data stay.

    A scientist packs an analysis into a train; it visits hospital stations one after the other; each verifies it, runs
    it beside its own data, checks what came out, and seals the results for the next. Only the scientist opens them.

    \b
    First steps
      scientist           pht train setup, pht keys new, pht keys card (for the consortium),
                          then pht train init, check, submit, follow, open
      station operator    pht station init --help
      consortium          pht directory init --help
      registry operator   pht registry up --help

    Exit status: 0 done, 10 refused, 20 try again later, 30 the analysis failed, 40 something here needs fixing,
    2 invalid usage, 130 interrupted, 1 a bug in this program.
    """
    logging.basicConfig(
        level=(logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)],
        format="%(levelname)s %(name)s: %(message)s",
        handlers=[_StandardError()],
    )
    for name in _TALKATIVE:  # they quote whole addresses, with upload states and what else is signed in a query
        logging.getLogger(name).setLevel(logging.ERROR)
    if sys.stderr.isatty() and not as_json:  # a person wants to know what is being waited for
        logging.getLogger("registry.retry").setLevel(logging.INFO)
    try:
        Path.cwd()
    except FileNotFoundError as error:
        msg = "the folder you are in has been removed"
        raise FileMissing(msg, hint="change to another one: cd") from error
    ctx.obj = Context(as_json=as_json, login_options=login_options)


@root.result_callback()
def _render(answer: Answer | None, **_options: object) -> Answer | None:
    if answer is None:
        return None
    as_json = click.get_current_context().find_object(Context).as_json  # type: ignore[union-attr] # root always sets it
    if answer.text and not as_json:
        _say(answer.text)
    if answer.error is not None:
        _leave(answer.error, as_json=as_json, data=answer.data)
    if as_json:
        _say(_document(answer.data))
    return answer


def start(arguments: Sequence[str] | None = None) -> NoReturn:
    """Be the process ``pht``: run one command and leave with its exit status.

    What a command imports stays until the end. Looking through it for garbage, over and over while it is imported and once
    more when the process ends, is a fifth of what a short command takes.
    """
    _open_streams()
    gc.set_threshold(_YOUNG)
    atexit.register(gc.freeze)
    main(arguments)


def _open_streams() -> None:
    """Let the streams be there that a service was begun without, and write every name, of whatever bytes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit status. One of the two places that catch every exception."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given or os.environ.get("PHT_JSON", "").strip().lower() in _TRUE
    given = (["--json"] if as_json else []) + [word for word in given if word != "--json"]
    try:
        root.main(args=given, prog_name="pht", standalone_mode=False)
    except PhtError as error:
        _leave(error, as_json=as_json)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.exceptions.Abort as leaving:
        msg = str(leaving) or "interrupted"  # declining a question explains itself
        _leave(Interrupted(msg), as_json=as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        if not as_json:
            error.show()
            sys.exit(Usage.exit)
        _leave(_usage(error, "a command is missing"), as_json=as_json)
    except click.ClickException as error:
        _leave(_usage(error, error.format_message()), as_json=as_json)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        from security.files import explain  # noqa: PLC0415 - only when something is wrong with a file

        _leave(
            explain(error, Path(error.filename if isinstance(error.filename, str) else "standard output")),
            as_json=as_json,
        )
    except Exception as error:  # noqa: BLE001 - the boundary: our own bugs are reported as such
        _log.debug("unexpected error", exc_info=True)
        msg = f"unexpected {type(error).__name__}: this is a bug in the program"
        _leave(Fault(msg), as_json=as_json)
    sys.exit(0)


class Usage(PhtError):
    """The command line is not valid."""

    code = "usage"
    exit = 2


class Interrupted(PhtError):
    """A person stopped the command, or said no."""

    code = "interrupted"
    exit = 130
    default_hint = "nothing was left half-written; run the command again when you are ready"


class Fault(PhtError):
    """A bug in this program."""

    code = "internal"
    exit = 1
    default_hint = "run it again with -vv, and report what it says"


def _usage(error: click.ClickException, message: str) -> Usage:
    context = getattr(error, "ctx", None)
    return Usage(message, hint=f"{'pht' if context is None else context.command_path} --help")


def _leave(error: PhtError, *, as_json: bool, data: Mapping[str, Json] | None = None) -> NoReturn:
    """Report an error, on one line of standard error or in one document (with `data`) of standard output, and end."""
    if as_json:
        told = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "exit": error.exit,
            "fields": {name: str(value) for name, value in error.fields.items()},
        }
        try:
            _say(_document({**(data or {}), "error": told}))
        except OSError:  # a full disk: whoever sees to it reads the other stream
            _hush(sys.stdout)
            as_json = False
    if not as_json:
        try:
            click.echo(f"pht: {_line(str(error))} [{error.code}]", err=True)
            if error.hint:
                click.echo(f"hint: {_line(error.hint)}", err=True)
        except OSError:
            _hush(sys.stderr)
    sys.exit(error.exit)


def _document(told: Mapping[str, object]) -> str:
    """Print one JSON document, in ASCII: a name of a file may hold bytes that are no text, and the terminal any encoding."""
    return json.dumps(told, indent=2, sort_keys=True, default=str)


def _say(text: str) -> None:
    """Write to standard output. If whoever reads it has read enough, what was asked for is done all the same."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _hush(sys.stdout)


def _hush(stream: TextIO) -> None:
    """Let a stream that cannot be written to lead nowhere: Python would try once more when it ends, and say that it failed."""
    with contextlib.suppress(OSError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _line(text: str) -> str:
    """Keep line breaks and escape sequences, which a registry may have chosen, off the terminal."""
    return "".join(one if one.isprintable() else " " for one in text)


if __name__ == "__main__":
    start()
