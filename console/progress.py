"""How does a person at a terminal see that work goes on, and how far it is?

On standard error, and gone when it is done; where there is no terminal, nothing at all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeAlias

Working: TypeAlias = Callable[[str], AbstractContextManager[object]]
"""Shows what is being worked on; `contextlib.nullcontext` shows nothing."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show what is being worked on. Ask nothing meanwhile: the question would be overwritten."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only for people

    with Console(stderr=True).status(what):
        yield


@contextmanager
def showing(what: str) -> Iterator[Callable[[int], None] | None]:
    """Show how many bytes have gone by, once the first have; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        shown: list[Callable[[int], None]] = []

        def carried(count: int) -> None:
            if not shown:
                shown.append(stack.enter_context(_counting(what)))
            shown[0](count)

        yield carried


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    from rich import progress  # noqa: PLC0415 - slow to import, and only for people
    from rich.console import Console  # noqa: PLC0415 - likewise

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.update(task, advance=count)
