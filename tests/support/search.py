"""How long is searched for a counterexample where each example is dear?

Briefly where a change is about to land: each run tries other examples, and a counterexample that was found is kept for the
next. ``PHT_TEST_SEARCH`` says how many times as long, when there is time.
"""

from __future__ import annotations

import os


def examples(usual: int) -> int:
    """Return how many examples to try."""
    return usual * int(os.environ.get("PHT_TEST_SEARCH", "1"))
