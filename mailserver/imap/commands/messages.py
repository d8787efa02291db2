"""Commands on messages of the selected mailbox (RFC 3501, 6.4)."""

from __future__ import annotations

from attrs import frozen

from mailserver.imap.commands.base import Command
from mailserver.imap.values import FetchItem, PartialRange, SequenceSet
from mailserver.interfaces import StoreMode


@frozen
class Expunge(Command):
    """`uids`: None, or the set of UID EXPUNGE (RFC 4315, 2.1)."""

    NAME = "EXPUNGE"
    uids: SequenceSet | None = None


@frozen
class Fetch(Command):
    """`numbers` are sequence numbers, or UIDs where `uid`. UID FETCH always answers UID; the item is in
    `items` then, as MODSEQ is where there is `changed_since`: only messages with a greater mod-sequence are
    asked for (RFC 7162, 3.1.4.1), and with `vanished` those that are gone since (RFC 7162, 3.2.6). `partial`:
    which of the messages that exist (RFC 9394, 3.3)."""

    NAME = "FETCH"
    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    partial: PartialRange | None = None
    changed_since: int | None = None
    vanished: bool = False

    @property
    def allow_expunge(self) -> bool:
        return self.uid


@frozen
class Store(Command):
    """`unchanged_since`: only messages without a greater mod-sequence are changed (RFC 7162, 3.1.3)."""

    NAME = "STORE"
    numbers: SequenceSet
    mode: StoreMode
    flags: tuple[str, ...]
    silent: bool = False
    uid: bool = False
    unchanged_since: int | None = None

    @property
    def allow_expunge(self) -> bool:
        return self.uid


@frozen
class Copy(Command):
    NAME = "COPY"
    numbers: SequenceSet
    mailbox: str
    uid: bool = False


@frozen
class Move(Command):
    """RFC 6851"""

    NAME = "MOVE"
    numbers: SequenceSet
    mailbox: str
    uid: bool = False
