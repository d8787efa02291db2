"""[disk] An account for programs without a reactor: read and filled through its ledger, whether a server
runs or not.

It is the way of the server's own processes: everything under the account's lock, numbers reserved before
they are given, files durable before they are rows. A server that runs finds, when it takes the lock next or
inotify tells of the files, that another process was here, and brings its mailboxes and sessions up to date.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from mailserver.config.load import Loaded
from mailserver.config.schema import Config, Users
from mailserver.delivery.body import MemoryBody
from mailserver.disk.group_commit import Crew, run_now
from mailserver.errors import CannotName, MailboxExists, NoSuchMailbox
from mailserver.interfaces import KEYWORD, FolderInfo, NewMessage
from mailserver.processes.instance import new_run
from mailserver.store import files, folders, maildir
from mailserver.store.filing import SYSTEM_FLAGS, AccountPlace, Deposit
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger, Surroundings
from mailserver.store.operations import locate
from mailserver.store.quota import limit_of
from mailserver.store.reconcile import enter_folder, refresh
from mailserver.store.spool import AppendJob, Spool
from mailserver.transfer.beside import Beside
from mailserver.transfer.values import Message

_NAMES = {bit: name for name, bit in SYSTEM_FLAGS.items()}
_SPELT = {name.lower(): name for name in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}
HELPERS = 8  # threads that sync files


@frozen
class _Settings:
    """What the store asks of settings."""

    now: Config
    users: Users


@frozen
class Stored:
    """A message of the account, without its text."""

    uid: int
    flags: frozenset[str]
    date: float
    name: str


class LocalAccount:
    """`open` first, `close` at the end. Raises MailErrors."""

    def __init__(self, loaded: Loaded, user: str) -> None:
        self.user = user
        self.settings: Any = _Settings(loaded.config, loaded.users)
        config = loaded.config
        names = maildir.NameMaker(config.hostname)
        around = Surroundings(
            time.time,
            names,
            lambda change: None,
            lambda path, name: None,
            enter=enter_folder,
            run=new_run(),
        )
        self.ledger = Ledger(maildir.account_path(str(config.mail_dir), user), user, around)
        self._place = AccountPlace(self.ledger, folders.prepare)
        self._beside = Beside(config.mail_dir)
        self._spool = Spool(
            str(config.mail_dir), str(self._beside.path), names, time.time, lambda: config.limits.min_free
        )
        self._crew = Crew(HELPERS)
        self._filing = False

    # --- life -------------------------------------------------------------------------------------

    def open(self, furnish: bool = True) -> None:
        """furnish: make the folders for special uses, as the first log-in does."""
        self._place.make_ready()
        if furnish:
            self.ledger.run(folders.furnish)

    def close(self) -> None:
        """File names that do not show their flags yet are left to the server."""
        if self._filing:
            self._crew.stop()
            self._beside.close()
        if files.is_directory(self.ledger.path):
            self.ledger.settle()
        self.ledger.close()

    @property
    def exists(self) -> bool:
        return files.is_directory(self.ledger.path)

    # --- folders ----------------------------------------------------------------------------------

    def folders(self) -> list[FolderInfo]:
        return self.ledger.run(folders.list_folders)

    def make_folder(self, name: str, special: str = "") -> bool:
        """Make and subscribe a folder, where it is not there; was it made?"""
        limit = self.settings.now.limits.mailboxes
        try:
            self.ledger.run(folders.create, name, special, limit)
        except MailboxExists:
            return False
        except CannotName:
            if not special:
                raise
            self.ledger.run(folders.create, name, "", limit)  # the special use is taken
        self.ledger.run(folders.subscribe, name, True)
        return True

    def subscriptions(self) -> list[str]:
        return self.ledger.run(folders.subscriptions)

    def numbers(self, name: str) -> tuple[int, int]:
        """UIDVALIDITY and UIDNEXT."""

        def ask(ledger: Ledger, opened: Index) -> tuple[int, int]:
            row = ledger.folder(opened, maildir.directory_of(name))
            return row.uidvalidity, row.uidnext

        return self.ledger.run(ask)

    # --- messages ---------------------------------------------------------------------------------

    def file(self, name: str, messages: Sequence[Message]) -> list[Exception | None]:
        """Durable when it returns; an outcome for each."""
        if not self._filing:
            self._beside.open()
            self._spool.prepare()
            self._crew.start()
            self._filing = True
        directory = maildir.directory_of(name)
        limit, keywords = limit_of(self.settings, self.user), self.settings.now.limits.keywords
        jobs = []
        for message in messages:
            body: Any = MemoryBody(message.data)
            new = NewMessage(body, message.flags, message.date)
            deposit = Deposit(directory, (), limit, keywords=keywords)
            jobs.append(AppendJob(self._place, deposit, self._spool, [new]))
        outcomes = run_now(jobs, self._crew)
        return [outcome if isinstance(outcome, Exception) else None for outcome in outcomes]

    def stored(self, name: str, first: int = 1, uidvalidity: int = 0) -> list[Stored]:
        """Messages with a UID from `first` on, ascending; none where there is no such folder, or it has
        another UIDVALIDITY than the one that is asked for (0: any)."""
        directory = maildir.directory_of(name)

        def read(ledger: Ledger, opened: Index) -> list[Stored]:
            refresh(ledger, opened, directory)
            folder = ledger.folder(opened, directory)
            if uidvalidity and folder.uidvalidity != uidvalidity:
                return []
            keywords = ledger.keywords_of(folder).names
            return [
                Stored(row.uid, _flag_names(row.flags, keywords), float(row.date), row.name)
                for row in opened.rows(folder)
                if row.uid >= first
            ]

        try:
            return self.ledger.run(read)
        except NoSuchMailbox:
            return []

    def read(self, name: str, stored: Stored) -> bytes | None:
        """The message, LF line ends; None where it is gone."""
        path = self.ledger.folder_path(maildir.directory_of(name))
        for known in (stored.name, None):
            found = known or locate(path, stored.name)
            if found is None:
                return None
            try:
                fd = files.open_message(os.path.join(path, found))
            except OSError:
                continue
            try:
                return b"".join(files.chunks_of(fd)).replace(b"\r\n", b"\n")
            finally:
                os.close(fd)
        return None


def _flag_names(flags: int, keywords: Sequence[str]) -> frozenset[str]:
    found = {_SPELT[name] for bit, name in _NAMES.items() if flags & bit}
    found.update(name for number, name in enumerate(keywords) if flags >> KEYWORD + number & 1)
    return frozenset(found)
