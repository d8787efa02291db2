"""The arguments of GETMETADATA and SETMETADATA (RFC 5464, 5), and METADATA in LIST (RFC 9590)."""

from __future__ import annotations

import re

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import MAX_NUMBER, BadSyntax, Cursor

MAX_ENTRIES = 100  # of one command
_ENTRY = re.compile(rb"(?:/[^/*%\x00-\x1f\x7f-\xff]+)+")  # RFC 5464, 3.2
_OPTIONS = re.compile(rb"\((?=MAXSIZE |DEPTH )", re.IGNORECASE)
_DEPTHS = {"0": 0, "1": 1, "INFINITY": None}


def parse_get_metadata(cursor: Cursor, tag: bytes) -> c.Command:
    """Options stand before the mailbox (5), or behind it, as in the examples of 4.2."""
    cursor.space()
    options: dict[str, int | None] = {}
    if cursor.peek() == b"(":
        _options(cursor, options)
        cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    if _OPTIONS.match(cursor.text, cursor.pos) is not None:
        _options(cursor, options)
        cursor.space()
    if cursor.peek() == b"(":
        entries = entry_list(cursor)
    else:  # several without parentheses stand in an example of 4.4.1
        entries = (_entry(cursor),)
        while cursor.skip(b" "):
            entries += (_entry(cursor),)
    _check(len(entries))
    return c.GetMetadata(tag, mailbox, entries, options.get("DEPTH", 0), options.get("MAXSIZE"))


def parse_set_metadata(cursor: Cursor, tag: bytes) -> c.Command:
    """entry-values; an entry that is named twice is a mistake."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    values: list[tuple[str, bytes | None]] = []
    for _ in cursor.members():
        entry = _entry(cursor)
        cursor.space()
        values.append((entry, cursor.nstring8()))
    names = {entry.lower() for entry, _ in values}
    if len(names) != len(values):
        raise BadSyntax("Expected entries, each once")
    for name in names:
        if name.count("/") < (4 if re.match(r"/[a-z]+/vendor/", name) else 2):
            raise BadSyntax("Too few components in the name of an entry")
    _check(len(values))
    return c.SetMetadata(tag, mailbox, tuple(values))


def entry_list(cursor: Cursor) -> tuple[str, ...]:
    """ "(" entry *(SP entry) ")" """
    entries = [_entry(cursor) for _ in cursor.members()]
    _check(len(entries))
    return tuple(dict.fromkeys(entries))


def _check(count: int) -> None:
    if count > MAX_ENTRIES:
        raise BadSyntax("Too many entries")


def _entry(cursor: Cursor) -> str:
    entry = cursor.astring()
    if _ENTRY.fullmatch(entry) is None:
        raise BadSyntax("Invalid entry name")
    return entry.decode("ascii")


def _options(cursor: Cursor, options: dict[str, int | None]) -> None:
    for _ in cursor.members():
        name = cursor.word()
        cursor.space()
        if name == "MAXSIZE":
            options[name] = cursor.number(MAX_NUMBER)
        elif name == "DEPTH":
            depth = cursor.word()
            if depth not in _DEPTHS:
                raise BadSyntax("Expected 0, 1 or infinity")
            options[name] = _DEPTHS[depth]
        else:
            raise BadSyntax("Unknown option")
