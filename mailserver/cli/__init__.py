"""The administrator's command, `mailserver`: one module per subcommand, loaded when it is asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import click

from mailserver import __version__
from mailserver.cli.group import Group

COMMANDS = {
    "check": "mailserver.cli.check:check",
    "demo": "mailserver.cli.demo:demo",
    "hash": "mailserver.cli.hash:hash_command",
    "import": "mailserver.cli.import_:import_group",
    "mailbox": "mailserver.cli.mailbox:mailbox",
    "queue": "mailserver.cli.queue:queue",
    "quickstart": "mailserver.cli.quickstart:quickstart",
    "reload": "mailserver.cli.reload:reload",
    "user": "mailserver.cli.user:user",
}


class _Lazy(Group):
    """Imports a subcommand's module at its first use, so that `mailserver hash` loads no DNS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """With what may have been meant, which click looks for among the commands that are loaded."""
        near = get_close_matches(args[0], COMMANDS, 1)
        if near and args[0] not in COMMANDS:
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mailserver")
def _command() -> None:
    """Set up and look after a mail server.

    \b
    A first server:
      mailserver quickstart example.org          writes mailserver.toml and users.toml here
      mailserver check -c mailserver.toml        says whether they are right
      twistd -n mailserver -c mailserver.toml    runs the server
      mailserver import imap alice@example.org --host imap.old.example
                                                 brings an account along from another server
    \b
    Every day:
      mailserver user add carol@example.org      asks for a password
      mailserver queue list                      mail that waits for other servers
      mailserver mailbox verify --all            whether indexes and files agree
      mailserver reload                          after an edit of mailserver.toml

    Without -c the configuration is $MAILSERVER_CONFIG, or else /etc/mailserver/mailserver.toml.
    Exit status: 0 done, 1 not done, 2 the command was misused.
    """


def main() -> None:
    """The console script."""
    _command(prog_name="mailserver")
