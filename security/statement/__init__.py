"""Signed statements: in-toto in DSSE envelopes."""
