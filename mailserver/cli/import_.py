"""`mailserver import imap`: an account from another server."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

import click

from mailserver.cli.common import fail
from mailserver.cli.group import Group
from mailserver.cli.transfers import How, bring_in, bringing_options, opened
from mailserver.config.auth import LOOPBACK
from mailserver.transfer.imap_client import Server
from mailserver.transfer.imap_source import ImapSource

PORTS = {"implicit": 993, "starttls": 143, "none": 143}


@click.group("import", cls=Group)
def import_group() -> None:
    """Bring accounts along from other servers. (From files: mailserver mailbox import.)

    \b
    Examples:
      mailserver import imap alice@example.org --host imap.old.example --dry-run
      mailserver import imap alice@example.org --host imap.old.example --login alice --password-file pw
    """


@import_group.command("imap")
@click.argument("user", metavar="USER")
@click.option("--host", required=True, metavar="HOST", help="The other server.")
@click.option("--port", type=click.IntRange(1, 65535), help="993, or 143 with --tls starttls.")
@click.option(
    "--tls",
    type=click.Choice(tuple(PORTS)),
    default="implicit",
    show_default=True,
    help="none is for a server on this machine only.",
)
@click.option("--login", metavar="NAME", help="The name to log in with there; default: USER.")
@click.option("--password-file", metavar="FILE", help="Its first line is the password; - is standard input.")
@click.option("--password-env", metavar="VARIABLE", help="The environment variable with the password.")
@click.option("--token-file", metavar="FILE", help="An OAuth access token instead of a password (XOAUTH2).")
@click.option(
    "--authority",
    type=click.Path(exists=True, dir_okay=False),
    metavar="PEM",
    help="Who signs the certificate there; default: the system's authorities.",
)
@click.option(
    "--any-certificate", is_flag=True, help="Take any certificate: whoever is between can read all."
)
@bringing_options(into="A folder under which all goes.")
def imap_command(
    user: str,
    *,
    host: str,
    port: int | None,
    tls: str,
    login: str | None,
    password_file: str | None,
    password_env: str | None,
    token_file: str | None,
    authority: str | None,
    any_certificate: bool,
    how: How,
) -> None:
    """Copy an account from another IMAP server into USER's.

    Messages come with flags, keywords and dates, folders with their names; those for drafts, sent mail, junk,
    trash and archive go to ours, whatever they are called there. Folders that only show what is in others
    (All Mail, Starred) are passed over. Nothing is changed on the other server.

    An import that was interrupted goes on where it was when the same command is run again, and a later one
    only fetches what is new: copy first, switch over, copy once more. The server may run meanwhile.

    The password is asked for at the terminal, or read from a file or a variable; never give it as an
    argument.

    \b
    Examples:
      mailserver import imap alice@example.org --host imap.old.example
      mailserver import imap alice@example.org --host imap.old.example --login alice --password-file pw
      mailserver import imap alice@example.org --host old --tls starttls --folder 'Lists/*' --dry-run

    Exit status 0: all is there; 1: something is not, and what and why is told.
    """
    if tls == "none" and host not in LOOPBACK:
        fail(f"{host} is not this machine: the password would go in clear (--tls implicit or starttls)")
    with opened(how.config, user) as account:
        name = login or account.user
        token = _first_line(token_file) if token_file else ""
        password = "" if token else _password(password_file, password_env, f"Password of {name} at {host}")
        server = Server(
            host, port or PORTS[tls], name, password, token, tls, _context(authority, any_certificate)
        )
        special = {one.special_use: one.name for one in account.folders() if one.special_use}
        limit = account.settings.now.limits.message_size
        source = ImapSource(server, limit, special=special, into=how.into, texts=not how.dry)
        bring_in(source, account, how)


def _context(authority: str | None, any_certificate: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authority)
    except (ssl.SSLError, OSError):
        fail(f"{authority} holds no PEM certificate")
    if any_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _password(file: str | None, variable: str | None, what: str) -> str:
    if file:
        return _first_line(file)
    if variable:
        found = os.environ.get(variable)
        return found if found is not None else fail(f"there is no environment variable {variable}")
    if not sys.stdin.isatty():
        fail("no terminal to ask for the password (--password-file or --password-env)")
    asked: str = click.prompt(what, hide_input=True, err=True)
    return asked


def _first_line(file: str) -> str:
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {getattr(error, 'strerror', None) or 'is not UTF-8'}")
    return text.partition("\n")[0].removesuffix("\r")
