"""Who is told, after commit.

A thread that has committed something makes a `Change`; `Changes.post` carries it to the reactor, in the
order of the commits, for it is called while the account's lock is held and the inbox keeps the order.
There the mailbox in memory, if there is one, takes it into its arrays and tells its sessions. A mailbox
that is being loaded keeps what comes meanwhile; `number` says what its snapshot holds already.

What happens to names (`NameChanged`) and annotations goes the same way. Sessions that watch an account are
told of all of it as `events`, also for mailboxes that nobody has open; an account that nobody watches costs
one look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.logger import Logger

from mailserver.disk.threads import Inbox
from mailserver.events import (
    AccountEvent,
    EventsLost,
    MessagesChanged,
    MetadataChanged,
    NameChanged,
    RightsChanged,
)
from mailserver.interfaces import IMailboxListener, MailboxStatus
from mailserver.store.index.rows import Row
from mailserver.store.maildir import folder_of


@frozen
class Change:
    """What one commit did to one folder. `number` ascends within the account.

    changed: (uid, flags) whose MODSEQ is now `modseq`; renamed: (uid, file name). `gone`: the folder is
    deleted, renamed, or its index was rebuilt. before: the MODSEQ of the folder that the commit found, -1
    where that was not noted. recent_from: no message below is \\Recent any more. keywords: all of the
    folder, where they were looked at. left: UIDs of all messages that are not new, where nobody remembers
    which were removed. caught_up: read from the index, for another process has committed it.
    `status`: the counters after the commit.
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
    left: Sequence[int] | None = None
    renamed: Sequence[tuple[int, str]] = ()
    resized: tuple[int, int] | None = None
    recent_from: int = 0
    keywords: Sequence[str] = ()
    gone: bool = False
    caught_up: bool = False
    by: IMailboxListener | None = None
    status: MailboxStatus | None = None


Posted = Change | NameChanged | MetadataChanged | RightsChanged
Watcher = Callable[[AccountEvent], None]


class Taker(Protocol):
    """A mailbox in memory."""

    def take(self, change: Change) -> None: ...
    def arrived(self, change: Change) -> None: ...


class Changes:
    """The mailboxes in memory, by account and directory. In the reactor thread, but for `post`."""

    log = Logger()

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._takers: dict[tuple[str, str], Taker] = {}
        self._others: list[Callable[[Posted], None]] = []
        self._watchers: dict[str, list[Watcher]] = {}
        self._of_rights: list[Callable[[RightsChanged], None]] = []
        self.forward: Callable[[Posted], None] = lambda change: None  # to the other processes
        self.wanted: Callable[[str, int], None] = lambda user, more: None  # by so much more here: theirs

    def post(self, change: Posted) -> None:
        """[thread] Called while the account's lock is held."""
        self._inbox.post(self._apply, change)

    def settle(self, posted: Sequence[Posted], fire: Callable[[], object]) -> None:
        """What this thread, the reactor's, has committed: told now, and its author answered, or behind what
        threads have posted before."""
        if not self._inbox.empty:
            for change in posted:
                self._inbox.post(self._apply, change)
            self._inbox.post(fire)
            return
        for change in posted:
            try:
                self._apply(change)
            except Exception:
                self.log.failure("a change could not be told")
        fire()

    def _apply(self, change: Posted) -> None:
        if not isinstance(change, Change):
            self.forward(change)
            self._tell(change)
            return
        taker = self._takers.get((change.user, change.directory))
        if not change.caught_up:  # before anybody is answered
            self.forward(change)
        if taker is not None:
            taker.take(change)
        if not change.caught_up:
            self._tell(change)

    def arrived(self, change: Posted) -> None:
        """Another process has committed it."""
        if isinstance(change, Change):
            taker = self._takers.get((change.user, change.directory))
            if taker is not None:
                taker.arrived(change)
        self._tell(change)

    def _tell(self, change: Posted) -> None:
        if isinstance(change, RightsChanged):
            self._call(tuple(self._of_rights), change)
        elif change.user in self._watchers:
            event = messages_changed(change) if isinstance(change, Change) else change
            if event is not None:
                self._call(tuple(self._watchers[change.user]), event)
        for other in self._others:
            other(change)

    def lost(self) -> None:
        """Of what other processes did something was not told."""
        for user, watchers in list(self._watchers.items()):
            self._call(tuple(watchers), EventsLost(user))

    def _call(self, watchers: Sequence[Callable[[Any], None]], event: Any) -> None:
        for watcher in watchers:
            try:
                watcher(event)
            except Exception:
                self.log.failure("a session that watches {user} failed", user=event.user)

    def watch_rights(self, watcher: Callable[[RightsChanged], None]) -> Callable[[], None]:
        """Be told of every list of rights that changes, whosever it is; the answer ends it."""
        self._of_rights.append(watcher)

        def end() -> None:
            if watcher in self._of_rights:
                self._of_rights.remove(watcher)

        return end

    def watch(self, user: str, watcher: Watcher) -> Callable[[], None]:
        """Be told of what happens to the mailboxes of one account; the answer ends it."""
        self._watchers.setdefault(user, []).append(watcher)
        self.wanted(user, 1)

        def end() -> None:
            watching = self._watchers.get(user, [])
            if watcher in watching:
                watching.remove(watcher)
                self.wanted(user, -1)
            if not watching:
                self._watchers.pop(user, None)

        return end

    def subscribe(self, callback: Callable[[Posted], None]) -> Callable[[], None]:
        """Be told of everything that is posted, also by other processes (metrics); the answer ends it."""
        self._others.append(callback)
        return lambda: self._others.remove(callback)

    def register(self, user: str, directory: str, taker: Taker) -> None:
        self._takers[user, directory] = taker

    def forget(self, user: str, directory: str, taker: Taker) -> None:
        if self._takers.get((user, directory)) is taker:
            del self._takers[user, directory]

    def find(self, user: str, directory: str) -> Taker | None:
        return self._takers.get((user, directory))


def messages_changed(change: Change) -> MessagesChanged | None:
    """The event of a change; None where no message came, went or was given other flags."""
    name = folder_of(change.directory)
    if name is None or change.status is None or not (change.added or change.removed or change.changed):
        return None
    return MessagesChanged(
        change.user,
        name,
        change.status,
        tuple(row.uid for row in change.added),
        bool(change.removed),
        bool(change.changed),
    )
