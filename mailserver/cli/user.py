"""`mailserver user list|add|passwd|remove`: people, and the users file they stand in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mailserver.auth.passwords import hash_password
from mailserver.cli.common import (
    ask_password,
    config_option,
    fail,
    json_option,
    load_or_exit,
    new_password,
    print_json,
    show_problems,
)
from mailserver.cli.group import Group
from mailserver.config.edit import CannotEdit, add_user, has_user, remove_user, set_password, set_values
from mailserver.config.load import read, read_without_users
from mailserver.config.problems import ConfigError
from mailserver.config.replace import edit_file
from mailserver.config.schema import Config
from mailserver.config.units import format_size, parse_size
from mailserver.errors import MailError
from mailserver.wire.address import normalise

stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of stdin."
)
quota_option = click.option(
    "--quota", metavar="SIZE", help='As "5 GiB", "0": no limit; default: limits.quota of the configuration.'
)
messages_option = click.option(
    "--quota-messages",
    type=click.IntRange(0),
    help="Number of messages, 0: any; default: limits.quota_messages.",
)
generate_option = click.option("--generate", is_flag=True, help="Make a password up and print it.")


@click.group(cls=Group)
def user() -> None:
    """List, add and remove users; change passwords and quotas.

    The commands edit the users file, whose comments and order survive. The running server sees the edit
    within five seconds; no reload is needed. You may as well edit the file by hand.

    \b
    Examples:
      mailserver user add carol@example.org
      mailserver user add dave@example.org --generate --alias d@example.org --quota "2 GiB"
      mailserver user passwd carol@example.org
      mailserver user list --json
    """


@user.command("list")
@config_option
@json_option
def list_users(config: Path, as_json: bool) -> None:
    """List the users: address, quota in octets and in messages, aliases."""
    loaded = load_or_exit(config)
    limits = loaded.config.limits
    rows: list[dict[str, Any]] = [
        {
            "address": one.address,
            "aliases": list(one.aliases),
            "quota": limits.quota if one.quota is None else one.quota,
            "quota_messages": (limits.quota_messages if one.quota_messages is None else one.quota_messages),
            "disabled": one.disabled,
        }
        for one in loaded.users.users.values()
    ]
    if as_json:
        print_json(rows)
        return
    width = max((len(row["address"]) for row in rows), default=0)
    for row in rows:
        quota = format_size(row["quota"]) if row["quota"] else "-"
        if row["quota_messages"]:
            quota += f" {row['quota_messages']}"
        note = " disabled" if row["disabled"] else ""
        click.echo(f"{row['address']:<{width}}  {quota:>18}{note}  {' '.join(row['aliases'])}".rstrip())


@user.command("add")
@config_option
@click.argument("address")
@click.option(
    "--alias", "aliases", multiple=True, metavar="ADDRESS", help="Another address; may be repeated."
)
@quota_option
@messages_option
@stdin_option
@generate_option
@json_option
def add(
    *,
    config: Path,
    address: str,
    aliases: tuple[str, ...],
    quota: str | None,
    quota_messages: int | None,
    password_stdin: bool,
    generate: bool,
    as_json: bool,
) -> None:
    """Add a user. The mailbox is made when the first message or log-in comes.

    \b
    Examples:
      mailserver user add carol@example.org
      echo "$PASSWORD" | mailserver user add carol@example.org --password-stdin
    """
    site = _Site(config)
    key = _address(address)
    if site.find(key) is not None:
        fail(f"{key} is there already")
    fields: dict[str, Any] = {"password": ""}
    if aliases:
        fields["aliases"] = [_address(alias) for alias in aliases]
    fields |= _quotas(quota, quota_messages)
    password = _password(password_stdin, generate)
    fields["password"] = _hash(password)
    site.edit(site.config.users_files[0], lambda text: add_user(text, key, fields))
    _done("added", key, password if generate else None, as_json)


@user.command("passwd")
@config_option
@click.argument("address")
@stdin_option
@generate_option
@json_option
def passwd(config: Path, address: str, password_stdin: bool, generate: bool, as_json: bool) -> None:
    """Change a user's password. Log-ins with the old one end within five seconds.

    \b
    Examples:
      mailserver user passwd carol@example.org
      mailserver user passwd carol@example.org --generate
    """
    site = _Site(config)
    key = _address(address)
    file = site.find(key)
    if file is None:
        fail(f"{key} is not there")
    password = _password(password_stdin, generate)
    hashed = _hash(password)
    site.edit(file, lambda text: set_password(text, key, hashed))
    _done("changed", key, password if generate else None, as_json)


@user.command("quota")
@config_option
@click.argument("address")
@quota_option
@messages_option
@json_option
def quota(config: Path, address: str, quota: str | None, quota_messages: int | None, as_json: bool) -> None:
    """Change how much a user may keep. In force within five seconds.

    \b
    Examples:
      mailserver user quota carol@example.org --quota "10 GiB"
      mailserver user quota carol@example.org --quota-messages 0
    """
    fields = _quotas(quota, quota_messages)
    if not fields:
        raise click.UsageError("--quota, --quota-messages or both")
    site = _Site(config)
    key = _address(address)
    file = site.find(key)
    if file is None:
        fail(f"{key} is not there")
    site.edit(file, lambda text: set_values(text, key, fields))
    _done("changed", key, None, as_json)


@user.command("remove")
@config_option
@click.argument("address")
@json_option
def remove(config: Path, address: str, as_json: bool) -> None:
    """Remove a user. The mail stays on the disk, under data_dir/mail/; new mail is refused.

    (To shut a user out and keep receiving, write `disabled = true` into the users file.)
    """
    site = _Site(config)
    key = _address(address)
    file = site.find(key)
    if file is None:
        fail(f"{key} is not there")
    site.edit(file, lambda text: remove_user(text, key))
    _done("removed", key, None, as_json)


class _Site:
    """The configuration, and edits of its users files that are checked before they are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.config: Config = read_without_users(path)
        except ConfigError as error:
            show_problems(error.problems)
            raise SystemExit(1) from None

    def find(self, address: str) -> Path | None:
        """The users file that defines the user."""
        for file in self.config.users_files:
            try:
                if has_user(file.read_text("utf-8"), address):
                    return file
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                fail(f"{file}: {error}")
        return None

    def edit(self, file: Path, change: Callable[[str], str]) -> None:
        def checked(text: str) -> str:
            new = change(text)
            for warning in read(self.path, {file: new.encode("utf-8")}).warnings:
                if warning.file == file:
                    show_problems([warning])
            return new

        try:
            edit_file(file, checked)
        except ConfigError as error:
            show_problems(error.problems)
            fail("nothing was changed: the server would not take it")
        except (CannotEdit, OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            fail(f"{file}: {error}")
        except MailError as error:
            fail(f"{file}: {error.cause or error}")


def _address(written: str) -> str:
    try:
        return normalise(written)
    except MailError:
        raise click.UsageError(f"{written!r} is not an address (local-part@domain)") from None


def _quotas(size: str | None, messages: int | None) -> dict[str, str | int]:
    """What a users file says of what was asked for."""
    fields: dict[str, str | int] = {}
    if size is not None:
        try:
            parse_size(size)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        fields["quota"] = size
    if messages is not None:
        fields["quota_messages"] = messages
    return fields


def _password(from_stdin: bool, generate: bool) -> str:
    if from_stdin and generate:
        raise click.UsageError("--password-stdin or --generate, not both")
    return new_password() if generate else ask_password(from_stdin)


def _hash(password: str) -> str:
    try:
        return hash_password(password)
    except ValueError as error:
        fail(str(error))


def _done(what: str, address: str, password: str | None, as_json: bool) -> None:
    if as_json:
        value = {"address": address, "result": what}
        print_json(value | {"password": password} if password else value)
    else:
        click.echo(f"{what} {address}" + (f", password {password}" if password else ""))
