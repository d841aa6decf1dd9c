"""How does a scientist begin: which settings does their home folder get?"""

from __future__ import annotations

from pathlib import Path

from registry.places import Login, anchored, registry_at, source_at
from security.encoding import dump_pretty
from security.errors import InvalidInput, Malformed
from security.ids import PartyId
from security.keys.store import read_folder
from train_builder.errors import HomeInvalid
from train_builder.settings import Settings, parse_settings, print_settings


def settings_for(home: Path, *, party: str, registry: str, directory: str | None, login: Login, here: Path) -> Settings:
    """Return settings that can be used; relative addresses are those of the folder `here`.

    Raises:
        HomeInvalid: the keys in the home folder belong to another party.
        InvalidInput: the party, or an address, is not one.
    """
    settings = Settings(
        party=PartyId(party),
        registry=anchored(registry, here),
        login=login,
        directory=anchored(directory or registry, here),
    )
    registry_at(settings.registry, login)  # so that nothing is remembered that could not be used
    source_at(settings.directory, login)
    _expect_readable(settings)
    if (home / "keys").is_dir() and read_folder(home / "keys").party != settings.party:
        msg = "the keys in the home folder belong to another party"
        raise HomeInvalid(msg, path=home / "keys", hint="choose another folder")
    return settings


def _expect_readable(settings: Settings) -> None:
    """Refuse what a home folder could not say: a path may hold bytes that are no text, or be longer than a word there."""
    try:
        parse_settings(dump_pretty(print_settings(settings)))
    except (Malformed, UnicodeEncodeError) as error:
        msg = "an address, or the path of a file, is too long or is not text"
        hint = "give the registry, the directory, or the file another name"
        raise InvalidInput(
            msg, registry=settings.registry[:80], directory=settings.directory[:80], hint=hint
        ) from error
