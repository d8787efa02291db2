"""What searching commands are to return (RFC 4466, 2.6.1; RFC 4731; RFC 9394)."""

from __future__ import annotations

import re

from mailserver.imap.grammar.cursor import MAX_NUMBER, BadSyntax, Cursor
from mailserver.imap.values import PartialRange, Returning

_OPTIONS = frozenset(("MIN", "MAX", "ALL", "COUNT", "SAVE", "UPDATE", "CONTEXT"))
_PARTIAL = re.compile(rb"([1-9][0-9]{0,9}):([1-9][0-9]{0,9})|(-[1-9][0-9]{0,9}):(-[1-9][0-9]{0,9})")


def return_options(cursor: Cursor) -> Returning | None:
    """ "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP, None where it does not stand here.
    No option at all means ALL (RFC 4731, 3.1)."""
    if cursor.text[cursor.pos : cursor.pos + 7].upper() != b"RETURN ":
        return None
    cursor.pos += 7
    options: set[str] = set()
    partial: PartialRange | None = None
    for _ in cursor.members(or_none=True):
        name = cursor.word()
        if name == "PARTIAL":
            cursor.space()
            if partial is not None:
                raise BadSyntax("More than one PARTIAL")
            partial = partial_range(cursor)
        elif name not in _OPTIONS:
            raise BadSyntax("Unknown return option")
        options.add(name)
    cursor.space()
    if {"PARTIAL", "ALL"} <= options:  # RFC 9394, 3.1
        raise BadSyntax("PARTIAL and ALL exclude one another")
    return Returning(frozenset(options or ("ALL",)), partial)


def partial_range(cursor: Cursor) -> PartialRange:
    """RFC 9394, 4"""
    match = _PARTIAL.match(cursor.text, cursor.pos)
    if match is None:
        raise BadSyntax("Expected a range")
    cursor.pos = match.end()
    first, last = (int(number) for number in match.groups() if number is not None)
    if max(abs(first), abs(last)) > MAX_NUMBER:
        raise BadSyntax("Number too large")
    return PartialRange(first, last)
