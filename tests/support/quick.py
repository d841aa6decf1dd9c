"""`pht`, but the keys that it makes open quickly: for a whole demo that is not about keys.

A program of the tests, because the real one has no way to make weak keys. It is started in place of `pht.py`.
"""

from __future__ import annotations

import sys

import pht
from security.directory.root import init_workspace, rotate_keys
from security.keys.store import create_folder, import_folder, lock
from tests.support.directories import QUICK

if __name__ == "__main__":
    for make in (lock, create_folder, import_folder, init_workspace, rotate_keys):
        defaults = make.__kwdefaults__
        assert defaults is not None
        assert "log_n" in defaults
        defaults["log_n"] = QUICK
    pht.main(sys.argv[1:])
