"""A command with subcommands, which says so where an option of theirs stands in front of them."""

from __future__ import annotations

import click

_BEHIND = ("-c", "--config", "--json")


class Group(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in _BEHIND:
                raise
            raise click.UsageError(f"{error.option_name} goes behind the command.", ctx) from None
