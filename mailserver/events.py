"""What happened to the mailboxes of an account, told after the commit to those who watch (`IAccount.watch`).

Plain values of names, numbers and strings, so that they can be sent to another process. Nothing is made where
nobody watches the account.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from mailserver.interfaces import MailboxStatus


@frozen
class MessagesChanged:
    """Messages of one mailbox came, went or changed; `status` holds its counters after that.

    added: their UIDs; removed, flags: whether any went, or were given other flags
    """

    user: str
    name: str
    status: MailboxStatus
    added: tuple[int, ...] = ()
    removed: bool = False
    flags: bool = False


class Naming(Enum):
    """What became of a name."""

    CREATED = "created"
    DELETED = "deleted"
    RENAMED = "renamed"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"


@frozen
class NameChanged:
    """A mailbox was created, deleted, renamed from `old` (with all below it) or subscribed to."""

    user: str
    name: str
    what: Naming
    old: str = ""


@frozen
class MetadataChanged:
    """Annotations of a mailbox, or of the server (`name` is empty), were set or removed (RFC 5464)."""

    user: str
    name: str
    entries: tuple[str, ...]


@frozen
class RightsChanged:
    """The access control list of a mailbox of `user`; `before` and `after`: identifiers and their rights."""

    user: str
    name: str
    before: tuple[tuple[str, str], ...]
    after: tuple[tuple[str, str], ...]


@frozen
class EventsLost:
    """More happened than another process could tell; nobody knows what."""

    user: str


AccountEvent = MessagesChanged | NameChanged | MetadataChanged | EventsLost
