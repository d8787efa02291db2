"""A command's parts to its value: the grammar of RFC 3501, 9 and of the extensions that are announced.

`parse_command` raises `BadSyntax` for what is no command (the reply is BAD) and `MailError` for what is one
but cannot be done whatever the mailbox holds: a name that is no modified UTF-7, an unknown charset (NO).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import evolve

from mailserver.imap import commands as c
from mailserver.imap.grammar.acl import parse_delete_acl, parse_list_rights, parse_set_acl
from mailserver.imap.grammar.appending import (
    Appending,
    append_head,
    parse_append,
    parse_replace,
    replace_head,
)
from mailserver.imap.grammar.connection import (
    parse_authenticate,
    parse_compress,
    parse_enable,
    parse_id,
    parse_login,
)
from mailserver.imap.grammar.cursor import PLAIN, BadSyntax, Cursor, Dialect
from mailserver.imap.grammar.list import parse_list, parse_lsub
from mailserver.imap.grammar.mailboxes import opening, parse_create, parse_rename, parse_status
from mailserver.imap.grammar.messages import parse_copy, parse_fetch, parse_move, parse_store
from mailserver.imap.grammar.metadata import parse_get_metadata, parse_set_metadata
from mailserver.imap.grammar.notify import parse_notify
from mailserver.imap.grammar.quota import parse_get_quota, parse_set_quota
from mailserver.imap.grammar.search import (
    parse_cancel_update,
    parse_esearch,
    parse_search,
    parse_sort,
    parse_thread,
)

_TAG = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,100})(?: |\Z)')
_NAME = re.compile(rb"([A-Za-z]{1,16})(?= |\Z)")


def parse_tag(line: bytes) -> bytes | None:
    """The tag that a line begins with; None where it has none that may be sent back (CASES H7)."""
    match = _TAG.match(line)
    return None if match is None else match[1]


def parse_command(parts: tuple[bytes, ...], dialect: Dialect = PLAIN) -> c.Command:
    """A whole command. Raises BadSyntax, MailError."""
    cursor = Cursor(parts, dialect)
    tag, name = _start(cursor)
    command = _ARGUMENTS[name](cursor, tag)
    cursor.end()
    return evolve(command, given=tuple(cursor.given)) if cursor.given else command


def begin_append(parts: tuple[bytes, ...], dialect: Dialect = PLAIN) -> Appending | None:
    """The APPEND or REPLACE that these parts begin; None for anything else, and while its mailbox name is
    still to come as a literal. Raises MailError."""
    cursor = Cursor(parts, dialect)
    try:
        tag, name = _start(cursor)
        uid = name == "UID"
        if uid:
            cursor.space()
            name = cursor.word()
        if name == "REPLACE":
            return Appending(replace_head(cursor, tag, uid), cursor)
        if name == "APPEND" and not uid:
            return Appending(append_head(cursor, tag), cursor)
    except BadSyntax:
        return None
    return None


def _start(cursor: Cursor) -> tuple[bytes, str]:
    match = _TAG.match(cursor.text)
    if match is None:
        raise BadSyntax("Invalid tag")
    cursor.pos = match.end()
    word = _NAME.match(cursor.text, cursor.pos)
    name = "" if word is None else word[1].decode("ascii").upper()
    if name not in _ARGUMENTS:
        raise BadSyntax("Unknown command")
    cursor.pos += len(name)
    return match[1], name


# --- forms of arguments ----------------------------------------------------------------------------

_Parser = Callable[[Cursor, bytes], c.Command]


def _nothing(make: Callable[[bytes], c.Command]) -> _Parser:
    return lambda cursor, tag: make(tag)


def _mailbox(make: Callable[[bytes, str], c.Command]) -> _Parser:
    def parse(cursor: Cursor, tag: bytes) -> c.Command:
        cursor.space()
        return make(tag, cursor.mailbox())

    return parse


def _uid(cursor: Cursor, tag: bytes) -> c.Command:
    """RFC 3501, 6.4.8; UID EXPUNGE: RFC 4315, 2.1; UID MOVE: RFC 6851, 3.2; UID REPLACE: RFC 8508, 3.3."""
    cursor.space()
    name = cursor.word()
    if name == "EXPUNGE":
        cursor.space()
        return c.Expunge(tag, cursor.sequence_set())
    parse = _UID_COMMANDS.get(name)
    if parse is None:
        raise BadSyntax("Unknown UID command")
    return parse(cursor, tag, True)


_UID_COMMANDS: dict[str, Callable[[Cursor, bytes, bool], c.Command]] = {
    "FETCH": parse_fetch,
    "STORE": parse_store,
    "SEARCH": parse_search,
    "SORT": parse_sort,
    "THREAD": parse_thread,
    "COPY": parse_copy,
    "MOVE": parse_move,
    "REPLACE": parse_replace,
}

_ARGUMENTS: dict[str, _Parser] = {
    "CAPABILITY": _nothing(c.Capability),
    "NOOP": _nothing(c.Noop),
    "LOGOUT": _nothing(c.Logout),
    "ID": parse_id,
    "STARTTLS": _nothing(c.StartTls),
    "AUTHENTICATE": parse_authenticate,
    "LOGIN": parse_login,
    "ENABLE": parse_enable,
    "SELECT": opening(c.Select),
    "EXAMINE": opening(c.Examine),
    "CREATE": parse_create,
    "DELETE": _mailbox(c.Delete),
    "RENAME": parse_rename,
    "SUBSCRIBE": _mailbox(c.Subscribe),
    "UNSUBSCRIBE": _mailbox(c.Unsubscribe),
    "LIST": parse_list,
    "LSUB": parse_lsub,
    "STATUS": parse_status,
    "NAMESPACE": _nothing(c.Namespace),
    "APPEND": parse_append,
    "GETQUOTA": parse_get_quota,
    "GETQUOTAROOT": _mailbox(c.GetQuotaRoot),
    "SETQUOTA": parse_set_quota,
    "GETMETADATA": parse_get_metadata,
    "SETMETADATA": parse_set_metadata,
    "IDLE": _nothing(c.Idle),
    "UNAUTHENTICATE": _nothing(c.Unauthenticate),
    "COMPRESS": parse_compress,
    "NOTIFY": parse_notify,
    "SETACL": parse_set_acl,
    "DELETEACL": parse_delete_acl,
    "GETACL": _mailbox(c.GetAcl),
    "LISTRIGHTS": parse_list_rights,
    "MYRIGHTS": _mailbox(c.MyRights),
    "CHECK": _nothing(c.Check),
    "CLOSE": _nothing(c.Close),
    "UNSELECT": _nothing(c.Unselect),
    "EXPUNGE": _nothing(c.Expunge),
    "FETCH": parse_fetch,
    "STORE": parse_store,
    "SEARCH": parse_search,
    "SORT": parse_sort,
    "THREAD": parse_thread,
    "ESEARCH": parse_esearch,
    "CANCELUPDATE": parse_cancel_update,
    "COPY": parse_copy,
    "MOVE": parse_move,
    "REPLACE": parse_replace,
    "UID": _uid,
}
