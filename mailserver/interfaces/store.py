"""The store, as the protocols know it: accounts, mailboxes, messages, and who listens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, IntFlag
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mailserver.interfaces.envelope import IMessageBody
from mailserver.rights import ALL


class Flag(IntFlag):
    """System flags (RFC 3501, 2.3.2) as bits. Keyword number k of a mailbox is bit `1 << (KEYWORD + k)`.

    A message's flags are one Python int. \\Recent is a session's matter and has no bit.
    """

    ANSWERED = 1
    FLAGGED = 2
    DELETED = 4
    SEEN = 8
    DRAFT = 16


KEYWORD = 5  # the bit of a mailbox's first keyword


class StoreMode(Enum):
    """STORE FLAGS, +FLAGS, -FLAGS (RFC 3501, 6.4.6)."""

    REPLACE = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


@frozen
class FolderInfo:
    """One folder as LIST needs it, of the account or of another that shares it. `name` is Unicode, levels by
    "/"."""

    name: str
    special_use: str = ""  # "\\Sent" …, "" for none (RFC 6154)
    subscribed: bool = False
    selectable: bool = True
    modified: int = 0  # HIGHESTMODSEQ where known
    rights: str = ALL  # of who asks (RFC 4314)


@frozen
class MailboxStatus:
    """Counters of one mailbox (RFC 3501, 6.3.10; RFC 7162; RFC 8438), and its id (RFC 8474)."""

    messages: int
    recent: int
    unseen: int
    uidnext: int
    uidvalidity: int
    highestmodseq: int
    size: int
    deleted: int
    mailboxid: str = ""


@frozen
class Quota:
    """How many octets and messages an account may hold (RFC 9208, 5.1, 5.2); 0: no limit."""

    octets: int = 0
    messages: int = 0

    def __bool__(self) -> bool:
        return bool(self.octets or self.messages)

    def allows(self, octets: int, messages: int) -> bool:
        """May an account hold so much?"""
        return not (0 < self.octets < octets or 0 < self.messages < messages)

    def replacing(self, octets: int) -> Quota:
        """The same for who frees one message of this size right after (RFC 8508, 3.4)."""
        if not octets:
            return self
        return Quota(self.octets and self.octets + octets, self.messages and self.messages + 1)


NO_QUOTA = Quota()


@frozen
class QuotaUsage:
    """Octets and messages used, and how many there may be (RFC 9208)."""

    used: int
    messages: int
    limit: Quota

    def fits(self, octets: int, messages: int = 1) -> bool:
        """Is there room for so much more?"""
        return self.limit.allows(self.used + octets, self.messages + messages)


@frozen
class NewMessage:
    """What APPEND brings. `flags` by name: "\\Seen", "$Forwarded" …; date in seconds since the epoch."""

    body: IMessageBody
    flags: frozenset[str] = frozenset()
    internal_date: float | None = None


@frozen
class CopyResult:
    """UIDs of COPY, MOVE, APPEND in order (RFC 4315): source[i] became target[i]."""

    uidvalidity: int
    source: tuple[int, ...]
    target: tuple[int, ...]


Count = Callable[[int], None]
"""Is told how far something has come."""


class IMailStore(Interface):
    """All accounts under one mail root."""

    def account(user: str) -> Deferred[IAccount]:
        """The user's account, made on first use with the special-use folders. Shared and cached."""

    def quota(user: str) -> QuotaUsage | None:
        """What is known without touching the disk; None where the account was not opened yet."""


class IAccount(Interface):
    """Avatar of an IMAP or POP3 user. Folder names are Unicode with "/" between levels; INBOX in any
    case is the inbox. Everything fails with NoSuchMailbox, MailboxExists, CannotName, OverQuota,
    NoSpace, TemporaryFailure as fits. Operations on one account happen in the order of the calls."""

    user = Attribute("the user's address: str")

    def folders() -> Deferred[Sequence[FolderInfo]]:
        """All folders, parents before children, INBOX first."""

    def create(name: str, special_use: str = "") -> Deferred[str]:
        """Fires with the MAILBOXID (RFC 8474)."""

    def delete(name: str) -> Deferred[None]: ...

    def rename(old: str, new: str) -> Deferred[None]:
        """RFC 3501, 6.3.5: with all below it; INBOX gives its messages to `new` and stays."""

    def subscribe(name: str, wanted: bool) -> Deferred[None]: ...

    def metadata(name: str) -> Deferred[Mapping[str, bytes]]:
        """Annotations of a folder by entry, in lower case, of the server where `name` is empty (RFC 5464)."""

    def set_metadata(name: str, values: Mapping[str, bytes | None]) -> Deferred[None]:
        """All or none; None removes. Fails with a MailError that has the response code of RFC 5464."""

    def subscriptions() -> Deferred[Sequence[str]]:
        """Names subscribed to, whether they exist or not (RFC 3501, 6.3.6)."""

    def status(name: str) -> Deferred[MailboxStatus]: ...

    def open(name: str, listener: IMailboxListener, read_only: bool = False) -> Deferred[IMailbox]:
        """Open for a session; `listener` is told of changes until `mailbox.close(listener)`."""

    def append(name: str, messages: Sequence[NewMessage], replacing: int = 0) -> Deferred[CopyResult]:
        """All or none, durable when fired; `source` of the result is empty. `replacing`: octets that the
        caller frees right after, which do not count against the quota (RFC 8508, 3.4)."""

    def quota(name: str = "INBOX") -> Deferred[QuotaUsage]:
        """Of the account that holds this mailbox, for who may read it."""

    def quota_of(user: str) -> Deferred[QuotaUsage]:
        """Of any account, for an administrator. Fails with NoSuchUser, NotPermitted."""

    def set_quota(user: str, quota: Quota) -> Deferred[None]:
        """In force when fired; for an administrator. Fails as `quota_of`, and with a MailError where the
        limits of this user cannot be written."""

    def rights(name: str) -> Deferred[str]:
        """What this user may do with a mailbox, letters of RFC 4314 in the order of `rights.ALL`."""

    def acl(name: str) -> Deferred[Sequence[tuple[str, str]]]:
        """Identifiers and their rights, the owner first (RFC 4314, 3.3)."""

    def set_acl(name: str, identifier: str, edit: Callable[[str], str]) -> Deferred[None]:
        """Give an identifier the rights that `edit` makes of its present ones; none at all remove it. Fails
        with NoSuchUser, CannotName for the owner; `edit` is called in a thread."""

    def watch(watcher: Callable[[Any], None], foreign: bool = False) -> Callable[[], None]:
        """`watcher` is called in the reactor thread, after commit, with an `events.AccountEvent` for whatever
        happens to the mailboxes of this account, open or not, until the function returned is called. foreign:
        also soon after other programs did something, as far as they can be watched."""


class IMailbox(Interface):
    """A mailbox in memory, shared by all sessions of the process that have it open.

    The arrays are parallel, ascending by UID. `uids` is *appended to* when messages arrive and
    *replaced by a new object* when messages go: a session keeps the object and the length it has told
    its client, and so has its old sequence numbers for as long as it needs them.
    """

    name = Attribute("the folder's name: str")
    read_only = Attribute("nothing may be changed (EACCES, no right to, or asked for): bool")
    rights = Attribute("what the session's user may do, letters of RFC 4314: str")
    uidvalidity = Attribute("int")
    mailboxid = Attribute("what stays when the mailbox is renamed (RFC 8474): str")
    uidnext = Attribute("int")
    highestmodseq = Attribute("int; 0 where mod-sequences would not last (RFC 7162, 3.1.2.2: NOMODSEQ)")
    uids = Attribute("Sequence[int] (array 'Q')")
    flags = Attribute("list[int], bits of Flag and keywords")
    modseqs = Attribute("Sequence[int] (array 'Q')")
    sizes = Attribute("Sequence[int]: octets with CRLF line ends, exact (array 'Q')")
    dates = Attribute("Sequence[int]: internal date in seconds since the epoch (array 'q')")
    saved = Attribute("Sequence[int]: when each came into this mailbox, as `dates` (RFC 8514) (array 'q')")
    keywords = Attribute("list[str]: names by number; only ever appended to")
    derived = Attribute(
        "dict[str, Any]: what others keep of it in memory; emptied when a message's text changed"
    )

    def index_of(uid: int) -> int:
        """Index of a UID in the arrays, -1 where there is none."""

    def first_unseen() -> int:
        """The number of the first message without \\Seen, counted from 1 in the arrays; 0 for none."""

    def email_ids(uids: Sequence[int]) -> Sequence[str | None]:
        """The EMAILID of each, the same for its copies (RFC 8474); None where a message is gone."""

    def flag_mask(names: Iterable[str], create: bool) -> int:
        """Bits for flag names; unknown keywords are added if `create` (else left out). For use at once:
        another process may give the number of a keyword that no message has yet to another one.
        Raises LimitReached beyond `limits.keywords`."""

    def take_recent(listener: IMailboxListener, read_only: bool) -> frozenset[int]:
        """UIDs that are \\Recent for the session that asks (first come; RFC 3501, 2.3.2)."""

    def store(
        uids: Sequence[int],
        mode: StoreMode,
        mask: int,
        unchanged_since: int | None,
        by: IMailboxListener | None,
    ) -> Deferred[StoreResult]:
        """Change flags; fires when committed. UIDs that are gone are left out. `unchanged_since`: messages
        whose mod-sequence is greater are not changed (RFC 7162, 3.1.3)."""

    def expunge(uids: Sequence[int] | None, by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        """Remove messages marked \\Deleted (of these UIDs only, where given); fires with the UIDs removed
        when that is durable. Listeners are told before it fires."""

    def remove(uids: Sequence[int], by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        """As `expunge`, whatever their flags (POP3 QUIT)."""

    def copy(uids: Sequence[int], folder: str, told: Count | None = None) -> Deferred[CopyResult]:
        """All or none, durable when fired; flags and internal date kept (RFC 3501, 6.4.7). told: may be
        called in a thread, with how many of the messages have their new files."""

    def move(
        uids: Sequence[int], folder: str, by: IMailboxListener | None, told: Count | None = None
    ) -> Deferred[CopyResult]:
        """RFC 6851: never less than one copy of each message on the disk. told: as for `copy`."""

    def open_message(uid: int) -> IMessageFile:
        """The message's file, opened. Raises MessageGone. Found again by base name where another
        program renamed it."""

    def rendered(item: str, uids: Sequence[int], make: bool = True) -> Deferred[Sequence[bytes | None]]:
        """Cached bytes of `item` for each UID: "ENVELOPE", "BODYSTRUCTURE", "BODY", "PREVIEW" (the value as
        sent by FETCH), or "HEADER" (the header block with CRLF and the empty line; None where it is
        longer than is kept). Made at first need, in a thread, and kept. None where a message is gone,
        and, where not `make`, what was not made before. Call with at most about 1,000 UIDs at a time."""

    def indexed(text: str, header: bool, uids: Sequence[int]) -> Deferred[TextFound]:
        """Which of these messages (ascending) have a text, as far as the search index knows. `header`: in
        the header or the body (SEARCH TEXT), else in the body (BODY). What is unsure `containing` tells."""

    def containing(text: str, header: bool, uids: Sequence[int]) -> Deferred[Sequence[int]]:
        """UIDs of these messages that have the text: each is read, in a thread. Call with a few at a time."""

    def digests(names: Sequence[str], uids: Sequence[int]) -> Deferred[Sequence[tuple[Any, ...] | None]]:
        """These fields of `message.digest.GROUPS` for each UID, made at first need, in a thread, and kept.
        None where a message is gone. Call with at most about 1,000 UIDs at a time."""

    def cut_headers(
        name: str, cut: Callable[[bytes], bytes], uids: Sequence[int]
    ) -> Deferred[Sequence[bytes | None]]:
        """What `cut` makes of the header blocks of `rendered`, in a thread; kept in memory under `name`,
        which says all about `cut`. None where `rendered` has no header."""

    def expunged_since(modseq: int) -> Deferred[Sequence[int] | None]:
        """UIDs expunged after `modseq`, ascending; None where what is remembered does not go back so far
        (RFC 7162, 3.2.6): then each UID that is no message may have been one."""

    def refresh() -> Deferred[None]:
        """Look for what other programs did to the directory (NOOP, CHECK, IDLE wake-up); listeners
        are told. Cheap where nothing changed."""

    def close(listener: IMailboxListener) -> None: ...


@frozen
class StoreResult:
    """changed: UIDs whose flags or MODSEQ were changed; modified: those that failed UNCHANGEDSINCE."""

    changed: tuple[int, ...]
    modified: tuple[int, ...] = ()


@frozen
class TextFound:
    """sure: UIDs of messages that have a text; unsure: of those that must be read to know. Ascending."""

    sure: Sequence[int]
    unsure: Sequence[int]


class IMessageFile(Interface):
    """An open message. Offsets are of the wire form (CRLF). Close it."""

    size = Attribute("octets on the wire: int")

    def read_all() -> bytes | None:
        """The whole wire form if that needs no disk wait and is at most 1 MiB, else None."""

    def read(offset: int, length: int) -> Deferred[bytes]:
        """A slice of the wire form (shorter at the end), read in a thread where the disk must wait."""

    def close() -> None: ...


class IMailboxListener(Interface):
    """A session on a mailbox; called in the reactor thread, after commit. Must not raise."""

    def messages_added(count: int) -> None:
        """`count` messages were appended to the arrays."""

    def flags_changed(uids: Sequence[int], by: IMailboxListener | None) -> None:
        """New flags are in the arrays; `by` is the session that did it (None: delivery, other program)."""

    def messages_removed(uids: Sequence[int], by: IMailboxListener | None) -> None:
        """The arrays are new objects without these UIDs."""

    def mailbox_gone() -> None:
        """Deleted, renamed away, rebuilt with another UIDVALIDITY, or not to be read by this user any more:
        the session must close it."""

    def rights_changed() -> None:
        """`mailbox.rights` are others now."""
