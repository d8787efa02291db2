"""Mailboxes in memory, as `interfaces.IAccount` and `IMailbox` describe them: for tests of the sessions."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.errors import MessageGone, NoSuchMailbox
from mailserver.interfaces import IAccount, IMailbox, IMailboxListener, IMessageFile

SMALL = 1024 * 1024


@implementer(IMessageFile)
class FakeFile:
    """A message in memory. `immediate` false: `read_all` declines, and `read` waits for `release`."""

    def __init__(self, data: bytes, waiting: list[Deferred[bytes]] | None = None) -> None:
        self.size = len(data)
        self.closed = False
        self._data = data
        self._waiting = waiting

    def read_all(self) -> bytes | None:
        return self._data if self._waiting is None and self.size <= SMALL else None

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        if self.closed:
            raise AssertionError("read after close")
        data = self._data[offset : offset + length]
        if self._waiting is None:
            return succeed(data)
        answer: Deferred[bytes] = Deferred()
        self._waiting.append(answer)
        return answer.addCallback(lambda _: data)

    def close(self) -> None:
        self.closed = True


@implementer(IMailbox)
class FakeMailbox:
    """Messages by UID, in wire form.

    slow_reads: a list that collects the reads to be fired, None where every message is read at once
    removal:    a Deferred that `remove` waits for; keep: UIDs that cannot be removed
    """

    name = "INBOX"
    read_only = False
    highestmodseq = 1

    def __init__(self, messages: Sequence[bytes] = (), uidvalidity: int = 0x5F000000) -> None:
        self.uidvalidity = uidvalidity
        self.uids: array[int] = array("Q")
        self.sizes: array[int] = array("Q")
        self.flags: list[int] = []
        self.keywords: list[str] = []
        self.uidnext = 1
        self.data: dict[int, bytes] = {}
        self.listeners: list[IMailboxListener] = []
        self.files: list[FakeFile] = []
        self.slow_reads: list[Deferred[bytes]] | None = None
        self.removal: Deferred[None] | None = None
        self.keep: frozenset[int] = frozenset()
        self.removed: list[int] = []
        for message in messages:
            self.add(message)

    @property
    def modseqs(self) -> array[int]:
        return array("Q", [1] * len(self.uids))

    @property
    def dates(self) -> array[int]:
        return array("q", [0] * len(self.uids))

    def add(self, message: bytes) -> int:
        """Deliver; listeners are told."""
        uid = self.uidnext
        self.uidnext += 1
        self.uids.append(uid)
        self.sizes.append(len(message))
        self.flags.append(0)
        self.data[uid] = message
        for listener in self.listeners:
            listener.messages_added(1)
        return uid

    def index_of(self, uid: int) -> int:
        return self.uids.index(uid) if uid in self.uids else -1

    def open_message(self, uid: int) -> IMessageFile:
        if uid not in self.data:
            raise MessageGone
        file = FakeFile(self.data[uid], self.slow_reads)
        self.files.append(file)
        return file

    def remove(self, uids: Sequence[int], by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        if self.removal is not None:
            return self.removal.addCallback(lambda _: self._remove(uids, by))
        return succeed(self._remove(uids, by))

    def _remove(self, uids: Sequence[int], by: IMailboxListener | None) -> list[int]:
        gone = [uid for uid in uids if uid in self.data and uid not in self.keep]
        left = [(uid, size) for uid, size in zip(self.uids, self.sizes, strict=True) if uid not in gone]
        self.uids = array("Q", [uid for uid, _ in left])
        self.sizes = array("Q", [size for _, size in left])
        self.flags = [0] * len(left)
        for uid in gone:
            del self.data[uid]
        self.removed += gone
        for listener in list(self.listeners):
            listener.messages_removed(gone, by)
        return gone

    def refresh(self) -> Deferred[None]:
        return succeed(None)

    def close(self, listener: IMailboxListener) -> None:
        self.listeners.remove(listener)


@implementer(IAccount)
class FakeAccount:
    """One INBOX. `opening`: a Deferred that `open` waits for."""

    def __init__(self, user: str = "mrose", messages: Sequence[bytes] = ()) -> None:
        self.user = user
        self.inbox = FakeMailbox(messages)
        self.opening: Deferred[None] | None = None

    def open(self, name: str, listener: IMailboxListener, read_only: bool = False) -> Deferred[Any]:
        if name != "INBOX":
            return fail(NoSuchMailbox())
        if self.opening is not None:
            return self.opening.addCallback(lambda _: self._open(listener))
        return succeed(self._open(listener))

    def _open(self, listener: IMailboxListener) -> FakeMailbox:
        self.inbox.listeners.append(listener)
        return self.inbox
