"""Which options was a registry last started with?

They are kept in ``settings.json`` in its state folder: paths of the certificate, its key and the password files, never a
password. An option that is not given keeps its previous value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from registry.http.auth import Credentials
from registry.server.config import LOOPBACK, ServerSettings
from security.encoding import Fields, Json, dump_pretty, parse_json
from security.errors import FileMissing, InvalidInput, Malformed
from security.files import read_file, read_private, write_file

SETTINGS: Final = "settings.json"
_TYPE: Final = "pht-registry-settings-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What the operator gave; None or an empty tuple: not given. `accounts` are names and password files."""

    host: str | None = None
    port: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    accounts: tuple[tuple[str, Path], ...] = ()
    engine: str | None = None

    def over(self, before: ServerOptions) -> ServerOptions:
        """Return these options, completed by those of `before`. Certificate and key go together."""
        pair = self if self.certificate is not None or self.key is not None else before
        return ServerOptions(
            host=before.host if self.host is None else self.host,
            port=before.port if self.port is None else self.port,
            certificate=pair.certificate,
            key=pair.key,
            accounts=self.accounts or before.accounts,
            engine=before.engine if self.engine is None else self.engine,
        )

    def settings(self, state: Path) -> ServerSettings:
        """Read the password files and return the settings to start with.

        Raises:
            FileMissing, KeyUnreadable: a password file is missing, empty, or not private.
            InvalidInput: the options do not fit together.
        """
        return ServerSettings(
            state=state,
            host=self.host or LOOPBACK,
            port=self.port or 0,
            certificate=None if self.certificate is None else self.certificate.absolute(),
            key=None if self.key is None else self.key.absolute(),
            accounts=tuple(_credentials(name, path) for name, path in self.accounts),
            engine=self.engine,
        )

    def keep(self, state: Path) -> None:
        """Write the options into the state folder."""
        accounts: list[Json] = [{"name": name, "passwordFile": str(path.absolute())} for name, path in self.accounts]
        said: dict[str, Json] = {
            "host": self.host or None,  # an empty word means the default
            "port": self.port,
            "certificate": None if self.certificate is None else str(self.certificate.absolute()),
            "key": None if self.key is None else str(self.key.absolute()),
            "accounts": accounts,
            "engine": self.engine or None,
        }
        document = {name: value for name, value in said.items() if value is not None}
        write_file(state / SETTINGS, dump_pretty({"type": _TYPE, **document}))


def options_of(state: Path) -> ServerOptions:
    """Return the previous options; empty ones if there are none.

    Raises:
        InvalidInput: the file is malformed.
    """
    path = state / SETTINGS
    if not path.exists():
        return ServerOptions()
    try:
        fields = Fields(parse_json(read_file(path, limit=1 << 16)), SETTINGS)
        fields.constant("type", _TYPE)
        found = ServerOptions(
            host=fields.text("host") if fields.has("host") else None,
            port=fields.number("port", least=0, most=65535) if fields.has("port") else None,
            certificate=Path(fields.text("certificate")) if fields.has("certificate") else None,
            key=Path(fields.text("key")) if fields.has("key") else None,
            accounts=tuple(map(_account, fields.objects("accounts"))),
            engine=fields.text("engine") if fields.has("engine") else None,
        )
        fields.end()
    except Malformed as error:
        msg = "the registry's settings file is malformed"
        hint = "give every option again, with --anew"
        raise InvalidInput(msg, path=path, problem=str(error), hint=hint) from error
    return found


def _account(fields: Fields) -> tuple[str, Path]:
    found = fields.text("name"), Path(fields.text("passwordFile"))
    fields.end()
    return found


def _credentials(name: str, path: Path) -> Credentials:
    password = read_private(path).decode("utf-8", "replace").removesuffix("\n")
    if not password:
        msg = "the password file is empty"
        raise FileMissing(msg, path=path, hint="it contains one line: the password")
    return Credentials(username=name, password=password)
