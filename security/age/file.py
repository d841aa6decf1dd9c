"""How is a sealed file made for its recipients, and opened by one of them?

Source: C2SP age, "Encrypted file format".
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from security.age import scrypt
from security.age.header import Header, take_header, write_header
from security.age.keys import Recipient, Unwrapper
from security.age.stanza import FILE_KEY
from security.age.stream import AgeReader, AgeWriter
from security.errors import InvalidInput, NotARecipient
from security.streams import Sink, Source

MAX_RECIPIENTS: Final = 256
"""Most recipients of one file; a header with that many is well within what `read_header` accepts."""

_SMALL_BATCH: Final = 2
"""Chunks of a small file that are read at once: buffers for a large one cost more than opening it."""


def encrypt(sink: Sink, recipients: Sequence[Recipient]) -> AgeWriter:
    """Start a sealed file: write its header to `sink`, return what encrypts the rest.

    Raises:
        InvalidInput: no recipient or too many, a passphrase among others, or different kinds of keys: a file is as
            strong as its weakest recipient, so age tools do not mix post-quantum ones with others.
    """
    kinds = {recipient.kind for recipient in recipients}
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        msg = "a sealed file needs at least one recipient, and not too many"
        raise InvalidInput(msg, recipients=len(recipients), limit=MAX_RECIPIENTS)
    if len(kinds) > 1 or (kinds == {scrypt.KIND} and len(recipients) > 1):
        msg = "recipients of these kinds cannot share a file"
        raise InvalidInput(
            msg, kinds=sorted(kinds), hint="use hybrid keys (age1pq) for everyone; a passphrase stands alone"
        )
    file_key = secrets.token_bytes(FILE_KEY)
    header = write_header([recipient.wrap(file_key) for recipient in recipients], file_key)
    return AgeWriter(sink, header, file_key)


def decrypt(source: Source, identities: Sequence[Unwrapper], *, ours: int = 0) -> AgeReader:
    """Start to open a sealed file: read and authenticate its header, return what decrypts the rest.

    A file does not say whom its stanzas are for, and each that is tried costs a decapsulation. `ours` is tried first.

    Raises:
        HeaderInvalid: not an age v1 file, or a malformed header.
        NotARecipient: none of the identities opens it.
        HeaderTampered: one of them does, and the header is not what the sender wrote.
    """
    header, beyond = take_header(source)
    file_key, _ = _file_key(header, identities, ours)
    header.authenticate(file_key)
    return AgeReader(source, header, beyond, file_key)


def decrypt_small(source: Source, identities: Sequence[Unwrapper], *, ours: int) -> tuple[AgeReader, int]:
    """Start to open one of many small sealed files; see `decrypt`. Return also which stanza was ours, from the end (-1)."""
    header, beyond = take_header(source)
    file_key, found = _file_key(header, identities, ours)
    header.authenticate(file_key)
    return AgeReader(source, header, beyond, file_key, batch=_SMALL_BATCH), found - len(header.stanzas)


def _file_key(header: Header, identities: Sequence[Unwrapper], ours: int) -> tuple[bytes, int]:
    count = len(header.stanzas)
    order = sorted(range(count), key=lambda place: place not in {ours, ours + count})  # the others as they come
    for identity in identities:
        for place in order:
            file_key = identity.unwrap(header.stanzas[place])
            if file_key is not None:
                return file_key, place
    msg = "sealed for other recipients, or with another passphrase"
    raise NotARecipient(msg, kinds=sorted({stanza.kind[:40] for stanza in header.stanzas})[:8])
