"""An account: what a session does before and beside a selected mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed

from mailserver.disk.patience import Promise
from mailserver.disk.threads import as_mail_error
from mailserver.errors import CannotName, MailError, NoSuchMailbox, TemporaryFailure
from mailserver.events import AccountEvent
from mailserver.interfaces import (
    CopyResult,
    FolderInfo,
    IMailbox,
    IMailboxListener,
    MailboxStatus,
    NewMessage,
    QuotaUsage,
)
from mailserver.rights import OTHERS
from mailserver.store import copying, folders, maildir, metadata, operations
from mailserver.store.changes import Posted
from mailserver.store.filing import AccountPlace, Deposit
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger
from mailserver.store.locking import NotNow
from mailserver.store.mailbox import Mailbox
from mailserver.store.quota import limit_of, usage_of
from mailserver.store.read_only import ReadOnlyMailbox
from mailserver.store.spool import AppendJob

if TYPE_CHECKING:
    from mailserver.store.store import MailStore

T = TypeVar("T")


class Account:
    """One for each user, kept by the store, as `sharing.SharingAccount`. In the reactor thread only."""

    def __init__(self, store: MailStore, user: str, ledger: Ledger) -> None:
        self.store = store
        self.user = user
        self.ledger = ledger
        self.place = AccountPlace(ledger, folders.prepare)
        self.furnished = False

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        """`function(ledger, index, …)` in a thread, after what was asked before. Fails with DiskStuck."""
        self.store.used(self)
        return self.store.threads.ask(self.user, self._work, partial(function, **kwargs), args)

    def run_at_once(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        """As `run`, for what takes a fraction of a millisecond and waits for no disk: here and now, where
        nobody else has the account. To be handed to a thread and back costs several times as much."""
        if self.place.ready and self.store.threads.is_free(self.user):
            self.store.used(self)
            done = Promise()
            posted: list[Posted] = []
            try:
                done.result = self.ledger.run_at_once(posted, partial(function, **kwargs), *args)
            except NotNow:
                self.store.changes.settle(posted, lambda: None)
                return self.run(function, *args, **kwargs)
            except Exception as error:
                done.error = as_mail_error(error)
            self.store.changes.settle(posted, done.fire)
            return done.deferred
        return self.run(function, *args, **kwargs)

    def _work(self, function: Callable[..., T], args: tuple[Any, ...]) -> T:
        """[thread]"""
        self.place.make_ready()
        return self.ledger.run(function, *args)

    def furnish(self) -> Deferred[None]:
        """What a user who logs in may expect to find."""

        def done(result: None) -> None:
            self.furnished = True

        return self.run(folders.furnish).addCallback(done)

    # --- folders ---------------------------------------------------------------------------------

    def folders(self) -> Deferred[Sequence[FolderInfo]]:
        return self.run(folders.list_folders)

    def create(self, name: str, special_use: str = "") -> Deferred[str]:
        limit = self.store.settings.now.limits.mailboxes
        return self.run(folders.create, name, special_use, limit)

    def delete(self, name: str) -> Deferred[None]:
        return self.run(folders.delete, name)

    def rename(self, old: str, new: str) -> Deferred[None]:
        if maildir.normal_name(old) == maildir.INBOX:
            limit = self.store.settings.now.limits.mailboxes
            return self.run(_empty_inbox_into, new, limit)
        return self.run(folders.rename, old, new)

    def subscribe(self, name: str, wanted: bool) -> Deferred[None]:
        return self.run(folders.subscribe, name, wanted)

    def subscriptions(self) -> Deferred[Sequence[str]]:
        return self.run(folders.subscriptions)

    def metadata(self, name: str) -> Deferred[Mapping[str, bytes]]:
        return self.run(metadata.get, name, self.user)

    def set_metadata(self, name: str, values: Mapping[str, bytes | None]) -> Deferred[None]:
        return self.annotate(name, values, self.user)

    def annotate(self, name: str, values: Mapping[str, bytes | None], user: str) -> Deferred[None]:
        """`set_metadata` by somebody who sees this account's mailbox."""
        limits = self.store.settings.now.limits
        size, count = limits.metadata_size, limits.metadata_entries
        return self.run(metadata.put, name, values, user=user, size=size, count=count)

    # --- mailboxes -------------------------------------------------------------------------------

    def status(self, name: str) -> Deferred[MailboxStatus]:
        try:
            directory = _existing(name)
        except MailError as error:
            return fail(error)
        mailbox = self.store.mailbox(self, directory)
        return self.run_at_once(operations.status, directory, look=mailbox is None or not mailbox.current)

    def open(self, name: str, listener: IMailboxListener, read_only: bool = False) -> Deferred[IMailbox]:
        with self._told():
            mailbox = self._at_hand(name)
            if mailbox is None:
                return Deferred.fromCoroutine(self._open_told(name, listener, read_only))
            self.store.keep(self, mailbox)
            return succeed(_attached(mailbox, listener, read_only))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """By other processes, from before the look on, or what comes right behind it would be missed."""
        self.store.changes.wanted(self.user, 1)
        try:
            yield
        finally:
            self.store.changes.wanted(self.user, -1)

    def _at_hand(self, name: str) -> Mailbox | None:
        """A mailbox of this account that is in memory as it is: most of those that are selected again."""
        if name.startswith(OTHERS):
            return None
        try:
            mailbox = self.store.mailbox(self, maildir.directory_of(name))
        except CannotName:
            return None
        return mailbox if mailbox is not None and mailbox.current else None

    async def _open_told(self, name: str, listener: IMailboxListener, read_only: bool) -> IMailbox:
        with self._told():
            return await self._open(name, listener, read_only)

    async def _open(self, name: str, listener: IMailboxListener, read_only: bool) -> IMailbox:
        directory = _existing(name)
        kept = self.store.mailbox(self, directory)
        mailbox = kept or Mailbox(self, maildir.folder_of(directory) or name, directory)
        self.store.keep(self, mailbox)
        try:
            await mailbox.prepare()
        except BaseException:
            if not mailbox.has_listeners:
                self.store.drop(mailbox)
            if kept is not None and mailbox.gone:  # or only its index was: made anew by another process
                return await self._open(name, listener, read_only)
            raise
        if self.store.mailbox(self, directory) is not mailbox:  # another opening of it failed meanwhile
            raise TemporaryFailure()
        opened = _attached(mailbox, listener, read_only)
        self.store.make_room()
        return opened

    def append(self, name: str, messages: Sequence[NewMessage], replacing: int = 0) -> Deferred[CopyResult]:
        try:
            directory = _existing(name)
        except MailError as error:
            return fail(error)
        self.store.used(self)
        self.store.read_news()
        limit = limit_of(self.store.settings, self.user)
        deposit = Deposit(
            directory,
            (),
            limit.replacing(replacing),
            keywords=self.store.settings.now.limits.keywords,
        )
        job = AppendJob(self.place, deposit, self.store.spool, list(messages))
        return self.store.writer.submit(job)

    def transfer(
        self, source: Mailbox, uids: Sequence[int], folder: str, *, move: bool, by: IMailboxListener | None
    ) -> Deferred[CopyResult]:
        """COPY and MOVE into another account's folder."""
        return fail(NoSuchMailbox())

    def watch(self, watcher: Callable[[AccountEvent], None], foreign: bool = False) -> Callable[[], None]:
        return self.store.changes.watch(self.user, watcher)

    def quota(self, name: str = maildir.INBOX) -> Deferred[QuotaUsage]:
        self.store.read_news()  # another process may have set it
        return self.run(_usage).addCallback(lambda _: usage_of(self.store.settings, self.ledger))


def _existing(name: str) -> str:
    """The directory of a folder that should be there: a name that none can have is no folder's."""
    try:
        return maildir.directory_of(name)
    except CannotName as error:
        raise NoSuchMailbox(cause=error) from error


def _attached(mailbox: Mailbox, listener: IMailboxListener, read_only: bool) -> IMailbox:
    mailbox.attach(listener)
    return cast(IMailbox, ReadOnlyMailbox(mailbox)) if read_only else mailbox


def _usage(ledger: Ledger, opened: Index) -> None:
    ledger.count_all(opened)
    ledger.recount(opened)


def _empty_inbox_into(ledger: Ledger, opened: Index, new: str, limit: int) -> None:
    """RENAME INBOX: its messages go to a new folder, INBOX stays and is empty."""
    folders.create(ledger, opened, new, "", limit, old=maildir.INBOX)
    inbox = ledger.folder(opened, "")
    uids = [row.uid for row in opened.rows(inbox)]
    target = maildir.directory_of(new.removesuffix("/"))
    metadata.copy(ledger, "", target)
    copying.copy(ledger, opened, "", uids, target=target, move=True)
