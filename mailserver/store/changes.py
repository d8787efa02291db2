"""Who is told, after commit.

A thread that has committed something makes a `Change`; `Changes.post` carries it to the reactor, in the
order of the commits, for it is called while the account's lock is held and the inbox keeps the order.
There the mailbox in memory, if there is one, takes it into its arrays and tells its sessions. A mailbox
that is being loaded keeps what comes meanwhile; `number` says what its snapshot holds already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from mailserver.interfaces import IMailboxListener
from mailserver.store.rows import Row
from mailserver.threads import Inbox


@frozen
class Change:
    """What one commit did to one folder. `number` ascends within the account.

    changed: (uid, flags) whose MODSEQ is now `modseq`; renamed: (uid, file name). `gone`: the folder is
    deleted, renamed, or its index was rebuilt. before: the MODSEQ of the folder that the commit found, -1
    where that was not noted. recent_from: no message below is \\Recent any more. keywords: all of the
    folder, where they were looked at. caught_up: read from the index, for another process has committed it.
    """

    user: str
    directory: str
    number: int
    modseq: int = 0
    before: int = -1
    uidnext: int = 0
    added: Sequence[Row] = ()
    changed: Sequence[tuple[int, int]] = ()
    removed: Sequence[int] = ()
    renamed: Sequence[tuple[int, str]] = ()
    resized: tuple[int, int] | None = None
    recent_from: int = 0
    keywords: Sequence[str] = ()
    gone: bool = False
    caught_up: bool = False
    by: IMailboxListener | None = None


class Taker(Protocol):
    """A mailbox in memory."""

    def take(self, change: Change) -> None: ...
    def arrived(self, change: Change) -> None: ...


class Changes:
    """The mailboxes in memory, by account and directory. In the reactor thread, but for `post`."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._takers: dict[tuple[str, str], Taker] = {}
        self._others: list[Callable[[Change], None]] = []
        self.forward: Callable[[Change], None] = lambda change: None  # to the other processes

    def post(self, change: Change) -> None:
        """[thread] Called while the account's lock is held."""
        self._inbox.post(self._apply, change)

    def _apply(self, change: Change) -> None:
        taker = self._takers.get((change.user, change.directory))
        if not change.caught_up:  # before anybody is answered
            self.forward(change)
        if taker is not None:
            taker.take(change)
        if not change.caught_up:
            self._tell(change)

    def arrived(self, change: Change) -> None:
        """Another process has committed it."""
        taker = self._takers.get((change.user, change.directory))
        if taker is not None:
            taker.arrived(change)
        self._tell(change)

    def _tell(self, change: Change) -> None:
        for other in self._others:
            other(change)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Be told of every change, also of other processes' (metrics); the answer ends it."""
        self._others.append(callback)
        return lambda: self._others.remove(callback)

    def register(self, user: str, directory: str, taker: Taker) -> None:
        self._takers[user, directory] = taker

    def forget(self, user: str, directory: str, taker: Taker) -> None:
        if self._takers.get((user, directory)) is taker:
            del self._takers[user, directory]

    def find(self, user: str, directory: str) -> Taker | None:
        return self._takers.get((user, directory))
