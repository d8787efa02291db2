"""The arguments of FETCH, STORE, COPY and MOVE (RFC 3501, 6.4; 9: fetch, store, copy)."""

from __future__ import annotations

import re

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor
from mailserver.imap.grammar.fetch import asked_for, known_to_ask
from mailserver.imap.grammar.modifiers import store_modifiers
from mailserver.imap.values import SequenceSet
from mailserver.interfaces import StoreMode


def _numbers(cursor: Cursor) -> SequenceSet:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    return numbers


def parse_fetch(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    numbers = _numbers(cursor)
    rest = cursor.take_rest()
    items, modifiers = asked_for(cursor, uid) if rest is None else known_to_ask(rest, cursor.dialect, uid)
    return c.Fetch(tag, numbers, items, uid, modifiers.partial, modifiers.changed_since, modifiers.vanished)


_STORE_ITEM = re.compile(rb"([+-]?FLAGS)(\.SILENT)? ", re.IGNORECASE)


def parse_store(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    numbers = _numbers(cursor)
    unchanged_since = store_modifiers(cursor) if cursor.peek() == b"(" else None
    item = _STORE_ITEM.match(cursor.text, cursor.pos)
    if item is None:
        raise BadSyntax("Expected FLAGS")
    cursor.pos = item.end()
    flags = cursor.flag_list() if cursor.peek() == b"(" else cursor.flags()
    mode = StoreMode(item[1].decode("ascii").upper())
    return c.Store(tag, numbers, mode, flags, item[2] is not None, uid, unchanged_since)


def parse_copy(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    return c.Copy(tag, _numbers(cursor), cursor.mailbox(), uid)


def parse_move(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    return c.Move(tag, _numbers(cursor), cursor.mailbox(), uid)
