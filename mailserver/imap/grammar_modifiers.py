"""What may stand in parentheses in SELECT and STORE (RFC 4466, 2.1, 2.5; RFC 7162, 7), each once at most."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.imap.cursor import MAX_MODSEQ, BadSyntax, Cursor


def select_parameters(cursor: Cursor) -> bool:
    """SP select-params: is CONDSTORE among them?"""
    cursor.space()
    found: set[str] = set()
    _list(cursor, found, {"CONDSTORE": lambda: None})
    return "CONDSTORE" in found


def store_modifiers(cursor: Cursor) -> int | None:
    """store-modifiers SP: the mod-sequence of UNCHANGEDSINCE, which may be 0."""
    since: list[int] = []
    _list(cursor, set(), {"UNCHANGEDSINCE": lambda: since.append(_modseq(cursor))})
    cursor.space()
    return since[0] if since else None


def _modseq(cursor: Cursor) -> int:
    cursor.space()
    return cursor.number(MAX_MODSEQ)


def _list(cursor: Cursor, found: set[str], known: dict[str, Callable[[], None]]) -> None:
    """ "(" name [arguments] *(SP name [arguments]) ")" with the arguments taken by `known`."""
    cursor.expect(b"(")
    while True:
        name = cursor.word()
        take = known.get(name)
        if take is None or name in found:
            raise BadSyntax("Unknown or repeated parameter")
        found.add(name)
        take()
        if cursor.skip(b")"):
            return
        cursor.space()
