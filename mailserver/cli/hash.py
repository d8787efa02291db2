"""`mailserver hash`: a password to what stands in a users file."""

from __future__ import annotations

import click

from mailserver.auth.passwords import SCHEMES, hash_password
from mailserver.cli.common import ask_password, fail, json_option, print_json


@click.command("hash")
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default=SCHEMES[0],
    show_default=True,
    help="scram-sha-256 lets clients log in with SCRAM, which argon2id cannot.",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
@json_option
def hash_command(scheme: str, password_stdin: bool, as_json: bool) -> None:
    """Print the hash of a password, to be pasted into users.toml.

    \b
    Examples:
      mailserver hash
      pass show mail/alice | mailserver hash --password-stdin

    `mailserver user add` and `mailserver user passwd` do this and edit the file too.
    """
    try:
        hashed = hash_password(ask_password(password_stdin), scheme)
    except ValueError as error:
        fail(str(error))
    if as_json:
        print_json({"scheme": scheme, "hash": hashed})
    else:
        click.echo(hashed)
