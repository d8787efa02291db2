"""Small edits of a users file as text: comments, order and spelling of everything else survive.

Each edit finds its lines by simple means, and is then proved: the new text is parsed, and must hold exactly
the old tables with the one change. Where it does not (inline tables, dotted keys, a value over several
lines) `CannotEdit` is raised and nothing was done.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from mailserver.errors import MailError
from mailserver.wire.address import normalise

_HEADER = re.compile(r"\s*\[.*\]\s*(?:#.*)?", re.DOTALL)
_VALUE = r"(\s*(?:{0}|\"{0}\"|'{0}')\s*=\s*)(\"[^\"\\]*\"|'[^']*'|[0-9_]+)(.*)"


class CannotEdit(Exception):
    """The file is written in a way that this module does not edit, or the user is (not) there already."""


def add_user(text: str, address: str, fields: dict[str, Any]) -> str:
    """A new [users."ADDRESS"] behind the last one. fields: password, aliases, quota … in this order."""
    tables = tomllib.loads(text)
    if _find(tables, address) is not None:
        raise CannotEdit(f"{address} is there already")
    lines = text.splitlines(keepends=True)
    block = [
        f"[users.{_string(address)}]\n",
        *(f"{key} = {_value(value)}\n" for key, value in fields.items()),
    ]
    at = _end_of_users(lines)
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    before = ["\n"] if at and lines[at - 1].strip() else []
    after = ["\n"] if at < len(lines) and lines[at].strip() else []
    expected = copy.deepcopy(tables)
    expected.setdefault("users", {})[address] = dict(fields)
    return _proved("".join([*lines[:at], *before, *block, *after, *lines[at:]]), expected)


def set_password(text: str, address: str, password: str) -> str:
    return set_values(text, address, {"password": password})


def set_values(text: str, address: str, values: Mapping[str, str | int]) -> str:
    """Other values of these keys in the user's table; comments behind them stay. A key that is not there yet
    comes behind the last one."""
    tables, name, lines, first, last = _locate(text, address)
    expected = copy.deepcopy(tables)
    expected["users"][name].update(values)
    for key, value in values.items():
        pattern = re.compile(_VALUE.format(re.escape(key)), re.DOTALL)
        for number in range(first + 1, last):
            match = pattern.fullmatch(lines[number])
            if match:
                lines[number] = match[1] + _value(value) + match[3]
                break
        else:
            at = _end_of_table(lines, first, last)
            if not lines[at - 1].endswith("\n"):
                lines[at - 1] += "\n"
            lines.insert(at, f"{key} = {_value(value)}\n")
            last += 1
    return _proved("".join(lines), expected)


def _end_of_table(lines: list[str], first: int, last: int) -> int:
    """The line behind the last one that says something; blank ones and comments belong to what follows."""
    while last > first + 1 and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")):
        last -= 1
    return last


def remove_user(text: str, address: str) -> str:
    """Without the user's table. Comments above it stay: nobody knows what they speak of."""
    tables, name, lines, first, last = _locate(text, address)
    expected = copy.deepcopy(tables)
    del expected["users"][name]
    rest = lines[_end_of_table(lines, first, last) :]
    if first and not lines[first - 1].strip():
        while rest and not rest[0].strip():
            rest.pop(0)
    if not expected["users"] and not any(_header(line) == {"users": {}} for line in lines):
        del expected["users"]
    return _proved("".join(lines[:first] + rest), expected)


def has_user(text: str, address: str) -> bool:
    """Does this file define the user? Raises tomllib.TOMLDecodeError."""
    return _find(tomllib.loads(text), address) is not None


def _find(tables: dict[str, Any], address: str) -> str | None:
    """The user's address as the file spells it."""
    users = tables.get("users")
    for name in users if isinstance(users, dict) else ():
        try:
            if normalise(name) == address:
                return str(name)
        except MailError:
            continue
    return None


def _locate(text: str, address: str) -> tuple[dict[str, Any], str, list[str], int, int]:
    """Tables, the user's spelling, lines, and the range of lines of the user's table."""
    tables = tomllib.loads(text)
    name = _find(tables, address)
    if name is None:
        raise CannotEdit(f"{address} is not there")
    lines = text.splitlines(keepends=True)
    headers = [number for number, line in enumerate(lines) if _header(line) is not None]
    for position, number in enumerate(headers):
        if _header(lines[number]) == {"users": {name: {}}}:
            last = headers[position + 1] if position + 1 < len(headers) else len(lines)
            return tables, name, lines, number, last
    raise CannotEdit(f"{address} has no table of its own, [users.{_string(name)}]")


def _end_of_users(lines: list[str]) -> int:
    """The line before which a new user goes: behind the last user's table, else at the end."""
    headers = [(number, header) for number, line in enumerate(lines) if (header := _header(line)) is not None]
    end = len(lines)
    users = [position for position, (_, header) in enumerate(headers) if "users" in header]
    if users and users[-1] + 1 < len(headers):
        end = headers[users[-1] + 1][0]
        while end and lines[end - 1].lstrip().startswith("#"):
            end -= 1  # comments above the next table belong to it
    while end and not lines[end - 1].strip():
        end -= 1
    return end


def _header(line: str) -> dict[str, Any] | None:
    """What a table header names, nested; None for other lines."""
    if not _HEADER.fullmatch(line):
        return None
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None


def _proved(text: str, expected: dict[str, Any]) -> str:
    try:
        good = tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        good = False
    if not good:
        raise CannotEdit(
            "the file is written in a way that cannot be edited safely from here (use an editor)"
        )
    return text


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return _string(value) if isinstance(value, str) else str(value)


def _string(text: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
