"""What does an address stand for: a registry with its account, or a place where a directory is published?

Account, certificates and hosts are given the same way everywhere: as options of ``pht``, and as keys of the ``registry``
section of a settings file. Proxies come from the environment, which is read here and nowhere else.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from registry.directory import RegistryDirectory, WebDirectory
from registry.http.auth import Credentials
from registry.http.proxies import Proxies
from registry.http.terms import Trust
from registry.names import ACCOUNT, HttpLocation, Origin, location
from registry.open import Access, open_http, open_registry
from registry.port import Registry
from security.directory.client import DirectorySink, DirectorySource, FolderDirectory
from security.errors import InvalidInput
from security.files import read_private

_PASSWORD_BYTES: Final = 4096
_FOLDER: Final = "folder:"
_LAYOUT: Final = "layout:"
_WEB: Final = "web:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a registry is reached, as people configure it: names and paths, no secrets.

    ``password_file`` must be private. ``token_hosts`` and ``blob_hosts`` are origins (``https://host``) a registry may
    send us to; without them, only its own.
    """

    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    token_hosts: tuple[str, ...] = ()
    blob_hosts: tuple[str, ...] = ()
    insecure: bool = False

    def access(self) -> Access:
        """Read the password and the environment's proxies, and return how to reach the registry.

        Raises:
            InvalidInput: a name without a password or the other way round, or a host that is no origin.
            FileMissing, KeyUnreadable: the password file is not there, or not private.
        """
        if (self.username is None) != (self.password_file is None):
            msg = "a registry account needs both a name and a password file"
            raise InvalidInput(msg, username=self.username, password_file=self.password_file, hint=ACCOUNT)
        credentials = None
        if self.username is not None and self.password_file is not None:
            password = read_private(self.password_file, limit=_PASSWORD_BYTES).decode("utf-8", "replace")
            credentials = Credentials(username=self.username, password=password.removesuffix("\n"))
        trust = Trust(
            ca_file=self.ca_file,
            token_origins=tuple(map(Origin.from_text, self.token_hosts)),
            blob_origins=tuple(map(Origin.from_text, self.blob_hosts)),
        )
        proxies = Proxies.of_environment(os.environ)
        return Access(credentials=credentials, trust=trust, proxies=proxies, insecure=self.insecure)


def anchored(text: str, folder: Path) -> str:
    """Return an address that means the same wherever it is read: a relative path in it starts from `folder`."""
    for prefix in (_LAYOUT, _FOLDER):
        if text.startswith(prefix) and text != prefix:
            return f"{prefix}{folder / text.removeprefix(prefix)}"
    return text


def registry_at(text: str, login: Login) -> Registry:
    """Open the registry at an address: ``https://host/prefix``, ``layout:/folder``."""
    return open_registry(location(text), login.access(), sleep=time.sleep)


def source_at(text: str, login: Login) -> DirectorySource:
    """Open a place to read a directory from: ``folder:/path``, ``web:https://host/path``, or a registry's address."""
    if text.startswith(_FOLDER):
        return FolderDirectory(Path(text.removeprefix(_FOLDER)))
    if text.startswith(_WEB):
        place = location(text.removeprefix(_WEB))
        if not isinstance(place, HttpLocation):
            msg = "not the address of a web server"
            raise InvalidInput(msg, value=text[:80])
        access = replace(login.access(), credentials=None)
        return WebDirectory(open_http(place, access), place)
    return RegistryDirectory(registry_at(text, login))


def sink_at(text: str, login: Login) -> DirectorySink:
    """Open a place to publish a directory to: ``folder:/path``, or a registry's address."""
    if text.startswith(_FOLDER):
        return FolderDirectory(Path(text.removeprefix(_FOLDER)))
    if text.startswith(_WEB):
        msg = "a web server cannot be published to"
        raise InvalidInput(msg, hint="publish to folder:/path, and let the web server serve that folder")
    return RegistryDirectory(registry_at(text, login))
