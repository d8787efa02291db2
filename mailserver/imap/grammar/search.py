"""The arguments of SEARCH and its relatives: SORT and THREAD (RFC 5256, 5), ESEARCH (RFC 7377, 4)."""

from __future__ import annotations

from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor
from mailserver.imap.grammar.keys import search_arguments, search_criteria
from mailserver.imap.grammar.mailboxes import mailbox_names
from mailserver.imap.grammar.returning import return_options
from mailserver.imap.values import MailboxSet, SortKey


def parse_search(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    cursor.space()
    returning = return_options(cursor)
    arguments = search_arguments(cursor)
    return c.Search(tag, arguments.key, arguments.charset, uid, returning)


def parse_cancel_update(cursor: Cursor, tag: bytes) -> c.Command:
    """ "CANCELUPDATE" 1*(SP quoted) (RFC 5267, 5)"""
    tags: list[bytes] = []
    while not tags or not cursor.at_end():
        cursor.space()
        tags.append(cursor.string())
    return c.CancelUpdate(tag, tuple(tags))


# --- SORT and THREAD -------------------------------------------------------------------------------

_SORT_KEYS = frozenset(("ARRIVAL", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO", "FROM", "SIZE", "SUBJECT", "TO"))
_ALGORITHMS = ("ORDEREDSUBJECT", "REFERENCES")
MAX_CRITERIA = 20


def parse_sort(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    cursor.space()
    returning = return_options(cursor)
    criteria = _sort_criteria(cursor)
    arguments = search_criteria(cursor)
    return c.Sort(tag, arguments.key, arguments.charset, uid, returning, criteria)


def _sort_criteria(cursor: Cursor) -> tuple[SortKey, ...]:
    """ "(" sort-criterion *(SP sort-criterion) ")" SP (RFC 5256, 5). A criterion that was there decides
    nothing any more."""
    criteria: dict[str, SortKey] = {}
    for count, _ in enumerate(cursor.members(), 1):
        name = cursor.word()
        reverse = name == "REVERSE"
        if reverse:
            cursor.space()
            name = cursor.word()
        if name not in _SORT_KEYS or count > MAX_CRITERIA:
            raise BadSyntax("Unknown sort criterion")
        criteria.setdefault(name, SortKey(name, reverse))
    cursor.space()
    return tuple(criteria.values())


def parse_thread(cursor: Cursor, tag: bytes, uid: bool = False) -> c.Command:
    cursor.space()
    algorithm = _thread_algorithm(cursor)
    arguments = search_criteria(cursor)
    return c.Thread(tag, arguments.key, arguments.charset, uid, algorithm=algorithm)


def _thread_algorithm(cursor: Cursor) -> str:
    """thread-alg SP"""
    name = cursor.word()
    cursor.space()
    if name not in _ALGORITHMS:
        raise BadSyntax("Unknown threading algorithm")
    return name


# --- ESEARCH ---------------------------------------------------------------------------------------

_PLAIN_SETS = frozenset(("SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED"))
_NAMED_SETS = frozenset(("SUBTREE", "SUBTREE-ONE", "MAILBOXES"))
MAX_SETS = 100


def parse_esearch(cursor: Cursor, tag: bytes) -> c.Command:
    """ "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program (RFC 7377, 4)"""
    cursor.space()
    sources = _sources(cursor)
    returning = return_options(cursor)
    arguments = search_arguments(cursor)
    return c.Esearch(tag, arguments.key, arguments.charset, True, returning, sources)


def _sources(cursor: Cursor) -> tuple[MailboxSet, ...]:
    """["IN" SP "(" source-mbox ")" SP] (RFC 7377, 4); there are no scope options."""
    if cursor.text[cursor.pos : cursor.pos + 4].upper() != b"IN (":
        return (MailboxSet("SELECTED"),)
    cursor.pos += 4
    found = [_mailbox_set(cursor)]
    while cursor.skip(b" "):
        found.append(_mailbox_set(cursor))
        if len(found) > MAX_SETS:
            raise BadSyntax("Too many sets of mailboxes")
    cursor.expect(b")")
    cursor.space()
    return tuple(found)


def _mailbox_set(cursor: Cursor) -> MailboxSet:
    which = cursor.word()
    if which in _PLAIN_SETS:
        return MailboxSet(which)
    if which not in _NAMED_SETS:
        raise BadSyntax("Unknown set of mailboxes")
    cursor.space()
    return MailboxSet(which, mailbox_names(cursor))
