"""The commands of IMAP as frozen values, one class each, made by `grammar`.

Mailbox names are Unicode, decoded from modified UTF-7 (RFC 3501, 5.1.3), levels by "/", INBOX in capitals.
`tag` is what the client gave; `NAME` is the word that stands in "… completed".
"""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from mailserver.imap.values import (
    EventGroup,
    FetchItem,
    MailboxSet,
    PartialRange,
    QuickResync,
    Returning,
    SearchKey,
    SearchSet,
    SequenceSet,
    SortKey,
    search_leaves,
)
from mailserver.interfaces import StoreMode


@frozen
class Command:
    """Base of all. `allow_expunge`: may EXPUNGE responses be sent before the tagged reply? Not during
    FETCH, STORE and SEARCH by sequence number (RFC 3501, 7.4.1).

    given: mailboxes that the client called otherwise: what it called them, and their names
    """

    NAME: ClassVar[str] = ""
    tag: bytes
    given: tuple[tuple[str, str], ...] = field(default=(), kw_only=True, eq=False)

    @property
    def allow_expunge(self) -> bool:
        return True


# --- any state (RFC 3501, 6.1) ---------------------------------------------------------------------


@frozen
class Capability(Command):
    NAME = "CAPABILITY"


@frozen
class Noop(Command):
    NAME = "NOOP"


@frozen
class Logout(Command):
    NAME = "LOGOUT"


@frozen
class Id(Command):
    """RFC 2971; None where the client sent NIL."""

    NAME = "ID"
    parameters: tuple[tuple[bytes, bytes | None], ...] | None


# --- not authenticated (RFC 3501, 6.2) -------------------------------------------------------------


@frozen
class StartTls(Command):
    NAME = "STARTTLS"


@frozen
class Authenticate(Command):
    """`initial`: the initial response before base64 decoding (RFC 4959: b"=" is an empty one), or None."""

    NAME = "AUTHENTICATE"
    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@frozen
class Login(Command):
    NAME = "LOGIN"
    user: bytes
    password: bytes = field(repr=False)


# --- authenticated (RFC 3501, 6.3) -----------------------------------------------------------------


@frozen
class Enable(Command):
    """RFC 5161; upper case."""

    NAME = "ENABLE"
    capabilities: tuple[str, ...]


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
    `grammar.list.STATUS_ITEMS`."""

    NAME = "STATUS"
    mailbox: str
    items: tuple[str, ...]


@frozen
class Namespace(Command):
    NAME = "NAMESPACE"


@frozen
class Begin:
    """A message of an APPEND begins; the one before it is complete. date: seconds since the epoch, None for
    now."""

    flags: frozenset[str]
    date: float | None


@frozen
class Octets:
    """`size` octets of the message come next. binary: as literal8 (RFC 3516, 4.4); part: of several
    (CATENATE)."""

    size: int
    binary: bool = False
    part: bool = False


@frozen
class Url:
    """Octets of the message are those that an IMAP URL stands for (RFC 4469, 3)."""

    url: bytes


Step = Begin | Octets | Url


@frozen
class Append(Command):
    """The messages come as literals that are streamed, and the command is read as they come
    (`grammar.appending`).

    uses:  capabilities that it has made use of
    steps: what is left to do once everything has come
    """

    NAME = "APPEND"
    mailbox: str
    uses: frozenset[str] = frozenset()
    steps: tuple[Step, ...] = ()


@frozen
class Replace(Append):
    """An APPEND of one message that takes the place of another (RFC 8508)."""

    NAME = "REPLACE"
    numbers: SequenceSet = field(kw_only=True)
    uid: bool = field(default=False, kw_only=True)


@frozen
class GetQuota(Command):
    NAME = "GETQUOTA"
    root: str


@frozen
class GetQuotaRoot(Command):
    NAME = "GETQUOTAROOT"
    mailbox: str


@frozen
class SetQuota(Command):
    NAME = "SETQUOTA"
    root: str
    limits: tuple[tuple[str, int], ...]


@frozen
class Idle(Command):
    NAME = "IDLE"


@frozen
class Unauthenticate(Command):
    """RFC 8437"""

    NAME = "UNAUTHENTICATE"


@frozen
class Compress(Command):
    """RFC 4978"""

    NAME = "COMPRESS"
    mechanism: str


@frozen
class SetAcl(Command):
    """RFC 4314, 3.1. sign: "+", "-" or "" for rights that replace those there are."""

    NAME = "SETACL"
    mailbox: str
    identifier: str
    sign: str
    rights: str


@frozen
class DeleteAcl(Command):
    NAME = "DELETEACL"
    mailbox: str
    identifier: str


@frozen
class GetAcl(Command):
    NAME = "GETACL"
    mailbox: str


@frozen
class ListRights(Command):
    NAME = "LISTRIGHTS"
    mailbox: str
    identifier: str


@frozen
class MyRights(Command):
    NAME = "MYRIGHTS"
    mailbox: str


@frozen
class Notify(Command):
    """RFC 5465, 3.1; no groups: NOTIFY NONE. `status`: the client wants STATUS of the mailboxes now."""

    NAME = "NOTIFY"
    groups: tuple[EventGroup, ...]
    status: bool = False


@frozen
class GetMetadata(Command):
    """RFC 5464, 4.2; `mailbox` is empty for the server. depth: None for infinity."""

    NAME = "GETMETADATA"
    mailbox: str
    entries: tuple[str, ...]
    depth: int | None = 0
    maxsize: int | None = None


@frozen
class SetMetadata(Command):
    """RFC 5464, 4.3; None removes an entry."""

    NAME = "SETMETADATA"
    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]


# --- selected (RFC 3501, 6.4) ----------------------------------------------------------------------


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
class Search(Command):
    """`key` holds all keys of the command; texts are decoded from `charset` already, where that is known.
    `returning`: None for the answer of RFC 3501."""

    NAME = "SEARCH"
    key: SearchKey
    charset: str = "US-ASCII"
    uid: bool = False
    returning: Returning | None = None

    @property
    def allow_expunge(self) -> bool:
        """Not where the keys name message numbers either (RFC 7162, 3.2.10.2)."""
        return self.uid and not any(
            isinstance(leaf, SearchSet) and not (leaf.uid or leaf.numbers.saved)
            for leaf in search_leaves(self.key)
        )


@frozen
class Sort(Search):
    """RFC 5256, 3; with `returning` RFC 5267, 3."""

    NAME = "SORT"
    criteria: tuple[SortKey, ...] = ()


@frozen
class Thread(Search):
    """RFC 5256, 3; `algorithm`: ORDEREDSUBJECT or REFERENCES."""

    NAME = "THREAD"
    algorithm: str = ""


@frozen
class Esearch(Search):
    """RFC 7377; `uid` always, and no `returning` means ALL."""

    NAME = "ESEARCH"
    sources: tuple[MailboxSet, ...] = ()


@frozen
class CancelUpdate(Command):
    """RFC 5267, 4.3.5"""

    NAME = "CANCELUPDATE"
    tags: tuple[bytes, ...]


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
