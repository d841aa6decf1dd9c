"""Where are the patients kept that runs saw?

As keyed hashes, one set a file, named by its digest under the station's key. What may be asked of two sets, how many they
differ by, is asked here and nowhere else, and of nobody's names.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from security.files import make_folder, writing


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The folder with the sets."""

    folder: Path

    def keep(self, made: Path, name: str) -> None:
        """Keep the set in the file `made` for good, if it is not kept already."""
        make_folder(self.folder)
        if (self.folder / name).exists():
            return
        with made.open("rb") as source, writing(self.folder / name) as out:
            shutil.copyfileobj(source, out)
