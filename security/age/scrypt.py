"""How is a file key wrapped under a passphrase?

Source: C2SP age, "The scrypt recipient type". Used for key files at rest.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from security.age.stanza import Stanza, to_base64, unwrap, wrap
from security.errors import HeaderInvalid, InvalidInput

KIND: Final = "scrypt"
DEFAULT_LOG_N: Final = 18
"""Logarithm of the work factor of new files: 256 MiB of memory, some 0.7 s."""

MAX_LOG_N: Final = 22
"""Logarithm of the greatest work factor accepted: 4 GiB. A header must not be able to demand a day of work (attack T17)."""

_LABEL: Final = b"age-encryption.org/v1/scrypt"
_SALT: Final = 16
_WORK = re.compile(r"[1-9][0-9]?")


class PassphraseRecipient:
    """Anyone who knows the passphrase. Must be the only recipient of its file."""

    __slots__ = ("_log_n", "_passphrase")

    def __init__(self, passphrase: bytes, log_n: int = DEFAULT_LOG_N) -> None:
        """Take the passphrase (UTF-8, as age tools do) and the logarithm of the work factor.

        Raises:
            InvalidInput: an empty passphrase, or a work factor outside 1 to 22.
        """
        if not passphrase or not 1 <= log_n <= MAX_LOG_N:
            msg = "passphrase is empty, or its work factor is out of range"
            raise InvalidInput(msg, log_n=log_n, limit=MAX_LOG_N)
        self._passphrase, self._log_n = passphrase, log_n

    @property
    def kind(self) -> str:
        """The recipient type."""
        return KIND

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key under the passphrase and a fresh salt."""
        salt = secrets.token_bytes(_SALT)
        key = _stretch(self._passphrase, salt, self._log_n)
        return Stanza(args=(KIND, to_base64(salt).decode(), str(self._log_n)), body=wrap(key, file_key))


class PassphraseIdentity:
    """The same passphrase, for opening."""

    __slots__ = ("_max_log_n", "_passphrase")

    def __init__(self, passphrase: bytes, max_log_n: int = MAX_LOG_N) -> None:
        """Take the passphrase and the logarithm of the greatest work factor to be spent on it."""
        self._passphrase, self._max_log_n = passphrase, max_log_n

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key, or None if the stanza is of another type or the passphrase is wrong.

        Raises:
            HeaderInvalid: the stanza is malformed, or asks for too much work.
        """
        if stanza.kind != KIND:
            return None
        stanza.need(arguments=2)
        salt, work = stanza.bytes_at(1, _SALT), stanza.args[2]
        if _WORK.fullmatch(work) is None or int(work) > self._max_log_n:
            msg = "passphrase stanza has a work factor that is malformed or too large"
            raise HeaderInvalid(msg, limit=self._max_log_n)
        return unwrap(_stretch(self._passphrase, salt, int(work)), stanza.body)


def _stretch(passphrase: bytes, salt: bytes, log_n: int) -> bytes:
    return Scrypt(salt=_LABEL + salt, length=32, n=1 << log_n, r=8, p=1).derive(passphrase)
