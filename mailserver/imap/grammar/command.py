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
from mailserver.imap.grammar.appending import Appending
from mailserver.imap.grammar.cursor import PLAIN, BadSyntax, Cursor, Dialect
from mailserver.imap.grammar.fetch import fetch_items, fetch_modifiers, with_modseq
from mailserver.imap.grammar.list import parse_create, parse_list, status_items
from mailserver.imap.grammar.metadata import parse_get_metadata, parse_set_metadata
from mailserver.imap.grammar.modifiers import select_parameters, store_modifiers
from mailserver.imap.grammar.notify import parse_notify
from mailserver.imap.grammar.search import (
    return_options,
    search_arguments,
    search_criteria,
    search_sources,
    sort_criteria,
    thread_algorithm,
)
from mailserver.imap.values import SequenceSet
from mailserver.interfaces import StoreMode

_TAG = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,100})(?: |\Z)')
_NAME = re.compile(rb"([A-Za-z]{1,16})(?= |\Z)")

MAX_ID_FIELDS = 30  # RFC 2971, 3.3: pairs, octets of a field's name and of its value
MAX_ID_NAME = 30
MAX_ID_VALUE = 1024


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
            return Appending(_replace_head(cursor, tag, uid), cursor)
        if name == "APPEND" and not uid:
            return Appending(_append_head(cursor, tag), cursor)
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


def _opening(make: type[c.Select | c.Examine]) -> _Parser:
    def parse(cursor: Cursor, tag: bytes) -> c.Command:
        cursor.space()
        mailbox = cursor.mailbox()
        if cursor.at_end():
            return make(tag, mailbox)
        parameters = select_parameters(cursor)
        return make(tag, mailbox, parameters.condstore, parameters.qresync)

    return parse


def _pattern(make: Callable[[bytes, str, str], c.Command]) -> _Parser:
    def parse(cursor: Cursor, tag: bytes) -> c.Command:
        cursor.space()
        reference = cursor.mailbox()
        cursor.space()
        return make(tag, reference, cursor.list_mailbox())

    return parse


# --- not authenticated -----------------------------------------------------------------------------


def _authenticate(cursor: Cursor, tag: bytes) -> c.Command:
    """ "AUTHENTICATE" SP auth-type [SP (base64 / "=")] (RFC 4959)"""
    cursor.space()
    mechanism = cursor.word()
    initial = cursor.base64() if cursor.skip(b" ") else None
    return c.Authenticate(tag, mechanism, initial)


def _login(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return c.Login(tag, user, cursor.astring())


def _id(cursor: Cursor, tag: bytes) -> c.Command:
    """ "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil) (RFC 2971, 4)"""
    cursor.space()
    if not cursor.skip(b"("):
        if cursor.nstring() is not None:
            raise BadSyntax("Expected a list or NIL")
        return c.Id(tag, None)
    fields: list[tuple[bytes, bytes | None]] = []
    while not cursor.skip(b")"):
        if fields:
            cursor.space()
        name = cursor.string()
        cursor.space()
        value = cursor.nstring()
        fields.append((name, value))
        if len(fields) > MAX_ID_FIELDS or len(name) > MAX_ID_NAME or len(value or b"") > MAX_ID_VALUE:
            raise BadSyntax("Too much identification")
    return c.Id(tag, tuple(fields))


# --- authenticated ---------------------------------------------------------------------------------


def _enable(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    names = [cursor.word()]
    while cursor.skip(b" "):
        names.append(cursor.word())
    return c.Enable(tag, tuple(names))


def _compress(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    return c.Compress(tag, cursor.word())


def _rename(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    old = cursor.mailbox()
    cursor.space()
    return c.Rename(tag, old, cursor.mailbox())


def _status(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    mailbox = cursor.mailbox()
    return c.Status(tag, mailbox, status_items(cursor))


def _append_head(cursor: Cursor, tag: bytes) -> c.Append:
    """What stands before the first message (RFC 3501, 6.3.11)."""
    cursor.space()
    mailbox = cursor.mailbox()
    return c.Append(tag, mailbox, given=tuple(cursor.given))


def _replace_head(cursor: Cursor, tag: bytes, uid: bool) -> c.Replace:
    """(seq-number / uniqueid) SP mailbox (RFC 8508, 5)"""
    cursor.space()
    numbers = cursor.sequence_set()
    if len(numbers.ranges) != 1 or numbers.ranges[0][0] != numbers.ranges[0][1]:
        raise BadSyntax("Expected one number")
    cursor.space()
    return c.Replace(tag, cursor.mailbox(), numbers=numbers, uid=uid)


def _whole(command: c.Append, cursor: Cursor) -> c.Command:
    """One without a message to stream: it is made of URLs, or wrong."""
    appending = Appending(command, cursor)
    steps = appending.ended(())
    return evolve(appending.command, steps=steps)


def _append(cursor: Cursor, tag: bytes) -> c.Command:
    return _whole(_append_head(cursor, tag), cursor)


def _replace(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    return _whole(_replace_head(cursor, tag, uid), cursor)


def _quota_root(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    return c.GetQuota(tag, cursor.astring().decode("utf-8", "replace"))


def _set_quota(cursor: Cursor, tag: bytes) -> c.Command:
    cursor.space()
    root = cursor.astring().decode("utf-8", "replace")
    cursor.expect(b" (")
    limits: list[tuple[str, int]] = []
    while not cursor.skip(b")"):
        if limits:
            cursor.space()
        name = cursor.word()
        if name in dict(limits):
            raise BadSyntax("A resource is named twice")
        cursor.space()
        limits.append((name, cursor.number((1 << 63) - 1)))
    return c.SetQuota(tag, root, tuple(limits))


# --- selected --------------------------------------------------------------------------------------


def _numbers(cursor: Cursor) -> SequenceSet:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    return numbers


def _fetch(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    numbers = _numbers(cursor)
    items = fetch_items(cursor)
    modifiers = fetch_modifiers(cursor, uid)
    since = modifiers.changed_since
    if since is not None:
        items = with_modseq(items)
    return c.Fetch(tag, numbers, items, uid, modifiers.partial, since, modifiers.vanished)


_STORE_ITEM = re.compile(rb"([+-]?FLAGS)(\.SILENT)? ", re.IGNORECASE)


def _store(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    numbers = _numbers(cursor)
    unchanged_since = store_modifiers(cursor) if cursor.peek() == b"(" else None
    item = _STORE_ITEM.match(cursor.text, cursor.pos)
    if item is None:
        raise BadSyntax("Expected FLAGS")
    cursor.pos = item.end()
    flags = cursor.flag_list() if cursor.peek() == b"(" else cursor.flags()
    mode = StoreMode(item[1].decode("ascii").upper())
    return c.Store(tag, numbers, mode, flags, item[2] is not None, uid, unchanged_since)


def _search(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    cursor.space()
    returning = return_options(cursor)
    arguments = search_arguments(cursor)
    return c.Search(tag, arguments.key, arguments.charset, uid, returning)


def _sort(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    cursor.space()
    returning = return_options(cursor)
    criteria = sort_criteria(cursor)
    arguments = search_criteria(cursor)
    return c.Sort(tag, arguments.key, arguments.charset, uid, returning, criteria)


def _thread(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    cursor.space()
    algorithm = thread_algorithm(cursor)
    arguments = search_criteria(cursor)
    return c.Thread(tag, arguments.key, arguments.charset, uid, algorithm=algorithm)


def _esearch(cursor: Cursor, tag: bytes) -> c.Command:
    """ "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program (RFC 7377, 4)"""
    cursor.space()
    sources = search_sources(cursor)
    returning = return_options(cursor)
    arguments = search_arguments(cursor)
    return c.Esearch(tag, arguments.key, arguments.charset, True, returning, sources)


def _cancel_update(cursor: Cursor, tag: bytes) -> c.Command:
    """ "CANCELUPDATE" 1*(SP quoted) (RFC 5267, 5)"""
    tags: list[bytes] = []
    while not tags or not cursor.at_end():
        cursor.space()
        tags.append(cursor.string())
    return c.CancelUpdate(tag, tuple(tags))


def _copy(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    return c.Copy(tag, _numbers(cursor), cursor.mailbox(), uid)


def _move(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    return c.Move(tag, _numbers(cursor), cursor.mailbox(), uid)


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
    "FETCH": _fetch,
    "STORE": _store,
    "SEARCH": _search,
    "SORT": _sort,
    "THREAD": _thread,
    "COPY": _copy,
    "MOVE": _move,
    "REPLACE": _replace,
}

_ARGUMENTS: dict[str, _Parser] = {
    "CAPABILITY": _nothing(c.Capability),
    "NOOP": _nothing(c.Noop),
    "LOGOUT": _nothing(c.Logout),
    "ID": _id,
    "STARTTLS": _nothing(c.StartTls),
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "ENABLE": _enable,
    "SELECT": _opening(c.Select),
    "EXAMINE": _opening(c.Examine),
    "CREATE": parse_create,
    "DELETE": _mailbox(c.Delete),
    "RENAME": _rename,
    "SUBSCRIBE": _mailbox(c.Subscribe),
    "UNSUBSCRIBE": _mailbox(c.Unsubscribe),
    "LIST": parse_list,
    "LSUB": _pattern(c.Lsub),
    "STATUS": _status,
    "NAMESPACE": _nothing(c.Namespace),
    "APPEND": _append,
    "GETQUOTA": _quota_root,
    "GETQUOTAROOT": _mailbox(c.GetQuotaRoot),
    "SETQUOTA": _set_quota,
    "GETMETADATA": parse_get_metadata,
    "SETMETADATA": parse_set_metadata,
    "IDLE": _nothing(c.Idle),
    "UNAUTHENTICATE": _nothing(c.Unauthenticate),
    "COMPRESS": _compress,
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
    "FETCH": _fetch,
    "STORE": _store,
    "SEARCH": _search,
    "SORT": _sort,
    "THREAD": _thread,
    "ESEARCH": _esearch,
    "CANCELUPDATE": _cancel_update,
    "COPY": _copy,
    "MOVE": _move,
    "REPLACE": _replace,
    "UID": _uid,
}
