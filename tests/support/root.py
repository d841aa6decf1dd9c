"""What does a command get from the root of the command line, where a test calls it without one?"""

from __future__ import annotations

from registry.places import Login


class Root:
    """Implements `console.root.Root`: a person reads the answers, and no option was given."""

    as_json = False

    def login(self) -> Login:
        return Login()
