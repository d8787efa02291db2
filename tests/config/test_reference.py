"""docs/configuration.rst: every key with its true default and time of change, every event, every command."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailserver.audit import EVENTS
from mailserver.cli import COMMANDS
from mailserver.config.load import DEFAULT_DATA_DIR
from mailserver.config.schema import Config, Domain
from mailserver.config.units import format_size, format_time
from mailserver.config.watch import RESTART
from tests.config.test_samples import TABLES, schema_keys

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "configuration.rst").read_text("utf-8")


def rows() -> Iterator[tuple[str, list[str]]]:
    """Section and the first line's cells of every table row that begins with ``a literal``."""
    section, lines = "", TEXT.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"} and len(below) == len(line):
            section = line
        elif line.startswith("``") and "  " in line:
            yield section, re.split(r" {2,}", line)


def key_rows() -> dict[str, list[str]]:
    """Dotted keys, as in the file, and the cells behind them."""
    found = {}
    for section, (name, *cells) in rows():
        table = "" if section == "Top level" else re.split(r"[\[\].]", section.strip("["))[0] + "."
        if section == "Top level" or section.startswith("["):
            key = name.strip("`")
            if re.fullmatch(r"[a-z_0-9.]+", key):
                found[table + key] = cells
    return found


KEYS = key_rows()


def test_every_key_of_the_schema_is_explained_and_no_other() -> None:
    assert set(KEYS) - set(TABLES) == schema_keys()
    assert set(TABLES) <= set(KEYS)


def shown(value: Any) -> set[str]:
    """How a default may be written."""
    if isinstance(value, bool):
        return {str(value).lower()}
    if isinstance(value, float):
        return {format_time(value), f"{value:g}"}
    if isinstance(value, int):
        return {format_size(value), str(value)}
    if isinstance(value, tuple):
        return {" ".join(one if isinstance(one, str) else format_time(one) for one in value) or "[]"}
    return {"none", "self-signed", "the system's"} if not value else {str(value), f'"{value}"'}


def defaults() -> Iterator[tuple[str, Any]]:
    for field in attrs.fields(Config):
        if attrs.has(type(field.default)):
            for name, value in attrs.asdict(field.default, recurse=False).items():
                yield f"{field.name}.{name}", value
    yield "data_dir", DEFAULT_DATA_DIR
    yield "workers", Config("h", Path(), ()).workers
    yield "domains.subaddress", Domain("d").subaddress


@pytest.mark.parametrize(("key", "value"), list(defaults()))
def test_the_default_is_the_true_one(key: str, value: Any) -> None:
    if key in TABLES:
        assert not value
    elif key == "log.file":
        assert value is None
    else:
        assert KEYS[key][1] in shown(value)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_what_makes_a_change_count(key: str) -> None:
    assert KEYS[key][2] == ("restart" if key.partition(".")[0] in RESTART else "reload")


# --- events ----------------------------------------------------------------------------------------


def fields_in_code() -> dict[str, set[str]]:
    """Event to the names of all fields that some call gives it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "mailserver").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr == "event":
                assert isinstance(node, ast.Call)
                name = ast.literal_eval(node.args[0])
                found[name].update(keyword.arg or "**" for keyword in node.keywords)
    for fields in found.values():
        if "**" in fields:  # queue.manager: what the outcomes have in common
            fields.remove("**")
            fields.update(("id", "to"))
    return found


def test_every_event_has_its_fields() -> None:
    told = {
        name.strip("`"): set(cells[0].split())
        for section, (name, *cells) in rows()
        if section == "The event log"
    }
    assert told == fields_in_code()
    assert set(told) == set(EVENTS)


def test_every_command_is_named() -> None:
    for command in COMMANDS:
        assert f"``mailserver {command}" in TEXT
