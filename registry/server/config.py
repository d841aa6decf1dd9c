"""How is the registry program configured?

The options are those of the CNCF registry, version 2.8 ("Configuring a registry"). JSON is YAML, so JSON is written.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bcrypt

from registry.http.auth import Credentials
from security.encoding import Fields, Json, dump_json, dump_pretty, parse_json
from security.errors import FileMissing, InvalidInput, MalformedJson, MalformedStatement
from security.files import make_folder, read_file, write_file

LOOPBACK: Final = "127.0.0.1"
_SECRET: Final = 64  # hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the operator wants. Port 0 means a free one, which is kept from then on."""

    state: Path
    host: str = LOOPBACK
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    accounts: tuple[Credentials, ...] = field(default=(), repr=False)
    search_path: str | None = None
    """Where programs are searched for; None means the PATH."""
    engine: str | None = None
    """The engine's address; None means the default of the ``docker`` command."""

    def __post_init__(self) -> None:
        """Refuse a certificate without its key, and a registry open to the network."""
        if (self.certificate is None) != (self.key is None):
            msg = "a certificate needs its key, and a key its certificate"
            raise InvalidInput(msg)
        if self.host not in {LOOPBACK, "localhost"} and not (self.accounts and self.certificate):
            msg = "a registry that serves other machines needs accounts and a certificate"
            raise InvalidInput(msg, host=self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Address and paths as the registry sees them."""

    address: str
    storage: str
    htpasswd: str
    certificate: str
    key: str


def configure(settings: ServerSettings, places: Places) -> None:
    """Write ``config.yml`` and, if there are accounts, ``htpasswd``."""
    make_folder(settings.state / "storage")
    written = settings.state / "config.yml"
    web: dict[str, Json] = {"addr": places.address, "relativeurls": True, "secret": _secret(written)}
    if settings.certificate is not None and settings.key is not None:
        for path in (settings.certificate, settings.key):
            if not path.is_file():
                msg = "no such file"
                raise FileMissing(msg, path=path)
        web["tls"] = {"certificate": places.certificate, "key": places.key, "minimumtls": "tls1.2"}
    config: dict[str, Json] = {
        "version": "0.1",
        "log": {
            "level": "info",
            "formatter": "text",
            "accesslog": {"disabled": True},
        },  # the runner leaves out what is read
        "storage": {
            "filesystem": {"rootdirectory": places.storage},
            "delete": {"enabled": True},
        },
        "http": web,
    }
    if settings.accounts:
        lines = [
            item.username.encode() + b":" + bcrypt.hashpw(_short(item.password), bcrypt.gensalt())
            for item in settings.accounts
        ]
        write_file(settings.state / "htpasswd", b"\n".join(lines) + b"\n")
        config["auth"] = {"htpasswd": {"realm": "registry", "path": places.htpasswd}}
    write_file(written, dump_pretty(config))  # JSON is YAML


def _secret(written: Path) -> str:
    """Return the secret that signs the state of uploads: the previous one, so that they survive a restart."""
    try:
        return (
            Fields(parse_json(read_file(written)), written.name)
            .fields("http")
            .text("secret", least=_SECRET, most=_SECRET)
        )
    except (FileMissing, MalformedJson, MalformedStatement):
        return secrets.token_hex(_SECRET // 2)


def _short(password: str) -> bytes:
    data = password.encode()
    if len(data) > 72:  # noqa: PLR2004 - the most bcrypt takes; some implementations ignore the rest
        msg = "password is too long for a registry account (72 bytes)"
        raise InvalidInput(msg)
    return data


def fingerprint(settings: ServerSettings) -> str:
    """Return a digest of all settings but the passwords."""
    names = [account.username for account in settings.accounts]  # no digest of a password: it could be guessed
    parts = [settings.host, settings.port, str(settings.certificate), str(settings.key), names]
    return hashlib.sha256(dump_json(parts)).hexdigest()


def same_passwords(settings: ServerSettings) -> bool:
    """Whether the accounts have the passwords that ``htpasswd`` was written for."""
    if not settings.accounts:
        return True
    lines = read_file(settings.state / "htpasswd").split()
    return all(
        bcrypt.checkpw(_short(account.password), line.partition(b":")[2])
        for account, line in zip(settings.accounts, lines, strict=True)
    )
