"""All accounts under one mail root.

    store = MailStore(settings, reactor, threads, writer, inbox)
    store.start()
    …
    yield store.stop()      # before the threads and the writer are stopped

`threads` is an `OrderedPool`, `writer` a `GroupWriter`, both made with `inbox`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.disk.group_commit import GroupWriter
from mailserver.disk.threads import Inbox, OrderedPool
from mailserver.errors import CannotName, MailError
from mailserver.interfaces import IAccount, IMailStore, QuotaUsage
from mailserver.processes.instance import new_run
from mailserver.store import maildir, operations
from mailserver.store.account import Account
from mailserver.store.changes import Changes
from mailserver.store.foreign import Foreign
from mailserver.store.fulltext.indexing import Indexing
from mailserver.store.kept import Kept
from mailserver.store.ledger import Ledger, Surroundings
from mailserver.store.mailbox import Mailbox
from mailserver.store.message import LineMaps
from mailserver.store.quota import usage_of
from mailserver.store.reconcile import enter_folder
from mailserver.store.sharing.account import SharingAccount
from mailserver.store.sharing.acl import Acls, identifiers
from mailserver.store.sharing.shares import Shares
from mailserver.store.spool import Spool
from mailserver.store.watches import Watches

OPEN_INDEXES = 256
KEPT_MAILBOXES = 64
KEPT_MESSAGES = 500_000
_TIDY_AFTER = 0.2  # seconds after a change of flags, so that several are one rename
_TIDY_AGAIN = 60.0  # where a disk was full
_BUSY = 0.02  # until the threads are looked at again
_PATIENCE = 50
_RENAMES = 100  # in one job, so that other work of the account comes in between


@implementer(IMailStore)
class MailStore:
    """In the reactor thread only, but for what says otherwise. run, part: see `Surroundings` and `Spool`,
    where several processes have one store."""

    log = Logger()

    def __init__(
        self,
        settings: Any,
        reactor: Any,
        threads: OrderedPool,
        writer: GroupWriter,
        inbox: Inbox,
        *,
        clock: Callable[[], float] = time.time,
        host: str | None = None,
        run: str = "",
        part: str = "",
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.threads = threads
        self.writer = writer
        self.root = str(settings.now.mail_dir)
        self.changes = Changes(inbox)
        self.acls = Acls()
        self.shares = Shares(str(settings.now.data_dir), self._identifiers)
        self.watches = Watches(reactor)
        self.foreign = Foreign(self)
        self.maps = LineMaps()
        self.kept = Kept()
        names = maildir.NameMaker(host or settings.now.hostname)
        self.spool = Spool(
            self.root,
            str(settings.now.queue_dir),
            names,
            clock,
            lambda: int(self.settings.now.limits.min_free),
            part=part,
        )
        self._around = Surroundings(
            clock,
            names,
            self.changes.post,
            self.watches.expect,
            enter=enter_folder,
            run=run or new_run(),
        )
        self.read_news: Callable[[], None] = lambda: None  # what other processes have told
        self._accounts: dict[str, SharingAccount] = {}
        self._recently: OrderedDict[str, Account] = OrderedDict()
        self._mailboxes: OrderedDict[tuple[str, str], Mailbox] = OrderedDict()
        self._tidying: dict[str, Any] = {}
        self.indexing = Indexing(self)
        self._stopping = False

    def start(self) -> None:
        """Make the directories that are missing. Raises MailError."""
        self.spool.prepare()
        self.watches.start()
        self.indexing.start()

    def stop(self) -> Deferred[None]:
        """Fires when file names show all flags and every account can go on with the very next UID."""
        self._stopping = True
        self.foreign.stop()
        self.watches.stop()
        for call in self._tidying.values():
            call.cancel()
        self._tidying.clear()
        for mailbox in self._mailboxes.values():
            mailbox.leave()
        done = [self.indexing.stop()]
        done += [
            self.threads.run(user, self._settle, account.ledger) for user, account in self._accounts.items()
        ]
        return gatherResults(done, consumeErrors=True).addCallback(lambda _: None)

    def _settle(self, ledger: Ledger) -> None:
        """[thread] What cannot be done is done at the next start."""
        try:
            for directory in list(ledger.dirty):
                after = 0
                while after := ledger.run(operations.rename_dirty, directory, 500, after):
                    pass
            ledger.settle()
        except MailError as error:
            self.log.warn("{user}: {error} {cause}", user=ledger.user, error=error, cause=error.cause)
        finally:
            ledger.close()

    # --- accounts --------------------------------------------------------------------------------

    def account(self, user: str) -> Deferred[IAccount]:
        try:
            account = self.get(user)
        except MailError as error:
            failed: Deferred[IAccount] = Deferred()
            failed.errback(error)
            return failed
        if account.furnished:
            return succeed(account)
        return account.furnish().addCallback(lambda _: account)

    def get(self, user: str) -> SharingAccount:
        """The account, whose directories may be still to make. Raises CannotName."""
        account = self._accounts.get(user)
        if account is None:
            ledger = Ledger(maildir.account_path(self.root, user), user, self._around)
            account = self._accounts[user] = SharingAccount(self, user, ledger)
        return account

    def _identifiers(self) -> dict[str, set[str]]:
        """[thread] Whom every account grants anything."""
        found: dict[str, set[str]] = {}
        for user in list(self.settings.users.users):
            with suppress(CannotName):
                found[user] = identifiers(maildir.account_path(self.root, user), self.acls)
        return found

    def quota(self, user: str) -> QuotaUsage | None:
        account = self._accounts.get(user)
        if account is None or not account.place.ready:
            return None
        return usage_of(self.settings, account.ledger)

    def used(self, account: Account) -> None:
        """An index is about to be opened; the one that rested longest is closed."""
        self._recently[account.user] = account
        self._recently.move_to_end(account.user)
        while len(self._recently) > OPEN_INDEXES:
            user, oldest = self._recently.popitem(last=False)
            self.threads.run(user, oldest.ledger.close)

    def look_outside(self) -> None:
        """Take in what other programs and other processes have done until now."""
        self.watches.doRead()
        self.read_news()

    def look_everywhere(self) -> None:
        """Of what other processes have done something was not told."""
        for mailbox in list(self._mailboxes.values()):
            mailbox.fall_behind()
        self.changes.lost()

    # --- mailboxes in memory ---------------------------------------------------------------------

    def mailbox(self, account: Account, directory: str) -> Mailbox | None:
        return self._mailboxes.get((account.user, directory))

    def keep(self, account: Account, mailbox: Mailbox) -> None:
        key = (account.user, mailbox.directory)
        self._mailboxes[key] = mailbox
        self._mailboxes.move_to_end(key)
        self.changes.register(*key, mailbox)

    def drop(self, mailbox: Mailbox) -> None:
        mailbox.leave()
        key = (mailbox.user, mailbox.directory)
        if self._mailboxes.get(key) is mailbox:
            del self._mailboxes[key]
        self.changes.forget(*key, mailbox)
        self.kept.forget(id(mailbox))

    def make_room(self) -> None:
        """Mailboxes that no session has open leave memory, the longest unused first."""
        messages = sum(len(mailbox.uids) for mailbox in self._mailboxes.values())
        for mailbox in list(self._mailboxes.values()):
            if len(self._mailboxes) <= KEPT_MAILBOXES and messages <= KEPT_MESSAGES:
                break
            if not mailbox.in_use:
                messages -= len(mailbox.uids)
                self.drop(mailbox)

    # --- file names ------------------------------------------------------------------------------

    def tidy(self, account: Account, after: float = _TIDY_AFTER) -> None:
        """Bring file names up to date, soon and in the background."""
        if account.ledger.dirty and account.user not in self._tidying and not self._stopping:
            self._tidying[account.user] = self.reactor.callLater(after, self._tidy, account)

    def _tidy(self, account: Account) -> None:
        del self._tidying[account.user]
        Deferred.fromCoroutine(self._rename(account)).addErrback(
            lambda failure: self.log.warn("{user}: {error}", user=account.user, error=failure.value)
        )

    async def _rename(self, account: Account) -> None:
        for directory in list(account.ledger.dirty):
            after = 0
            while not self._stopping:
                await self._when_idle()
                after = await account.run(operations.rename_dirty, directory, _RENAMES, after)
                if not after:
                    break
        self.tidy(account, _TIDY_AGAIN)

    async def _when_idle(self) -> None:
        """Names can wait while the threads have what clients wait for, but not for ever."""
        for _ in range(_PATIENCE):
            if not self.threads.busy:
                return
            await deferLater(self.reactor, _BUSY, lambda: None)
