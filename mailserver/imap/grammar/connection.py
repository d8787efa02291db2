"""The arguments of commands on the connection itself: log-in, ID, ENABLE, COMPRESS."""

from __future__ import annotations

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor

MAX_ID_FIELDS = 30  # RFC 2971, 3.3: pairs, octets of a field's name and of its value
MAX_ID_NAME = 30
MAX_ID_VALUE = 1024


def parse_authenticate(cursor: Cursor, tag: bytes) -> c.Command:
    """ "AUTHENTICATE" SP auth-type [SP (base64 / "=")] (RFC 4959)"""
    cursor.space()
    mechanism = cursor.word()
    initial = cursor.base64() if cursor.skip(b" ") else None
    return c.Authenticate(tag, mechanism, initial)


def parse_login(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return c.Login(tag, user, cursor.astring())


def parse_id(cursor: Cursor, tag: bytes) -> c.Command:
    """ "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil) (RFC 2971, 4)"""
    cursor.space()
    if cursor.peek() != b"(":
        if cursor.nstring() is not None:
            raise BadSyntax("Expected a list or NIL")
        return c.Id(tag, None)
    fields: list[tuple[bytes, bytes | None]] = []
    for _ in cursor.members(or_none=True):
        name = cursor.string()
        cursor.space()
        value = cursor.nstring()
        fields.append((name, value))
        if len(fields) > MAX_ID_FIELDS or len(name) > MAX_ID_NAME or len(value or b"") > MAX_ID_VALUE:
            raise BadSyntax("Too much identification")
    return c.Id(tag, tuple(fields))


def parse_enable(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    names = [cursor.word()]
    while cursor.skip(b" "):
        names.append(cursor.word())
    return c.Enable(tag, tuple(names))


def parse_compress(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    return c.Compress(tag, cursor.word())
