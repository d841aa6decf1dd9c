"""Who is a sealed file for, and is its header the one its sender wrote?

Source: C2SP age, "Header" and "ABNF definition of file header". Read strictly: a header has one form.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from security.age.stanza import Stanza, derive, from_base64, to_base64
from security.errors import HeaderInvalid, HeaderTampered
from security.streams import Source

MAX_HEADER: Final = 1 << 19
"""Most bytes of a header. A hybrid stanza takes 1.6 KB, so this is room for some 300 recipients."""

_VERSION: Final = b"age-encryption.org/v1"
_COLUMNS: Final = 64
_PIECE: Final = 4096
_VISIBLE: Final = bytes(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The stanzas of a sealed file. Nothing in it is believed before `authenticate`."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    covered: bytes = field(repr=False)

    def authenticate(self, file_key: bytes) -> None:
        """Check that whoever knew the file key wrote exactly this header.

        Raises:
            HeaderTampered: a recipient was added, removed or changed (attack T9).
        """
        if not hmac.compare_digest(_mac(file_key, self.covered), self.mac):
            msg = "header was changed after it was sealed"
            raise HeaderTampered(msg)


def write_header(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """Return the header, from the version line to the end of the MAC line."""
    covered = b"\n".join([_VERSION, *(line for stanza in stanzas for line in _lines(stanza)), b"---"])
    return covered + b" " + to_base64(_mac(file_key, covered)) + b"\n"


def read_header(source: Source) -> Header:
    """Read the header and no key. The position of `source` afterwards is undefined.

    Raises:
        HeaderInvalid: this is not an age v1 file, or its header is malformed or too long.
    """
    return take_header(source)[0]


def take_header(source: Source) -> tuple[Header, bytes]:
    """Read the header; return it and what was read beyond it, which is where the payload starts.

    Raises:
        HeaderInvalid: this is not an age v1 file, or its header is malformed or too long.
    """
    lines = _Lines(source)
    if lines.next() != _VERSION:
        msg = "not an age v1 file"
        raise HeaderInvalid(msg)
    stanzas: list[Stanza] = []
    while (line := lines.next())[:3] == b"-> ":
        stanzas.append(_stanza(line, lines))
    if not stanzas or line[:4] != b"--- ":
        msg = "header has a line that is neither a stanza nor its last line"
        raise HeaderInvalid(msg)
    mac = from_base64(line[4:])
    if len(mac) != hashlib.sha256().digest_size:
        msg = "header has a MAC of the wrong size"
        raise HeaderInvalid(msg, found=len(mac))
    if len(stanzas) > 1 and any(stanza.kind == "scrypt" for stanza in stanzas):
        msg = "a passphrase must be the only recipient"
        raise HeaderInvalid(msg, recipients=len(stanzas))
    covered, beyond = lines.split(before=len(line) - 3 + 1)
    return Header(stanzas=tuple(stanzas), mac=mac, covered=covered), beyond


def _stanza(first: bytes, lines: _Lines) -> Stanza:
    args = first[3:].split(b" ")
    if not all(args) or first.translate(None, _VISIBLE).strip(b" "):
        msg = "recipient stanza has malformed arguments"
        raise HeaderInvalid(msg)
    body = b""
    while True:
        line = lines.next()
        if len(line) > _COLUMNS:
            msg = "recipient stanza has a line that is too long"
            raise HeaderInvalid(msg, columns=len(line))
        body += from_base64(line)
        if len(line) < _COLUMNS:
            return Stanza(args=tuple(one.decode("ascii") for one in args), body=body)


def _lines(stanza: Stanza) -> list[bytes]:
    text = to_base64(stanza.body)
    body = [text[at : at + _COLUMNS] for at in range(0, len(text) + 1, _COLUMNS)]  # the last line is shorter, or empty
    return [("-> " + " ".join(stanza.args)).encode("ascii"), *body]


def _mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(derive(file_key, salt=b"", info=b"header"), covered, "sha256")


class _Lines:
    """Reads lines from the front of a stream, and never more than a header may hold (attack T17)."""

    def __init__(self, source: Source) -> None:
        self._source, self._read, self._at = source, bytearray(), 0

    def next(self) -> bytes:
        """Return the next line without its line feed."""
        searched = self._at
        while (end := self._read.find(b"\n", searched)) < 0:
            searched = len(self._read)
            piece = self._source.read(_PIECE)
            if not piece:
                msg = "header ends early"
                raise HeaderInvalid(msg)
            self._read += piece
            if len(self._read) > MAX_HEADER:
                msg = "header is too long"
                raise HeaderInvalid(msg, limit=MAX_HEADER)
        line = bytes(self._read[self._at : end])
        self._at = end + 1
        return line

    def split(self, *, before: int) -> tuple[bytes, bytes]:
        """Return what was taken up to `before` bytes before here, and what was read beyond here."""
        return bytes(self._read[: self._at - before]), bytes(self._read[self._at :])
