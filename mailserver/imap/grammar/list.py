"""The arguments of LIST and LSUB (RFC 3501, 6.3.8; RFC 5258, 6; RFC 5819, 4; RFC 9590, 5)."""

from __future__ import annotations

from mailserver.errors import LimitReached
from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor
from mailserver.imap.grammar.mailboxes import status_items
from mailserver.imap.grammar.metadata import entry_list

MAX_PATTERNS = 100
CRITERIA = ("SUBSCRIBED", "SPECIAL-USE")  # selection options that select by themselves
_SELECTION = frozenset((*CRITERIA, "REMOTE", "RECURSIVEMATCH"))
_RETURN = frozenset(("SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS", "MYRIGHTS", "METADATA"))


def parse_list(cursor: Cursor, tag: bytes) -> c.Command:
    """LIST in its plain form, or in the form of RFC 5258, told by options or by patterns in parentheses."""
    cursor.space()
    selection = _selection(cursor) if cursor.peek() == b"(" else None
    reference = cursor.mailbox()
    cursor.space()
    several = cursor.peek() == b"("
    patterns = _patterns(cursor) if several else (cursor.list_mailbox(),)
    if selection is None and not several and cursor.at_end():
        return c.List(tag, reference, patterns[0])
    returned, status, metadata = (frozenset[str](), (), ()) if cursor.at_end() else _returned(cursor)
    return c.ListExtended(tag, reference, patterns, selection or frozenset(), returned, status, metadata)


def parse_lsub(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    return c.Lsub(tag, reference, cursor.list_mailbox())


def _selection(cursor: Cursor) -> frozenset[str]:
    """list-select-opts, and the space behind it"""
    options = {_option(cursor, _SELECTION) for _ in cursor.members(or_none=True)}
    if "RECURSIVEMATCH" in options and options.isdisjoint(CRITERIA):
        raise BadSyntax("RECURSIVEMATCH needs another selection option")
    cursor.space()
    return frozenset(options)


def _patterns(cursor: Cursor) -> tuple[str, ...]:
    """Raises LimitReached: each pattern costs a look at every name."""
    patterns = [cursor.list_mailbox() for _ in cursor.members()]
    if len(patterns) > MAX_PATTERNS:
        raise LimitReached
    return tuple(patterns)


def _returned(cursor: Cursor) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    """SP list-return-opts: the options, the items of STATUS, and the entries of METADATA (RFC 9590, 5)"""
    cursor.space()
    if cursor.word() != "RETURN":
        raise BadSyntax("Expected RETURN")
    cursor.space()
    options: set[str] = set()
    items: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    for _ in cursor.members(or_none=True):
        option = _option(cursor, _RETURN)
        options.add(option)
        if option == "STATUS":
            items = status_items(cursor)
        if option == "METADATA":
            cursor.space()
            entries = entry_list(cursor)
    return frozenset(options), items, entries


def _option(cursor: Cursor, known: frozenset[str]) -> str:
    option = cursor.word()
    if option not in known:
        raise BadSyntax("Unknown option")
    return option
