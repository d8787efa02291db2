"""Commands on mailboxes as wholes: opened, made, named, listed, watched (RFC 3501, 6.3)."""

from __future__ import annotations

from attrs import frozen

from mailserver.imap.commands.base import Command
from mailserver.imap.values import EventGroup, QuickResync


@frozen
class Select(Command):
    """`condstore`, `qresync`: the parameters of RFC 7162, 3.1.8 and 3.2.5."""

    NAME = "SELECT"
    mailbox: str
    condstore: bool = False
    qresync: QuickResync | None = None


@frozen
class Examine(Command):
    NAME = "EXAMINE"
    mailbox: str
    condstore: bool = False
    qresync: QuickResync | None = None


@frozen
class Create(Command):
    """`uses`: special uses asked for (RFC 6154, 3), as the client wrote them."""

    NAME = "CREATE"
    mailbox: str
    uses: tuple[str, ...] = ()


@frozen
class Delete(Command):
    NAME = "DELETE"
    mailbox: str


@frozen
class Rename(Command):
    NAME = "RENAME"
    mailbox: str
    new: str


@frozen
class Subscribe(Command):
    NAME = "SUBSCRIBE"
    mailbox: str


@frozen
class Unsubscribe(Command):
    NAME = "UNSUBSCRIBE"
    mailbox: str


@frozen
class List(Command):
    """Reference and pattern as Unicode, wildcards `*` and `%` in it."""

    NAME = "LIST"
    reference: str
    pattern: str


@frozen
class ListExtended(Command):
    """LIST with options or several patterns (RFC 5258); options are in capitals.

    status: items of the return option STATUS (RFC 5819), empty without it
    metadata: entries of the return option METADATA (RFC 9590)
    """

    NAME = "LIST"
    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()


@frozen
class Lsub(Command):
    NAME = "LSUB"
    reference: str
    pattern: str


@frozen
class Status(Command):
    """`items` in the order asked for: MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN, and those of
    `grammar.mailboxes.STATUS_ITEMS`."""

    NAME = "STATUS"
    mailbox: str
    items: tuple[str, ...]


@frozen
class Namespace(Command):
    NAME = "NAMESPACE"


@frozen
class Notify(Command):
    """RFC 5465, 3.1; no groups: NOTIFY NONE. `status`: the client wants STATUS of the mailboxes now."""

    NAME = "NOTIFY"
    groups: tuple[EventGroup, ...]
    status: bool = False


@frozen
class Check(Command):
    NAME = "CHECK"


@frozen
class Close(Command):
    NAME = "CLOSE"


@frozen
class Unselect(Command):
    """RFC 3691"""

    NAME = "UNSELECT"
