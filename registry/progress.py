"""How is somebody who sits at a terminal told how far it is?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from registry.port import Progress


@contextmanager
def showing(what: str) -> Iterator[Progress | None]:
    """Show how many bytes have gone by, once the first have; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress  # noqa: PLC0415 - slow to import, and only for people
    from rich.console import Console  # noqa: PLC0415 - likewise

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None, visible=False)
        yield lambda count: shown.update(task, advance=count, visible=True)
