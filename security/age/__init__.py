"""How is a file sealed so that only its recipients can read it, and nobody can change or shorten it unnoticed?

The age v1 format (C2SP, age-encryption.org/v1), with its native recipients: the hybrid post-quantum
``mlkem768x25519``, ``X25519`` and ``scrypt``. Files and keys are those of the stock ``age`` tools. Nothing here knows
whose keys they are.
"""

from security.age.armor import armored, dearmor
from security.age.file import MAX_RECIPIENTS, decrypt, decrypt_small, encrypt
from security.age.header import Header, read_header
from security.age.hybrid import HybridIdentity, HybridRecipient
from security.age.keys import Identity, Recipient, Unwrapper, another_like, parse_identity, parse_recipient
from security.age.scrypt import KIND as PASSPHRASE
from security.age.scrypt import PassphraseIdentity, PassphraseRecipient
from security.age.stanza import Stanza
from security.age.stream import AgeReader, AgeWriter
from security.age.x25519 import X25519Identity, X25519Recipient

__all__ = [
    "MAX_RECIPIENTS",
    "PASSPHRASE",
    "AgeReader",
    "AgeWriter",
    "Header",
    "HybridIdentity",
    "HybridRecipient",
    "Identity",
    "PassphraseIdentity",
    "PassphraseRecipient",
    "Recipient",
    "Stanza",
    "Unwrapper",
    "X25519Identity",
    "X25519Recipient",
    "another_like",
    "armored",
    "dearmor",
    "decrypt",
    "decrypt_small",
    "encrypt",
    "parse_identity",
    "parse_recipient",
    "read_header",
]
