"""Which options do several commands of a scientist share?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click
from click.core import ParameterSource

from security.errors import InvalidInput
from train_builder.code.wheels import MACHINE, PYTHON
from train_builder.home import Home, open_home
from train_builder.settings import SETTINGS

F = TypeVar("F", bound=Callable[..., object])

PATH: Final = click.Path(path_type=Path)
HOME: Final = "home_path"
HOME_VARIABLE: Final = "PHT_HOME"


def home_option(function: F) -> F:
    """Add ``--home``, handed on as `home_path`."""
    return click.option(
        "--home",
        HOME,
        type=PATH,
        envvar=HOME_VARIABLE,
        default=usual_home,
        show_default="~/.pht",
        help="Your home folder: settings, keys, trains. Or set PHT_HOME.",
    )(function)


def allow_option(function: F) -> F:
    """Add ``--allow``, handed on as `allow`."""
    return click.option(
        "--allow",
        multiple=True,
        metavar="PATH|CODE",
        help="Accept findings about this file of the code folder (a name or a pattern), or of this code; may be repeated.",
    )(function)


def target_options(function: F) -> F:
    """Add ``--python`` and ``--machine``, handed on as `python_version` and `machine`: see `wheels.Target`."""
    python = click.option(
        "--python", "python_version", default=PYTHON, show_default=True, help="Python of the base image."
    )
    machine = click.option("--machine", default=MACHINE, show_default=True, help="Processor of the stations.")
    return python(machine(function))


def home_if_any(path: Path) -> Home | None:
    """Open a home folder; None if it is only the usual one, and was never set up.

    Raises:
        HomeInvalid: a home that was named is not set up, or its settings are wrong.
    """
    named = click.get_current_context().get_parameter_source(HOME) is not ParameterSource.DEFAULT
    return open_home(path) if named or (path / SETTINGS).exists() else None


def usual_home() -> Path:
    """Return the home folder that is used if none is named."""
    try:
        return Path.home() / ".pht"
    except RuntimeError as error:
        msg = "this user has no home folder"
        raise InvalidInput(msg, hint="name one: --home FOLDER, or PHT_HOME") from error
