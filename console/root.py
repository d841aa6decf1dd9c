"""What does the root of the command line offer to every command?"""

from __future__ import annotations

from typing import Protocol

from registry.places import Login


class Root(Protocol):
    """The options of ``pht`` itself; commands take it by ``@click.pass_obj``."""

    @property
    def as_json(self) -> bool:
        """Whether a program reads the answers."""
        ...

    def login(self) -> Login:
        """Return the account and the trust that the options of ``pht`` name."""
        ...
