"""What other programs do to mailboxes that nobody has open, for sessions that want to be told (RFC 5465).

Every folder of an account that is followed is watched by inotify, also those in memory, whose own watch tells
their sessions. A change has the folder looked at, which posts what is found to all who listen; where one of
our own processes made it, the index knows of it already and no directory is read. Beyond `MOST` folders of a
process, and where inotify has no more to give, a change is told when somebody looks, as where nobody follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.errors import MailError, NoSuchMailbox
from mailserver.events import NameChanged, Naming
from mailserver.store.changes import Posted
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger
from mailserver.store.reconcile import look
from mailserver.store.watches import Watch

if TYPE_CHECKING:
    from mailserver.store.store import MailStore

MOST = 1000  # folders that are watched; each takes two of the user's inotify watches
SOON = 0.1  # seconds after a change, so that several are one look
_NAMES_KEPT = 2000  # of a folder, until it is looked at
_NAMES = (Naming.CREATED, Naming.DELETED, Naming.RENAMED)


class _Followed:
    """An account: for how many sessions, its folders with their watches, and those to be looked at."""

    def __init__(self) -> None:
        self.count = 0
        self.watches: dict[str, Watch] = {}
        self.touched: dict[str, list[str] | None] = {}  # names; None: any
        self.timer: Any = None
        self.listed = False  # the folders are being listed, or need not be


class Foreign:
    """In the reactor thread only."""

    log = Logger()

    def __init__(self, store: MailStore) -> None:
        self._store = store
        self._accounts: dict[str, _Followed] = {}
        self._watched = 0
        self._end: Callable[[], None] | None = None

    def follow(self, user: str) -> Callable[[], None]:
        """Tell what other programs do to this account until the answer is called."""
        if self._end is None:
            self._end = self._store.changes.subscribe(self._posted)
        followed = self._accounts.setdefault(user, _Followed())
        followed.count += 1
        self._list(user)

        def end() -> None:
            followed.count -= 1
            if not followed.count and self._accounts.get(user) is followed:
                self._leave(user)

        return end

    def stop(self) -> None:
        for user in list(self._accounts):
            self._leave(user)

    def _leave(self, user: str) -> None:
        followed = self._accounts.pop(user)
        if followed.timer is not None:
            followed.timer.cancel()
        for directory in list(followed.watches):
            self._unwatch(followed, directory)
        if not self._accounts and self._end is not None:
            self._end()
            self._end = None

    # --- which folders ---------------------------------------------------------------------------

    def _posted(self, change: Posted) -> None:
        """A folder that is new, or gone."""
        if isinstance(change, NameChanged) and change.what in _NAMES and change.user in self._accounts:
            self._accounts[change.user].listed = False
            self._list(change.user)

    def _list(self, user: str) -> None:
        followed = self._accounts[user]
        if not followed.listed:
            followed.listed = True
            asked = self._store.get(user).run(_directories)
            asked.addCallback(self._take, user, followed).addErrback(self._failed, user)

    def _take(self, directories: Sequence[str], user: str, followed: _Followed) -> None:
        if self._accounts.get(user) is not followed:
            return
        for directory in set(followed.watches).difference(directories):
            self._unwatch(followed, directory)
        path = self._store.get(user).ledger.folder_path
        for directory in directories:
            if directory not in followed.watches and self._watched < MOST:
                watch = self._store.watches.watch(path(directory), self._toucher(user, directory))
                if watch is None:
                    return
                self._watched += 1
                followed.watches[directory] = watch

    def _unwatch(self, followed: _Followed, directory: str) -> None:
        self._store.watches.unwatch(followed.watches.pop(directory))
        self._watched -= 1

    # --- what happens ----------------------------------------------------------------------------

    def _toucher(self, user: str, directory: str) -> Callable[[Sequence[str] | None], None]:
        def touched(names: Sequence[str] | None) -> None:
            followed = self._accounts.get(user)
            if followed is not None:
                known = followed.touched.get(directory, [])
                lost = names is None or known is None or len(known) + len(names) > _NAMES_KEPT
                followed.touched[directory] = None if lost else [*(known or ()), *(names or ())]
                if followed.timer is None:
                    followed.timer = self._store.reactor.callLater(SOON, self._look, user)

        return touched

    def _look(self, user: str) -> None:
        followed = self._accounts[user]
        followed.timer = None
        touched, followed.touched = followed.touched, {}
        for directory, names in touched.items():
            looking: Deferred[Any] = self._store.get(user).run(look, directory, names)
            looking.addErrback(self._failed, user)

    def _failed(self, failure: Any, user: str) -> None:
        """A folder that is gone meanwhile is none to be looked at."""
        failure.trap(MailError)
        if not failure.check(NoSuchMailbox):
            self.log.warn(
                "{user}: {error} {cause}", user=user, error=failure.value, cause=failure.value.cause
            )


def _directories(ledger: Ledger, opened: Index) -> Sequence[str]:
    """For Ledger.run."""
    return list(ledger.directories())
