"""The arguments of GETQUOTA and SETQUOTA (RFC 9208, 6)."""

from __future__ import annotations

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor


def parse_get_quota(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    return c.GetQuota(tag, cursor.astring().decode("utf-8", "replace"))


def parse_set_quota(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    root = cursor.astring().decode("utf-8", "replace")
    cursor.space()
    limits: list[tuple[str, int]] = []
    for _ in cursor.members(or_none=True):
        name = cursor.word()
        if name in dict(limits):
            raise BadSyntax("A resource is named twice")
        cursor.space()
        limits.append((name, cursor.number((1 << 63) - 1)))
    return c.SetQuota(tag, root, tuple(limits))
