"""What can be wrong with a key file?"""

from __future__ import annotations

from security.errors import KeyUnreadable


class WrongPassphrase(KeyUnreadable):
    """The passphrase does not open the key file."""

    code = "key.wrong-passphrase"
    default_hint = "try again; nothing was changed"


class NotAKeyFile(KeyUnreadable):
    """The file is not a key file: it is not an age passphrase file, or does not contain keys."""

    code = "key.not-a-key-file"


class KeyDamaged(KeyUnreadable):
    """The key file has changed since it was written; restore it from the backup."""

    code = "key.damaged"
