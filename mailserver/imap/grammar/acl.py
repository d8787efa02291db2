"""The arguments of SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314, 7)."""

from __future__ import annotations

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor
from mailserver.rights import expand
from mailserver.wire.saslprep import saslprep


def parse_set_acl(cursor: Cursor, tag: bytes) -> c.Command:
    """A right that is unknown makes the command BAD (RFC 4314, 3.1)."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    identifier = _identifier(cursor)
    cursor.space()
    text = cursor.astring().decode("ascii", "replace")
    sign = text[:1] if text[:1] in ("+", "-") else ""
    try:
        return c.SetAcl(tag, mailbox, identifier, sign, expand(text[len(sign) :]))
    except ValueError:
        raise BadSyntax("Unknown right") from None


def parse_delete_acl(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return c.DeleteAcl(tag, mailbox, _identifier(cursor))


def parse_list_rights(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return c.ListRights(tag, mailbox, _identifier(cursor))


def _identifier(cursor: Cursor) -> str:
    """Prepared by SASLprep, which may not leave nothing (RFC 4314, 3)."""
    try:
        prepared = saslprep(cursor.astring().decode("utf-8"))
    except UnicodeDecodeError:
        prepared = None
    if not prepared or prepared == "-":
        raise BadSyntax("No identifier")
    return prepared
