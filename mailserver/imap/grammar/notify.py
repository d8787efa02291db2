"""The arguments of NOTIFY (RFC 5465, 8).

The grammar wants a group's events in parentheses; the examples of the RFC (3.1) leave them out, and both are
taken. What an event needs of the others is part of the syntax (RFC 5465, 5: BAD).
"""

from __future__ import annotations

from mailserver.errors import MailError
from mailserver.imap import commands as c
from mailserver.imap.grammar.cursor import BadSyntax, Cursor
from mailserver.imap.grammar.fetch import fetch_items
from mailserver.imap.grammar.mailboxes import mailbox_names
from mailserver.imap.values import EventGroup, FetchItem

MESSAGE_EVENTS = ("MessageNew", "MessageExpunge", "FlagChange")
OTHER_EVENTS = ("MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange")
SUPPORTED = {name.upper(): name for name in (*MESSAGE_EVENTS, *OTHER_EVENTS)}

_NEW, _EXPUNGE, _FLAGS = (name.upper() for name in MESSAGE_EVENTS)
_SELECTED = frozenset(("SELECTED", "SELECTED-DELAYED"))
_OF_ACCOUNT = frozenset(("INBOXES", "PERSONAL", "SUBSCRIBED"))
_NAMED = frozenset(("SUBTREE", "MAILBOXES"))
MAX_GROUPS = 100
MAX_NAMES = 1000  # in all groups


def parse_notify(cursor: Cursor, tag: bytes) -> c.Command:
    """Raises MailError: NO [BADEVENT …] for events that are not known, NO [NOTIFICATIONOVERFLOW] for more
    groups and names than a session may have."""
    cursor.space()
    form = cursor.word()
    if form == "NONE":
        return c.Notify(tag, ())
    if form != "SET":
        raise BadSyntax("Expected SET or NONE")
    cursor.space()
    status = cursor.peek() != b"("
    if status:
        if cursor.word() != "STATUS":
            raise BadSyntax("Expected STATUS or a group of events")
        cursor.space()
    groups = [_group(cursor)]
    while cursor.skip(b" "):
        groups.append(_group(cursor))
        if len(groups) > MAX_GROUPS or sum(len(group.names) for group in groups) > MAX_NAMES:
            raise MailError("Too much to be notified of", imap="NOTIFICATIONOVERFLOW")
    if sum(group.which in _SELECTED for group in groups) > 1:
        raise BadSyntax("Only one group for the selected mailbox")
    return c.Notify(tag, tuple(groups), status)


def _group(cursor: Cursor) -> EventGroup:
    cursor.expect(b"(")
    which = cursor.word()
    names: tuple[str, ...] = ()
    if which in _NAMED:
        cursor.space()
        names = mailbox_names(cursor)
    elif which not in _SELECTED and which not in _OF_ACCOUNT:
        raise BadSyntax("Unknown set of mailboxes")
    cursor.space()
    events, items = _events(cursor)
    cursor.expect(b")")
    _check(which, events, items)
    return EventGroup(which, names, events, items)


def _events(cursor: Cursor) -> tuple[frozenset[str], tuple[FetchItem, ...]]:
    in_parentheses = cursor.skip(b"(")
    first = cursor.word()
    if first == "NONE" and not in_parentheses:
        return frozenset(), ()
    events, items = {first}, _items(cursor, first)
    while cursor.skip(b" "):
        event = cursor.word()
        events.add(event)
        items = _items(cursor, event) or items
    if in_parentheses:
        cursor.expect(b")")
    if not events <= SUPPORTED.keys():
        known = " ".join(SUPPORTED.values())
        raise MailError("Unsupported event", imap=f"BADEVENT ({known})")
    return frozenset(events), items


def _items(cursor: Cursor, event: str) -> tuple[FetchItem, ...]:
    """[SP "(" fetch-att *(SP fetch-att) ")"] behind MessageNew"""
    if event != _NEW or not cursor.begins_list():
        return ()
    return fetch_items(cursor)


def _check(which: str, events: frozenset[str], items: tuple[FetchItem, ...]) -> None:
    """RFC 5465, 5 and 6.1"""
    if (_NEW in events) != (_EXPUNGE in events) or (_FLAGS in events and _NEW not in events):
        raise BadSyntax("MessageNew and MessageExpunge go together, and FlagChange with them")
    if which in _SELECTED:
        if not events <= {_NEW, _EXPUNGE, _FLAGS}:
            raise BadSyntax("Only events of messages for the selected mailbox")
    elif items:
        raise BadSyntax("Data items are only for the selected mailbox")
