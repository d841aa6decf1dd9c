"""Which version of this program is it?

A constant, and not asked of the installed package: that takes longer than most commands. A test compares the two.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
