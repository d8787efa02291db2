"""What the subcommands share: the -c and --json options, loading, failing, printing, asking."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from mailserver.config.load import Loaded, read
from mailserver.config.problems import ConfigError, Problem
from mailserver.errors import BadAddress
from mailserver.wire.address import normalise

DEFAULT_CONFIG = "/etc/mailserver/mailserver.toml"
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that look alike


def default_config() -> str:
    """$MAILSERVER_CONFIG, or /etc/mailserver/mailserver.toml."""
    return os.environ.get("MAILSERVER_CONFIG") or DEFAULT_CONFIG


config_option: Callable[[Any], Any] = click.option(
    "-c",
    "--config",
    "config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=default_config,
    show_default="$MAILSERVER_CONFIG, or " + DEFAULT_CONFIG,
    help="The server's configuration file.",
)
json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)


def load_or_exit(path: Path) -> Loaded:
    """The configuration; where it is faulty its problems on stderr, and exit status 1."""
    try:
        return read(path)
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(1) from None


def show_problems(problems: Iterable[Problem]) -> None:
    """One line each on stderr."""
    for problem in problems:
        click.echo(f"{'warning: ' if problem.warning else ''}{problem}", err=True)


def fail(text: str) -> NoReturn:
    """Say why it was not done, exit status 1."""
    click.echo(f"mailserver: {text}", err=True)
    raise SystemExit(1)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_list(values: Iterable[object]) -> None:
    """The same of a list that need not be in memory as a whole."""
    before = "["
    for value in values:
        text = json.dumps([value], indent=2, ensure_ascii=False)
        click.echo(before + text[1:-2], nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")


def new_password() -> str:
    """Twenty letters and digits in groups, 99 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def ask_password(from_stdin: bool, what: str = "Password") -> str:
    """From the first line of standard input, or typed twice at a terminal."""
    if from_stdin:
        line = sys.stdin.readline()
        password = line.removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        password = click.prompt(what, hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError("standard input is no terminal: use --password-stdin")
    if not password:
        fail("an empty password is none")
    if "\0" in password:
        fail("a password cannot hold a NUL (RFC 4616)")
    return password


def the_user(loaded: Loaded, written: str, way_out: str) -> str:
    """The user's address; the local part will do where there is one domain. Ends the command for nobody.
    `way_out`: the command that helps; {} in it stands for the address."""
    domains = list(loaded.config.domains)
    address = written if "@" in written or len(domains) != 1 else f"{written}@{domains[0]}"
    try:
        address = normalise(address)
    except BadAddress:
        fail(f"{written!r} is no address of a user")
    if address not in loaded.users.users:
        fail(f"{address} is no user ({way_out.format(address)})")
    return address
