"""From parsed TOML to the values of `schema`, every fault noted and none hiding another.

A `Table` is one TOML table with what is needed to complain about it: the file, the dotted key, the report.
`Table.value` reads one key; a value that is wrong is reported and replaced by the default, so that the walk
goes on. `Table.finish` reports the keys that nobody asked for. `section` reads a whole attrs class by the
types of its fields.

(A plain walker instead of cattrs: its faults carry the TOML key, the accepted form and the nearest known
key without a second pass over nested exception groups.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from mailserver.config.problems import Report, dotted, kind, nearest
from mailserver.config.schema import Auth, Imap, Limits, Listen, Log, Proxy, Relay, Search, Tls
from mailserver.config.units import parse_size, parse_time

T = TypeVar("T")
Schema = TypeVar("Schema", bound=attrs.AttrsInstance)
Reader = Callable[[Any], T]


class Table:
    """One TOML table. Keys are read once each; what is left at `finish` is unknown."""

    def __init__(self, raw: Mapping[str, Any], report: Report, file: Path, *path: str | int) -> None:
        self.raw = raw
        self.report = report
        self.file = file
        self.path = path
        self._known: dict[str, None] = {}

    def key(self, *parts: str | int) -> str:
        return dotted(*self.path, *parts)

    def fault(self, text: str, *parts: str | int) -> None:
        self.report.fault(self.file, self.key(*parts), text)

    def warn(self, text: str, *parts: str | int) -> None:
        self.report.warn(self.file, self.key(*parts), text)

    def value(self, name: str, read: Reader[T], default: T) -> T:
        """The key's value as `read` makes it; the default where the key is absent or wrong."""
        self._known[name] = None
        if name not in self.raw:
            return default
        try:
            return read(self.raw[name])
        except ValueError as error:
            self.fault(str(error), name)
            return default

    def items(self, name: str, read: Reader[T], default: tuple[T, ...] = ()) -> tuple[T, ...]:
        """A list, each item read on its own; wrong items are reported and left out."""
        self._known[name] = None
        if name not in self.raw:
            return default
        raw = self.raw[name]
        if not isinstance(raw, list):
            self.fault(f"expected a list, got {kind(raw)}", name)
            return default
        done: list[T] = []
        for number, item in enumerate(raw):
            try:
                done.append(read(item))
            except ValueError as error:
                self.fault(str(error), name, number)
        return tuple(done)

    def table(self, name: str) -> Table | None:
        """A table below this one; None where it is absent (an empty one is not)."""
        self._known[name] = None
        if name not in self.raw:
            return None
        raw = self.raw[name]
        if not isinstance(raw, dict):
            self.fault(f"expected a table, got {kind(raw)}", name)
            return None
        return Table(raw, self.report, self.file, *self.path, name)

    def tables(self) -> dict[str, Table]:
        """Every key of this table as a table: `[users."…"]`, `[domains."…"]`."""
        return {name: table for name in self.raw if (table := self.table(name)) is not None}

    def finish(self) -> None:
        """Report unknown keys, with the known one that is nearest."""
        for name in self.raw:
            if name in self._known:
                continue
            close = nearest(name, self._known)
            if close is None and name in _SECTION_OF_KEY and len(self.path) < 2:
                hint = f"it belongs in [{_SECTION_OF_KEY[name]}]"
            elif close is None:
                hint = "accepted: " + ", ".join(self._known)
            else:
                hint = f'did you mean "{close}"?'
            self.fault(f"unknown key ({hint})", name)


# --- readers of single values ---------------------------------------------------------------------


def text(value: object) -> str:
    """A string on one line."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {kind(value)}")
    if not value.isprintable():
        raise ValueError(f"{value!r} has control characters (printable text)")
    return value


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {kind(value)}")
    return value


def count(least: int = 1, most: int = 2**31 - 1) -> Reader[int]:
    """A whole number within bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a number, got {kind(value)} ({least} to {most})")
        if not least <= value <= most:
            raise ValueError(f"{value} is out of range ({least} to {most})")
        return value

    return read


def size(least: int = 0) -> Reader[int]:
    """Octets, at least so many."""

    def read(value: object) -> int:
        octets = parse_size(value)
        if octets < least:
            raise ValueError(f"{value!r} is too small (at least {least} octets)")
        return octets

    return read


def time(least: float = 0.0) -> Reader[float]:
    """Seconds, at least so many."""

    def read(value: object) -> float:
        seconds = parse_time(value)
        if seconds < least:
            raise ValueError(f"{value!r} is too short (at least {least:g}s)")
        return seconds

    return read


def one_of(*accepted: str) -> Reader[str]:
    def read(value: object) -> str:
        if value not in accepted:
            shown = " or ".join(f'"{word}"' for word in accepted)
            raise ValueError(f"{value!r} is not possible ({shown})")
        return str(value)

    return read


def path_below(base: Path) -> Reader[Path]:
    """A path, relative to the file it stands in. Symbolic links stay: where they lead may change."""

    def read(value: object) -> Path:
        written = text(value)
        if not written:
            raise ValueError("an empty path (leave the key out for its default)")
        return Path(os.path.abspath(base / os.path.expanduser(written)))

    return read


def section(
    table: Table | None, schema: type[Schema], readers: Mapping[str, Reader[Any]], **given: Any
) -> Schema:
    """An attrs class whose fields are simple values: int is a count, float a time, by default. `given`:
    values of fields that were read otherwise."""
    if table is None:
        return schema()
    values = dict(given)
    for field in attrs.fields(schema):
        if field.name in given:
            continue
        read = readers.get(field.name) or _BY_TYPE[str(field.type)]
        values[field.name] = table.value(field.name, read, field.default)
    return schema(**values)


_SECTION_OF_KEY = {
    field.name: name
    for name, schema in (
        ("listen", Listen),
        ("tls", Tls),
        ("auth", Auth),
        ("imap", Imap),
        ("limits", Limits),
        ("search", Search),
        ("relay", Relay),
        ("proxy", Proxy),
        ("log", Log),
    )
    for field in attrs.fields(schema)
}
_BY_TYPE: dict[str, Reader[Any]] = {
    "int": count(),
    "float": time(1.0),
    "bool": boolean,
    "str": text,
}
