"""A mailbox in memory, shared by all sessions of the process that have it open.

The reactor owns the arrays. Nothing but `take` changes them, with what a thread has committed, in the order
of the commits; so they never show what could still fail. See `IMailbox` for what sessions rely on.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.errors import LimitReached, MessageGone, NoSuchMailbox
from mailserver.interfaces import (
    KEYWORD,
    CopyResult,
    IMailbox,
    IMailboxListener,
    IMessageFile,
    StoreMode,
    StoreResult,
    TextFound,
)
from mailserver.store import files, maildir, object_ids, operations, rendering
from mailserver.store.arrays import Arrays
from mailserver.store.changes import Change
from mailserver.store.copying import copy
from mailserver.store.filing import SYSTEM_FLAGS
from mailserver.store.ledger import Keywords
from mailserver.store.message import MessageFile, open_file
from mailserver.store.operations import Loaded
from mailserver.store.quota import limit_of
from mailserver.store.reconcile import refresh
from mailserver.store.watches import Watch

if TYPE_CHECKING:
    from mailserver.store.account import Account

T = TypeVar("T")
_DEBOUNCE = 0.03  # seconds between another program's change and our look at it
_POLL = 10.0  # seconds between looks where inotify is not to be had


@implementer(IMailbox)
class Mailbox(Arrays):
    """In the reactor thread only."""

    log = Logger()
    read_only = False

    def __init__(self, account: Account, name: str, directory: str) -> None:
        super().__init__()
        self.name = name
        self.directory = directory
        self.user = account.user
        self._account = account
        self._store = account.store
        self._path = account.ledger.folder_path(directory)
        self._listeners: list[IMailboxListener] = []
        self._number = 0
        self._loaded = False
        self._lasting = True
        self._early: list[Change] = []
        self._watch: Watch | None = None
        self._foreign = True
        self._listing: dict[str, str] | None = None
        self._timer: Any = None
        self.gone = False
        self.uidvalidity = self.uidnext = self.highestmodseq = 0
        self._recent_from = 1
        self._keywords = Keywords([])
        self.keywords: list[str] = []

    # --- in and out of memory --------------------------------------------------------------------

    async def prepare(self) -> None:
        """Load, or look at the directories again. Fails with NoSuchMailbox."""
        if self._watch is None:
            self._watch = self._store.watches.watch(self._path, self._touched)
            self._foreign = True
        if self._loaded:
            await self.refresh()
        else:
            self._foreign = False
            loaded = await self._run(operations.load)
            if not self._loaded:
                self._fill(loaded)
            self._store.tidy(self._account)
        if self.gone:
            raise NoSuchMailbox()

    def _fill(self, loaded: Loaded) -> None:
        self._number = loaded.number
        self.fill(loaded.columns)
        self._keywords = loaded.keywords
        self.keywords = loaded.keywords.names
        self.uidvalidity, self.uidnext = loaded.uidvalidity, loaded.uidnext
        self._lasting = loaded.lasting
        self.highestmodseq = loaded.modseq if loaded.lasting else 0
        self._recent_from = loaded.recent_from
        self.read_only = not loaded.writable
        self._loaded = True
        early, self._early = self._early, []
        for change in early:
            self.take(change)

    def attach(self, listener: IMailboxListener) -> None:
        self._listeners.append(listener)
        if self._watch is None:
            self._look_in(_POLL)

    def close(self, listener: IMailboxListener) -> None:
        self._listeners = [one for one in self._listeners if one is not listener]
        if not self._listeners:
            self._wake_up_never()

    def _wake_up_never(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        """It leaves memory."""
        self._wake_up_never()
        if self._watch is not None:
            self._store.watches.unwatch(self._watch)
            self._watch = None

    @property
    def current(self) -> bool:
        """Nothing happened to the directories that is not in the arrays, as far as inotify tells."""
        if self._watch is None or not self._loaded:
            return False
        self._store.watches.doRead()
        return not self._foreign

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    @property
    def in_use(self) -> bool:
        return bool(self._listeners) or not self._loaded

    # --- what was committed ----------------------------------------------------------------------

    def take(self, change: Change) -> None:
        """A commit, in the order of commits; sessions are told."""
        if not self._loaded:
            self._early.append(change)
            return
        if change.number <= self._number:
            return
        self._number = change.number
        if change.gone:
            self._go()
            return
        if self._lasting:
            self.highestmodseq = max(self.highestmodseq, change.modseq)
        self.uidnext = max(self.uidnext, change.uidnext)
        for uid, name in change.renamed:
            self.rename(uid, name)
        if change.resized is not None:
            self.resize(*change.resized)
            self._store.kept.forget(id(self), change.resized[0])
        if change.changed:
            self.set_flags(change.changed, change.modseq)
            self._tell("flags_changed", [uid for uid, _ in change.changed], change.by)
        if change.removed and self.take_out(change.removed):
            self._tell("messages_removed", list(change.removed), change.by)
        if change.added and (count := self.add(change.added)):
            self._tell("messages_added", count)

    def _go(self) -> None:
        self.gone = True
        self._store.drop(self)
        listeners, self._listeners = self._listeners, []
        self._tell("mailbox_gone", listeners=listeners)

    def _tell(self, method: str, *args: Any, listeners: Sequence[IMailboxListener] | None = None) -> None:
        for listener in list(self._listeners) if listeners is None else listeners:
            try:
                getattr(listener, method)(*args)
            except Exception:
                self.log.failure("a session failed at {method}", method=method)

    # --- other programs --------------------------------------------------------------------------

    def _touched(self) -> None:
        """inotify: somebody else changed the directories. Where no session is told, the next will look."""
        self._foreign = True
        if self._listeners:
            self._look_in(_DEBOUNCE)

    def _look_in(self, seconds: float) -> None:
        reactor = self._store.reactor
        if self._timer is not None and self._timer.getTime() > reactor.seconds() + seconds:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        self.refresh().addErrback(lambda failure: self.log.warn("refresh: {error}", error=failure.value))
        if self._watch is None and self._listeners:
            self._look_in(_POLL)

    def refresh(self) -> Deferred[None]:
        if self.current:
            return succeed(None)
        self._foreign = False
        self._listing = None
        done = self._run(refresh)
        done.addCallback(self._tidied)
        return done.addCallback(lambda _: None)

    # --- questions -------------------------------------------------------------------------------

    def flag_mask(self, names: Iterable[str], create: bool) -> int:
        mask = 0
        for name in names:
            bit = SYSTEM_FLAGS.get(name.lower())
            if bit is not None:
                mask |= bit
            elif not name.startswith("\\"):
                limit = self._store.settings.now.limits.keywords if create else 0
                number = self._keywords.number(name, limit)
                if number >= 0:
                    mask |= 1 << (KEYWORD + number)
                elif create:
                    raise LimitReached()
        return mask

    def take_recent(self, listener: IMailboxListener, read_only: bool) -> frozenset[int]:
        first = bisect_left(self.uids, self._recent_from)
        recent = frozenset(self.uids[first:])
        if recent and not (read_only or self.read_only):
            self._recent_from = self.uids[-1] + 1
            done = self._run(operations.take_recent, self._recent_from)
            done.addCallback(lambda _: self._store.tidy(self._account))
            done.addErrback(lambda failure: self.log.warn("recent: {error}", error=failure.value))
        return recent

    @property
    def mailboxid(self) -> str:
        return object_ids.mailbox_id(self.user, self.uidvalidity)

    def email_ids(self, uids: Sequence[int]) -> list[str | None]:
        names, dates, sizes = self.names, self.dates, self.sizes
        return [
            object_ids.email_id(names[index], dates[index], sizes[index]) if index >= 0 else None
            for index in map(self.index_of, uids)
        ]

    def expunged_since(self, modseq: int) -> Deferred[Sequence[int]]:
        return self._run(operations.expunged_since, modseq)

    # --- changes ---------------------------------------------------------------------------------

    def store(
        self,
        uids: Sequence[int],
        mode: StoreMode,
        mask: int,
        unchanged_since: int | None,
        by: IMailboxListener | None,
    ) -> Deferred[StoreResult]:
        done = self._run(
            operations.set_flags,
            _ascending(uids),
            mode=mode,
            mask=mask,
            unchanged_since=unchanged_since,
            by=by,
        )
        return done.addCallback(self._tidied)

    def expunge(self, uids: Sequence[int] | None, by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        if uids is None:
            uids = [uid for uid, flags in zip(self.uids, self.flags, strict=True) if flags & 4]
        return self._run(operations.remove, _ascending(uids), deleted_only=True, by=by)

    def remove(self, uids: Sequence[int], by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        return self._run(operations.remove, _ascending(uids), deleted_only=False, by=by)

    def copy(self, uids: Sequence[int], folder: str) -> Deferred[CopyResult]:
        return self._copy(uids, folder, move=False, by=None)

    def move(self, uids: Sequence[int], folder: str, by: IMailboxListener | None) -> Deferred[CopyResult]:
        return self._copy(uids, folder, move=True, by=by)

    def _copy(self, uids: Sequence[int], folder: str, **how: Any) -> Deferred[CopyResult]:
        try:
            target = maildir.directory_of(folder)
        except Exception:
            return fail(NoSuchMailbox())  # what cannot be a name is nobody's
        limit = limit_of(self._store.settings, self._account.user)
        return self._run(copy, _ascending(uids), target=target, limit=limit, **how)

    # --- content ---------------------------------------------------------------------------------

    def open_message(self, uid: int) -> IMessageFile:
        index = self.index_of(uid)
        if index < 0:
            raise MessageGone()
        name = self.names[index]
        try:
            opened = open_file(f"{self._path}/{name}")
        except OSError as error:
            opened = self._open_elsewhere(index, name, error)
        return MessageFile(
            opened,
            self.sizes[index],
            pool=self._store.threads,
            maps=self._store.maps,
            correct=partial(self._correct, uid),
        )

    def _open_elsewhere(self, index: int, name: str, error: OSError) -> tuple[int, os.stat_result]:
        """Renamed by another program, or by us and the news is on its way."""
        letters = maildir.letters_for(self.flags[index] & maildir.LETTER_BITS)
        candidates: list[Callable[[], str | None]] = [
            lambda: self._account.ledger.moving.get(self.directory, {}).get(name),
            lambda: f"cur/{maildir.base_of(name)}:2,{letters}",
            lambda: self._elsewhere(name),
        ]
        for candidate in candidates:
            found = candidate()
            if found is not None and found != name:
                try:
                    opened = open_file(f"{self._path}/{found}")
                except OSError:
                    continue
                self.names[index] = found
                self._touched()
                return opened
        self._touched()
        raise MessageGone(cause=error) from error

    def _elsewhere(self, name: str) -> str | None:
        """By base name. The directories are read once for all that are missing, until they are looked at."""
        if self._listing is None:
            names = files.message_names(self._path, "new") | files.message_names(self._path, "cur")
            self._listing = {maildir.base_of(name): name for name in names}
        return self._listing.get(maildir.base_of(name))

    def _correct(self, uid: int, size: int) -> None:
        index = self.index_of(uid)
        if index >= 0:
            self.sizes[index] = size
        done = self._run(operations.correct_size, uid, size)
        done.addErrback(lambda failure: self.log.warn("size: {error}", error=failure.value))

    def rendered(self, item: str, uids: Sequence[int]) -> Deferred[Sequence[bytes | None]]:
        kept = self._store.kept.get(id(self), item, uids)
        if kept is not None:
            return succeed(kept)
        done = self._run(rendering.rendered, item, list(uids), renderer=self._store.renderer)

        def keep(values: list[bytes | None]) -> list[bytes | None]:
            if not self.gone:
                self._store.kept.put(id(self), item, uids, values)
            return values

        return done.addCallback(keep)

    def indexed(self, text: str, header: bool, uids: Sequence[int]) -> Deferred[TextFound]:
        return self._store.indexing.find(self._account, self.uidvalidity, uids, text, header)

    def containing(self, text: str, header: bool, uids: Sequence[int]) -> Deferred[Sequence[int]]:
        here = [(uid, self.names[index]) for uid in uids if (index := self.index_of(uid)) >= 0]
        return self._store.indexing.containing(self._account, self.directory, here, text, header)

    # --- help ------------------------------------------------------------------------------------

    def _run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        return self._account.run(function, self.directory, *args, **kwargs)

    def _tidied(self, result: T) -> T:
        self._store.tidy(self._account)
        return result


def _ascending(uids: Sequence[int]) -> list[int]:
    return sorted(set(uids))
