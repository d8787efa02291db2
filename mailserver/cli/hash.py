"""`mailserver hash`: a password to what stands in a users file."""

from __future__ import annotations

import click

from mailserver.auth.passwords import hash_password
from mailserver.cli.common import ask_password, json_option, print_json


@click.command("hash")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
@json_option
def hash_command(password_stdin: bool, as_json: bool) -> None:
    """Print the hash (argon2id) of a password, to be pasted into users.toml.

    \b
    Examples:
      mailserver hash
      pass show mail/alice | mailserver hash --password-stdin

    `mailserver user add` and `mailserver user passwd` do this and edit the file too.
    """
    hashed = hash_password(ask_password(password_stdin))
    if as_json:
        print_json({"hash": hashed})
    else:
        click.echo(hashed)
