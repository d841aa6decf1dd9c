"""Who is the station to a FHIR server?

Secrets are read from private files whenever they are wanted, and leave this module only in a header: an account (RFC 7617),
a bearer token that somebody else keeps fresh, or one that is fetched as a client of a token service (RFC 6749, section 4.4).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote_plus, urlencode

from registry.http.answers import Answer
from registry.http.auth import Credentials
from security.encoding import parse_json
from security.errors import InvalidInput, MalformedJson, PhtError
from security.files import read_private
from station.data.tables.fhir_place import Endpoint
from station.errors import DataUnfit

_SECRET_BYTES: Final = 64 << 10
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,32768}=*")  # RFC 6750, 2.1
_OK: Final = 200


class Form:
    """Bytes as a request's body; see `registry.http.wire.Payload`."""

    def __init__(self, data: bytes) -> None:
        self.data, self._reader = data, io.BytesIO(data)

    def __len__(self) -> int:
        return len(self.data)

    def read(self, count: int = -1, /) -> bytes:
        """Return the next bytes."""
        return self._reader.read(count)


FetchToken: TypeAlias = Callable[[str, str, Form], Answer]
"""Sends a form to the token service, with an ``Authorization`` header."""


class Account:
    """Says who we are; of a token service, with one token until that is refused."""

    def __init__(self, endpoint: Endpoint, *, about: str, fetch: FetchToken) -> None:
        self._endpoint, self._about, self._fetch = endpoint, about, fetch
        self._token: str | None = None

    def header(self) -> str | None:
        """Return the ``Authorization`` header; None for nobody.

        Raises:
            DataUnfit: a secret is not there or not private, or the token service gives no token.
        """
        endpoint = self._endpoint
        if endpoint.token_file is not None:
            return f"Bearer {self._need_token(self._secret(endpoint.token_file))}"
        if endpoint.username is None or endpoint.password_file is None:
            return None
        password = self._secret(endpoint.password_file)
        if endpoint.token_url is None:
            return self._basic(endpoint.username, password)
        if self._token is None:
            who = self._basic(quote_plus(endpoint.username), quote_plus(password))
            self._token = self._fetched(endpoint.token_url, who)
        return f"Bearer {self._token}"

    def renew(self) -> bool:
        """Forget a token that is refused; tell whether another may be had."""
        had, self._token = self._token, None
        return had is not None

    def _fetched(self, url: str, who: str) -> str:
        asked = {"grant_type": "client_credentials"}
        if self._endpoint.scope is not None:
            asked["scope"] = self._endpoint.scope
        answer = self._fetch(url, who, Form(urlencode(asked).encode()))
        token = None
        if answer.status == _OK:
            try:
                document = parse_json(answer.body, limit=len(answer.body))
            except MalformedJson:
                document = None
            token = document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            msg = "the token service gives the station no token"
            hint = "check token_url, username (the client's id), password_file (its secret) and scope"
            raise DataUnfit(msg, data=self._about, status=answer.status, hint=hint)
        return self._need_token(token)

    def _need_token(self, token: str) -> str:
        if _BEARER.fullmatch(token) is None:
            msg = "a token has characters that cannot be sent"
            raise DataUnfit(msg, data=self._about, hint="token_file holds the token as its only line")
        return token

    def _basic(self, username: str, password: str) -> str:
        try:
            return Credentials(username=username, password=password).header()
        except InvalidInput as error:
            raise DataUnfit(error.message, data=self._about, hint="see username and password_file") from None

    def _secret(self, path: Path) -> str:
        try:
            return read_private(path, limit=_SECRET_BYTES).decode("utf-8", "replace").strip("\r\n")
        except PhtError as error:
            raise DataUnfit(error.message, data=self._about, hint=error.hint, file=path) from None
