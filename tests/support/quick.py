"""`pht`, but the keys that it makes open quickly: for what is not about keys.

A program of the tests, because the real one has no way to make weak keys. It is started in place of `pht.py`. What types
commands in the test's own process takes the fixture `quick_keys` of `desk`.
"""

from __future__ import annotations

import sys

import pht
from security.directory.root import init_workspace, rotate_keys
from security.keys.store import create_folder, import_folder, lock
from tests.support.directories import QUICK

MAKERS = (lock, create_folder, import_folder, init_workspace, rotate_keys)


def set_work(log_n: int) -> int:
    """Let keys be made that take so much work to open; return what they took."""
    before = 0
    for make in MAKERS:
        defaults = make.__kwdefaults__
        assert defaults is not None
        before, defaults["log_n"] = defaults["log_n"], log_n
    return int(before)


if __name__ == "__main__":
    set_work(QUICK)
    pht.start(sys.argv[1:])
