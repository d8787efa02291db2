"""The arguments of SELECT, CREATE, RENAME and STATUS (RFC 4466, 2.1, 2.2; RFC 5819, 4; RFC 6154, 6)."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor
from mailserver.imap.grammar.modifiers import select_parameters

STATUS_ITEMS = frozenset(
    (
        "MESSAGES",
        "RECENT",
        "UIDNEXT",
        "UIDVALIDITY",
        "UNSEEN",  # RFC 3501, 6.3.10
        "APPENDLIMIT",  # RFC 7889, 3.1
        "DELETED",
        "DELETED-STORAGE",  # RFC 9208, 4.1.4
        "SIZE",  # RFC 8438, 3
        "MAILBOXID",  # RFC 8474, 4.3
        "HIGHESTMODSEQ",  # RFC 7162, 3.1.7
    )
)


def status_items(cursor: Cursor) -> tuple[str, ...]:
    """SP "(" status-att *(SP status-att) ")", each item once"""
    cursor.space()
    items = [cursor.word() for _ in cursor.members()]
    if any(item not in STATUS_ITEMS for item in items):
        raise BadSyntax("Unknown status item")
    return tuple(dict.fromkeys(items))


def parse_create(cursor: Cursor, tag: bytes) -> c.Command:
    """CREATE, with the special uses of the mailbox (RFC 6154, 3)."""
    cursor.space()
    mailbox = cursor.mailbox()
    if cursor.at_end():
        return c.Create(tag, mailbox)
    cursor.expect(b" (")
    if cursor.word() != "USE":
        raise BadSyntax("Unknown parameter")
    cursor.space()
    uses: list[str] = []
    for _ in cursor.members(or_none=True):
        cursor.expect(b"\\")
        uses.append("\\" + cursor.atom().decode("ascii"))
    cursor.expect(b")")
    return c.Create(tag, mailbox, tuple(uses))


def opening(make: type[c.Select | c.Examine]) -> Callable[[Cursor, bytes], c.Command]:
    def parse(cursor: Cursor, tag: bytes) -> c.Command:
        cursor.space()
        mailbox = cursor.mailbox()
        if cursor.at_end():
            return make(tag, mailbox)
        parameters = select_parameters(cursor)
        return make(tag, mailbox, parameters.condstore, parameters.qresync)

    return parse


def parse_rename(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    old = cursor.mailbox()
    cursor.space()
    return c.Rename(tag, old, cursor.mailbox())


def parse_status(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    return c.Status(tag, mailbox, status_items(cursor))


def mailbox_names(cursor: Cursor) -> tuple[str, ...]:
    """one-or-more-mailbox (RFC 5465, 8)"""
    if cursor.peek() != b"(":
        return (cursor.mailbox(),)
    return tuple(dict.fromkeys([cursor.mailbox() for _ in cursor.members()]))
