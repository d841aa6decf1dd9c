"""How does a group offer its commands without importing what each of them needs?"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Self

import click
from click.exceptions import NoSuchCommand


class LazyGroup(click.Group):
    """A group whose members are imported when they are called or described, and listed in the order of `members`.

    `members` says where each is, as ``module:name``. `texts` are the lines that ``--help`` says of them; of those that have
    none there, the command's own first line is shown, for which it is imported.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click's
        members: Mapping[str, str],
        texts: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **options)
        self._members, self._texts = members, texts or {}

    def and_also(self, members: Mapping[str, str]) -> Self:
        """Return this group with further members: commands that it shows and that lie above it, where it may not import."""
        return type(self)(name=self.name, help=self.help, members={**self._members, **members}, texts=self._texts)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all members."""
        return list(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a member."""
        if cmd_name not in self._members:
            return None
        module, _, name = self._members[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - a mistake in a table of members
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant. Of an unknown one, the error offers the names that are near to it.

        Raises:
            NoSuchCommand: there is none of this name.
        """
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:  # click knows no members but those that were imported
            raise NoSuchCommand(error.command_name, possibilities=self._members, ctx=ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the members; see the class."""
        if not self._texts:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._texts[name]) for name in self._members])
