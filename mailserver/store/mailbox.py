"""A mailbox in memory, shared by all sessions of the process that have it open: what they ask of it and do.

The arrays are the reactor's, and change by commits only (`live`). See `IMailbox` for what sessions rely on.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.errors import LimitReached, MessageGone, NoSuchMailbox
from mailserver.interfaces import (
    KEYWORD,
    CopyResult,
    Count,
    IMailbox,
    IMailboxListener,
    IMessageFile,
    StoreMode,
    StoreResult,
    TextFound,
)
from mailserver.message.matching import Matcher
from mailserver.rights import ALL, OTHERS
from mailserver.store import files, maildir, object_ids, operations, rendering
from mailserver.store.changes import Change
from mailserver.store.copying import copy
from mailserver.store.digests import digests
from mailserver.store.filing import SYSTEM_FLAGS
from mailserver.store.ledger import Ledger
from mailserver.store.live import LiveArrays
from mailserver.store.message import MessageFile, open_file
from mailserver.store.outside import Outside
from mailserver.store.quota import limit_of

if TYPE_CHECKING:
    from mailserver.store.account import Account

T = TypeVar("T")
_FEW = 50  # messages of a STORE that is done in the reactor's thread


@implementer(IMailbox)
class Mailbox(LiveArrays):
    """In the reactor thread only."""

    rights = ALL  # of the owner

    def __init__(self, account: Account, name: str, directory: str) -> None:
        super().__init__(account.store.kept, partial(account.store.changes.wanted, account.user))
        self.name = name
        self.directory = directory
        self.user = account.user
        self._account = account
        self._store = account.store
        self._path = account.ledger.folder_path(directory)
        self._outside = Outside(self._store, self, self._path, self._run)
        self._listing: dict[str | tuple[int, int], str] | None = None
        self.mailboxid = ""

    # --- in and out of memory --------------------------------------------------------------------

    async def prepare(self) -> None:
        """Load, or look at the directories again. Fails with NoSuchMailbox."""
        self._outside.begin()
        if self._loaded:
            await self.refresh()
        else:
            self._outside.seen()
            loaded = await self._run(operations.load)
            if not self._loaded:
                self.load(loaded)
                self.mailboxid = object_ids.mailbox_id(self.user, self.uidvalidity)
            self._store.tidy(self._account)
        if self.gone:
            raise NoSuchMailbox()

    def attach(self, listener: IMailboxListener) -> None:
        super().attach(listener)
        self._outside.listened()

    def close(self, listener: IMailboxListener) -> None:
        super().close(listener)
        if not self._listeners:
            self._outside.unheard()

    def leave(self) -> None:
        """It leaves memory."""
        self._outside.end()
        self.ledger.following.end(self.directory)

    @property
    def current(self) -> bool:
        """Nothing happened that is not in the arrays, see `Outside.quiet`."""
        return self._loaded and self._outside.quiet

    @property
    def ledger(self) -> Ledger:
        return self._account.ledger

    @property
    def in_use(self) -> bool:
        return bool(self._listeners) or not self._loaded

    # --- what was committed ----------------------------------------------------------------------

    def arrived(self, change: Change) -> None:
        """A commit of another process, told by it. What is not the next of the folder waits for a look at the
        index, which has them all."""
        if not self._loaded or change.gone:
            self._outside.fall_behind()
            return
        self._outside.files_of(change)
        if change.before == self._modseq:
            self._apply(change)
            self.ledger.following.told_by_others(change)
        else:
            for uid, name in change.renamed:
                self.rename(uid, name)
            if change.modseq > self._modseq:
                self._outside.fall_behind()

    def _go(self) -> None:
        self._store.drop(self)
        super()._go()

    def fall_behind(self) -> None:
        """Another process may have committed something."""
        self._outside.fall_behind()

    def forget_listing(self) -> None:
        """Files may have other names now."""
        self._listing = None

    def refresh(self) -> Deferred[None]:
        if self.current:
            return succeed(None)
        self.forget_listing()
        return self._outside.look().addCallback(self._tidied)

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

    def email_ids(self, uids: Sequence[int]) -> list[str | None]:
        names, dates, sizes = self.names, self.dates, self.sizes
        return [
            object_ids.email_id(names[index], dates[index], sizes[index]) if index >= 0 else None
            for index in map(self.index_of, uids)
        ]

    def expunged_since(self, modseq: int) -> Deferred[Sequence[int] | None]:
        return self._run(operations.expunged_since, modseq)

    # --- changes ---------------------------------------------------------------------------------

    def store(
        self,
        uids: Sequence[int],
        mode: StoreMode,
        mask: int,
        unchanged_since: int | None,
        by: IMailboxListener | None,
        *,
        within: int = -1,
    ) -> Deferred[StoreResult]:
        """within: flag bits that may be changed."""
        uids = _ascending(uids)
        run = self._account.run_at_once if len(uids) <= _FEW else self._account.run
        done = run(
            operations.set_flags,
            self.directory,
            uids,
            mode=mode,
            mask=mask,
            keywords=self._keywords.names_in(mask),
            unchanged_since=unchanged_since,
            by=by,
            within=within,
        )
        return done.addCallback(self._tidied)

    def expunge(self, uids: Sequence[int] | None, by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        if uids is None:
            uids = [uid for uid, flags in zip(self.uids, self.flags, strict=True) if flags & 4]
        return self._run(operations.remove, _ascending(uids), deleted_only=True, by=by)

    def remove(self, uids: Sequence[int], by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        return self._run(operations.remove, _ascending(uids), deleted_only=False, by=by)

    def copy(self, uids: Sequence[int], folder: str, told: Count | None = None) -> Deferred[CopyResult]:
        return self._copy(uids, folder, told, move=False, by=None)

    def move(
        self, uids: Sequence[int], folder: str, by: IMailboxListener | None, told: Count | None = None
    ) -> Deferred[CopyResult]:
        return self._copy(uids, folder, told, move=True, by=by)

    def _copy(self, uids: Sequence[int], folder: str, told: Count | None, **how: Any) -> Deferred[CopyResult]:
        if folder.startswith(OTHERS):
            return self._account.transfer(self, uids, folder, **how)
        try:
            target = maildir.directory_of(folder)
        except Exception:
            return fail(NoSuchMailbox())  # what cannot be a name is nobody's
        limit = limit_of(self._store.settings, self._account.user)
        return self._run(copy, _ascending(uids), target=target, limit=limit, told=told, **how)

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
        """Renamed by another program; or by us, in this process or in another, and the news is on its way."""
        letters = maildir.letters_for(self.flags[index] & maildir.LETTER_BITS)
        candidates: list[Callable[[], str | None]] = [
            lambda: self._account.ledger.moving.get(self.directory, {}).get(name),
            lambda: f"cur/{maildir.base_of(name)}:2,{letters}",
            lambda: self._elsewhere(index, name),
        ]
        for candidate in candidates:
            found = candidate()
            if found is not None and found != name:
                try:
                    opened = open_file(f"{self._path}/{found}")
                except OSError:
                    continue
                self.names[index] = found
                self._outside.moved()
                return opened
        self._outside.moved()
        raise MessageGone(cause=error) from error

    def _elsewhere(self, index: int, name: str) -> str | None:
        """By base name, or by the UID in the name, which a stranger's file is given later. The directories
        are read once for all that are missing, until they are looked at or something happens in them."""
        if self._listing is None:
            names = files.message_names(self._path, "new") | files.message_names(self._path, "cur")
            self._listing = {}
            for one in names:
                parsed = maildir.parse(one[4:])
                self._listing[parsed.base] = one
                if parsed.uid:
                    self._listing[parsed.uidvalidity, parsed.uid] = one
        by_base = self._listing.get(maildir.base_of(name))
        return by_base or self._listing.get((self.uidvalidity, self.uids[index]))

    def _correct(self, uid: int, size: int) -> None:
        index = self.index_of(uid)
        if index >= 0:
            self.sizes[index] = size
        done = self._run(operations.correct_size, uid, size)
        done.addErrback(lambda failure: self.log.warn("size: {error}", error=failure.value))

    def rendered(self, item: str, uids: Sequence[int], make: bool = True) -> Deferred[Sequence[bytes | None]]:
        kept = self._kept.get(id(self), item, uids)
        if kept is not None:
            return succeed(kept)
        if not make:
            return self._run(rendering.already, item, list(uids))
        return self._keeping(item, uids, self._run(rendering.rendered, item, list(uids)))

    def cut_headers(
        self, name: str, cut: Callable[[bytes], bytes], uids: Sequence[int]
    ) -> Deferred[Sequence[bytes | None]]:
        item = "cut " + name
        kept = self._kept.get(id(self), item, uids)
        if kept is not None:
            return succeed(kept)
        return self._keeping(item, uids, self._run(rendering.cut_headers, cut, list(uids)))

    def _keeping(
        self, item: str, uids: Sequence[int], done: Deferred[list[bytes | None]]
    ) -> Deferred[Sequence[bytes | None]]:
        def keep(values: list[bytes | None]) -> list[bytes | None]:
            if not self.gone:
                self._kept.put(id(self), item, uids, values)
            return values

        return done.addCallback(keep)

    def indexed(self, text: str, header: bool, uids: Sequence[int]) -> Deferred[TextFound]:
        return self._store.indexing.find(self._account, self.uidvalidity, uids, text, header)

    def containing(self, text: str, header: bool, uids: Sequence[int]) -> Deferred[Sequence[int]]:
        here = [(uid, self.names[index]) for uid in uids if (index := self.index_of(uid)) >= 0]
        indexing, matcher = self._store.indexing, Matcher(text, header)
        return indexing.containing(self._account, self.directory, self.uidvalidity, here, matcher)

    def digests(
        self, names: Sequence[str], uids: Sequence[int]
    ) -> Deferred[Sequence[tuple[Any, ...] | None]]:
        return self._run(digests, names, list(uids))

    # --- help ------------------------------------------------------------------------------------

    def _run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        return self._account.run(function, self.directory, *args, **kwargs)

    def _tidied(self, result: T) -> T:
        self._store.tidy(self._account)
        return result


def _ascending(uids: Sequence[int]) -> list[int]:
    return sorted(set(uids))
