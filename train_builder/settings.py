"""What does an owner's ``pht.json`` say?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from registry.names import location
from registry.places import Login
from security.encoding import Fields, Json, parse_json
from security.ids import PartyId

SETTINGS: Final = "pht.json"
_TYPE: Final = "pht-owner-home-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``pht.json`` says: the registry's address and account, and where the directory is published.

    The forms of addresses are those of `registry.places`. A password is never here, only the file that holds it.
    """

    party: PartyId
    registry: str
    login: Login
    directory: str


def parse_settings(raw: bytes) -> Settings:
    """Parse the settings of a home folder.

    Raises:
        Malformed, InvalidInput: they are not valid.
    """
    fields = Fields(parse_json(raw), SETTINGS)
    fields.constant("type", _TYPE)
    login = fields.fields("login")
    settings = Settings(
        party=PartyId(fields.text("party")),
        registry=str(location(fields.text("registry"))),
        directory=fields.text("directory"),
        login=Login(
            username=login.text("username") if login.has("username") else None,
            password_file=Path(login.text("passwordFile")) if login.has("passwordFile") else None,
            ca_file=Path(login.text("caFile")) if login.has("caFile") else None,
            token_hosts=login.texts("tokenHosts") if login.has("tokenHosts") else (),
            blob_hosts=login.texts("blobHosts") if login.has("blobHosts") else (),
            insecure=login.flag("insecure") if login.has("insecure") else False,
        ),
    )
    login.end()
    fields.end()
    return settings


def print_settings(settings: Settings) -> Json:
    """Print settings; paths become absolute."""
    login = settings.login
    named: dict[str, Json] = {
        "username": login.username,
        "passwordFile": None if login.password_file is None else str(login.password_file.absolute()),
        "caFile": None if login.ca_file is None else str(login.ca_file.absolute()),
        "tokenHosts": list(login.token_hosts),
        "blobHosts": list(login.blob_hosts),
        "insecure": login.insecure,
    }
    return {
        "type": _TYPE,
        "party": str(settings.party),
        "registry": settings.registry,
        "directory": settings.directory,
        "login": {name: value for name, value in named.items() if value},
    }
