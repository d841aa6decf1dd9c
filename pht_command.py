"""Where does an installed ``pht`` find its packages without taking their names from anybody else?

The wheel keeps them in a folder of its own, ``pht_packages``, which is on the path of processes that were started as
``pht`` and of no others. In a checkout there is no such folder, and the packages lie beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

PACKAGES = Path(__file__).parent / "pht_packages"


def main() -> NoReturn:
    """Run ``pht``."""
    if PACKAGES.is_dir():
        sys.path.insert(0, str(PACKAGES))
    from pht import start  # noqa: PLC0415 - not to be found before the line above

    start()
