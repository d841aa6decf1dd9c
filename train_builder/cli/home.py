"""How does a command find its owner's home folder, and what that leads to?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click
from click.core import ParameterSource

from console.prompts import clock
from registry.depot import Depot
from registry.places import registry_at, source_at
from security.directory.client import load_trust
from security.directory.trust import TrustStore
from security.errors import InvalidInput
from train_builder.home import SETTINGS, Home, open_home

F = TypeVar("F", bound=Callable[..., object])

_PARAMETER: Final = "home_path"


def home_option(function: F) -> F:
    """Add ``--home``, handed on as `home_path`."""
    return click.option(
        "--home",
        _PARAMETER,
        type=click.Path(path_type=Path),
        envvar="PHT_HOME",
        default=_usual_home,
        show_default="~/.pht",
        help="Your home folder: settings, keys, trains. Or set PHT_HOME.",
    )(function)


def home_if_any(path: Path) -> Home | None:
    """Open a home folder; None if it is only the usual one, and nobody has set it up.

    Raises:
        HomeInvalid: a home that somebody named is not set up, or its settings are wrong.
    """
    named = click.get_current_context().get_parameter_source(_PARAMETER) is not ParameterSource.DEFAULT
    return open_home(path) if named or (path / SETTINGS).exists() else None


def depot_of(home: Home) -> Depot:
    """Open the registry that the home names."""
    return Depot(registry_at(home.settings.registry, home.settings.login))


def trust_of(home: Home) -> TrustStore:
    """Read the directory that the home names, as of now."""
    source = source_at(home.settings.directory, home.settings.login)
    return load_trust(source, home.cache, home.root(), clock.now())


def _usual_home() -> Path:
    try:
        return Path.home() / ".pht"
    except RuntimeError as error:
        msg = "this user has no home folder"
        raise InvalidInput(msg, hint="name one: --home FOLDER, or PHT_HOME") from error
