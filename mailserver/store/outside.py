"""What reaches a mailbox in memory from outside: other programs, and other processes of this server.

inotify tells of every change to the directories that this process has not announced. Another process of ours
tells in a datagram what it has committed, and that names the files it made, moved or removed: so what both
tell is no reason to look. What one of them tells alone is: the index has the work of our processes, and the
directories that of other programs. A datagram that was lost costs nothing but a look (`Ledger.unchanged`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from mailserver.store.changes import Change
from mailserver.store.reconcile import look
from mailserver.store.watches import Watch

if TYPE_CHECKING:
    from mailserver.store.mailbox import Mailbox
    from mailserver.store.store import MailStore

_DEBOUNCE = 0.03  # seconds between another program's change and our look at it
_SOON = 0.005  # between a commit that came out of order and our look: what lies between may be on its way
_POLL = 10.0  # seconds between looks where inotify is not to be had
_MOST = 2000  # names that are kept until somebody looks


class Outside:
    """Of one mailbox; in the reactor thread only. `run(function, *arguments)` as `Account.run` for it."""

    log = Logger()

    def __init__(
        self, store: MailStore, mailbox: Mailbox, path: str, run: Callable[..., Deferred[Any]]
    ) -> None:
        self._store = store
        self._mailbox = mailbox
        self._path = path
        self._run = run
        self._watch: Watch | None = None
        self._timer: Any = None
        self._names: list[str] | None = None  # what happened to these is not known; None: to any
        self._behind = False  # other processes have committed what is not in the arrays

    def begin(self) -> None:
        """Watch from now on, if that is not done already."""
        if self._watch is None:
            self._watch = self._store.watches.watch(self._path, self._noticed)
            self._names = None

    def seen(self) -> None:
        """The directories and the index are about to be looked at."""
        self._names = []
        self._behind = False

    def listened(self) -> None:
        """There is a session to be told."""
        if self._watch is None:
            self._look_in(_POLL)

    def unheard(self) -> None:
        """There is none any more: nobody looks before the next comes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """The mailbox leaves memory."""
        self.unheard()
        if self._watch is not None:
            self._store.watches.unwatch(self._watch)
            self._watch = None

    @property
    def quiet(self) -> bool:
        """Nothing happened that is not in the arrays, as far as inotify and the other processes tell."""
        if self._watch is None:
            return False
        self._store.look_outside()
        return self._names == [] and not self._behind and self._mailbox.ledger.unchanged

    # --- what is told ----------------------------------------------------------------------------

    def _noticed(self, names: Sequence[str] | None) -> None:
        """By inotify."""
        self._mailbox.forget_listing()
        self._touched(names)

    def _touched(self, names: Sequence[str] | None) -> None:
        if names is None or self._names is None or len(self._names) + len(names) > _MOST:
            self._names = None
        else:
            self._names += names
        if self._mailbox.has_listeners:
            self._look_in(_DEBOUNCE)

    def moved(self) -> None:
        """A file was not where it should be."""
        self._touched(None)

    def fall_behind(self) -> None:
        self._behind = True
        if self._mailbox.has_listeners:
            self._look_in(_SOON)

    def files_of(self, change: Change) -> None:
        """Another process did this to the files: what inotify tells of them is no news."""
        if self._watch is None:
            return
        names = [row.name for row in change.added]
        for uid in change.removed:
            index = self._mailbox.index_of(uid)
            if index >= 0:
                names.append(self._mailbox.names[index])
        for uid, name in change.renamed:
            index = self._mailbox.index_of(uid)
            if index >= 0 and name != self._mailbox.names[index]:
                names += [self._mailbox.names[index], name]
        for name in names:
            if self._names and name in self._names:
                self._names.remove(name)
            else:
                self._store.watches.expect(f"{self._path}/{name[:3]}", name[4:])

    # --- looking ---------------------------------------------------------------------------------

    def _look_in(self, seconds: float) -> None:
        reactor = self._store.reactor
        if self._timer is not None and self._timer.getTime() > reactor.seconds() + seconds:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        self.look().addErrback(lambda failure: self.log.warn("refresh: {error}", error=failure.value))
        if self._watch is None and self._mailbox.has_listeners:
            self._look_in(_POLL)

    def look(self) -> Deferred[None]:
        """Fires when the arrays show what had happened when it was called."""
        if self.quiet:
            return succeed(None)
        names = self._names if self._watch is not None else None
        self.seen()
        return self._run(look, names).addCallback(self._renamed)

    def _renamed(self, found: Sequence[tuple[int, str]]) -> None:
        for uid, name in found:
            self._mailbox.rename(uid, name)
