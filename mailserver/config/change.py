"""[disk] One user of a users file gets other values, while a server runs: written only where the server would
take the result, comments and order kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mailserver.config.edit import CannotEdit, has_user, set_values
from mailserver.config.load import read_users_again
from mailserver.config.problems import ConfigError
from mailserver.config.replace import edit_file
from mailserver.config.schema import Config, Users
from mailserver.errors import MailError


def change_user(config: Config, address: str, values: Mapping[str, str | int]) -> Users:
    """All users as they are then. Raises MailError, and nothing was changed."""
    try:
        file = _file_of(config, address)
        found: list[Users] = []

        def changed(text: str) -> str:
            new = set_values(text, address, values)
            found.append(read_users_again(config, {file: new.encode("utf-8")}))
            return new

        edit_file(file, changed)
    except (ConfigError, CannotEdit, OSError, ValueError) as error:
        raise MailError("The users file cannot be changed", imap="CANNOT", cause=error) from error
    return found[0]


def _file_of(config: Config, address: str) -> Path:
    for file in config.users_files:
        if has_user(file.read_text("utf-8"), address):
            return file
    raise CannotEdit(f"{address} is in no users file")
