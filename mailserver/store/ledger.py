"""[disk] One account on the disk: its lock, its index, what is told of it.

Everything that reads or changes an account happens under `run`: the thread lock of the account and a
`flock` on its lock file, so that neither another thread nor another process gives the same UID. What is
remembered from one time to the next (reserves, keywords, use, what mailboxes in memory were told) is looked
at again where another process was here meanwhile (`following`). The index is opened when it is needed and
may be closed whenever nobody holds the lock. An index that proves damaged is put aside, made anew from the
files, and the work is done again.

Which UIDs may be given is known to its `numbering`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.logger import Logger

from mailserver.disk import durable
from mailserver.errors import MailError, NoSuchMailbox, TemporaryFailure
from mailserver.events import MetadataChanged, NameChanged, Naming, RightsChanged
from mailserver.store import files, maildir
from mailserver.store.changes import Posted
from mailserver.store.files import Uids
from mailserver.store.following import Following
from mailserver.store.index import database
from mailserver.store.index.database import Index, IndexDamaged
from mailserver.store.index.rows import Folder, Row
from mailserver.store.keywords import Keywords
from mailserver.store.locking import AccountLock, NotNow
from mailserver.store.numbering import Numbering

P = ParamSpec("P")
T = TypeVar("T")


class Surroundings:
    """What all accounts of a store share."""

    def __init__(
        self,
        clock: Callable[[], float],
        names: maildir.NameMaker,
        post: Callable[[Posted], None],
        expect: Callable[[str, str], None],
        *,
        enter: Callable[[Ledger, Index, str], tuple[Folder, Uids]],
        run: str,
    ) -> None:
        self.clock = clock
        self.names = names
        self.post = post
        self.expect = expect  # (path of a directory, name): a change there that is ours
        self.enter = enter  # reconcile.enter_folder
        self.run = run  # names this start of the server, the same for all its processes
        self.process = secrets.randbits(64)


class Ledger:
    """An account. `run` is the only way in; the other methods are for what runs there."""

    log = Logger()

    def __init__(self, path: str, user: str, around: Surroundings) -> None:
        self.path = path
        self.user = user
        self.around = around
        self.usage = (0, 0)  # octets and messages after the last commit; read without the lock
        self.dirty: set[str] = set()  # folders with file names to be brought up to date
        self.twins: dict[str, set[str]] = {}  # by folder, while its file names are brought up to date
        self.moving: dict[str, dict[str, str]] = {}  # by folder: old and new names of the latest batch
        self.keywords: dict[str, Keywords] = {}
        self.following = Following(user, self._post)
        self.numbering = Numbering(path, around.clock, around.run, self.wait)
        self._lock = AccountLock(path, around.process)
        self._index: Index | None = None
        self._checked = False
        self._uncounted = True
        self._version = -1
        self._posted: list[Posted] | None = None  # in `run_at_once`

    # --- the way in ------------------------------------------------------------------------------

    def run(
        self, function: Callable[Concatenate[Ledger, Index, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function(ledger, index, …)` with the account locked."""
        with self.held():
            try:
                return function(self, self.opened(), *args, **kwargs)
            except IndexDamaged as error:
                self.rebuild(error)
            try:
                return function(self, self.opened(), *args, **kwargs)
            except IndexDamaged as error:
                raise TemporaryFailure(imap="CORRUPTION", cause=error) from error

    def run_at_once(
        self,
        posted: list[Posted],
        function: Callable[Concatenate[Ledger, Index, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As `run`, in the reactor's thread, where nothing has to be waited for; raises NotNow where it has,
        before anything is changed. `posted` gets what is to be told."""
        try:
            with self._lock.held_at_once():
                if self._index is None:
                    raise NotNow
                self._posted = posted
                try:
                    return function(self, self._index, *args, **kwargs)
                finally:
                    self._posted = None
        except IndexDamaged as error:
            raise NotNow from error

    def wait(self) -> None:
        """What follows may wait for the disk, or take long."""
        if self._posted is not None:
            raise NotNow

    @contextmanager
    def held(self) -> Iterator[None]:
        """The account is this thread's and this process's. For what cannot be one function for `run`."""
        with self._lock.held():
            yield
            if self._index is not None:
                self._checkpoint(self._index)

    def _checkpoint(self, opened: Index) -> None:
        """What was committed is committed, whatever becomes of this."""
        try:
            opened.checkpoint()
        except (IndexDamaged, MailError) as error:
            self.log.warn("{user}: checkpoint of the index: {error}", user=self.user, error=str(error))

    def opened(self) -> Index:
        """The index, while the account is held. Raises IndexDamaged."""
        if self._lock.visited and self._index is not None and self._index.replaced():
            self._index.close()
            self._index = None
            self.following.lose()
        if self._index is None:
            self._open_index()
        assert self._index is not None
        if self._lock.visited:
            self._look_after_others(self._index)
            self._lock.visited = False
        return self._index

    @property
    def unchanged(self) -> bool:
        """See `AccountLock.unchanged`."""
        return self._lock.unchanged

    def _look_after_others(self, opened: Index) -> None:
        self.numbering.distrust()
        self.keywords.clear()
        version = opened.version()
        if version != self._version:
            self.usage = opened.usage()
            self.following.catch_up(opened)
            self._version = version

    def _open_index(self) -> None:
        try:
            self._index = Index.open(self.path, not self._checked)
        except IndexDamaged as error:
            self.log.error("{user}: the index is damaged: {error}", user=self.user, error=str(error))
            database.put_aside(self.path)
            self._index = Index.open(self.path, False)
        self._checked = True
        self._uncounted = not self._index.folders()
        self._version = -1
        self.dirty |= self._dirty_directories(self._index)
        self.usage = self._index.usage()

    @staticmethod
    def _dirty_directories(opened: Index) -> set[str]:
        ids = opened.dirty_folders()
        return {folder.dir for folder in opened.folders() if folder.id in ids} if ids else set()

    def rebuild(self, error: IndexDamaged) -> None:
        """Put the index aside; sessions on this account have to open their mailboxes again."""
        self.log.error("{user}: the index is damaged: {error}", user=self.user, error=str(error))
        if self._index is not None:
            self._index.close()
            self._index = None
        database.put_aside(self.path)
        for directory in {*self.numbering.directories, *self.following.directories}:
            self.tell(directory, gone=True)
            self.following.end(directory)
        self.numbering.forget_all()
        self.keywords.clear()
        self.dirty.clear()

    def close(self, wait: bool = True) -> bool:
        """Close the index (it is opened again when needed). False where it is in use and `wait` is not."""
        with self._lock.of_threads(wait) as mine:
            if mine:
                if self._index is not None:
                    self._index.close()
                    self._index = None
                self._lock.close()
            return mine

    @property
    def is_open(self) -> bool:
        return self._index is not None

    # --- what runs in there ----------------------------------------------------------------------

    def folder_path(self, directory: str) -> str:
        return files.folder_path(self.path, directory)

    def tell(self, directory: str, **what: Any) -> None:
        """Post a change; after the commit, with the lock held."""
        self._lock.told = True
        keywords = self.keywords.get(directory)
        if keywords is not None and keywords.names:
            what["keywords"] = tuple(keywords.names)
        self.following.tell(directory, **what)

    def tell_of(self, folder: Folder, **what: Any) -> None:
        """As `tell`, with what the folder's row says now."""
        self.tell(folder.dir, modseq=folder.modseq, uidnext=folder.uidnext, status=folder.status, **what)

    def announce(self, event: NameChanged | MetadataChanged | RightsChanged) -> None:
        """Post what happened to a name or to annotations; with the lock held."""
        self._post(event)

    def _post(self, change: Posted) -> None:
        if self._posted is not None:
            self._posted.append(change)
        else:
            self.around.post(change)

    def announce_name(self, name: str, what: Naming, old: str = "") -> None:
        self.announce(NameChanged(self.user, name, what, old))

    def count_all(self, opened: Index) -> None:
        """Before the use of the account is asked for: an index that was empty when it was opened (it was
        lost, or is new) knows of no folder that was not touched since."""
        if self._uncounted:
            for directory in self.directories():
                with suppress(NoSuchMailbox):
                    self.folder(opened, directory)
            self._uncounted = False

    def recount(self, opened: Index) -> None:
        """Within the transaction that changes them: nothing may fail after a commit."""
        self.usage = opened.usage()

    def add_usage(self, rows: Iterable[Row]) -> None:
        """As `recount`, after a commit that only brought messages."""
        octets, messages = self.usage
        for row in rows:
            octets += row.wire
            messages += 1
        self.usage = (octets, messages)

    def folder(self, opened: Index, directory: str) -> Folder:
        """The row of a folder; one that another program made is entered. Raises NoSuchMailbox."""
        if directory in self.numbering:
            row = opened.folder(directory)
            if row is not None and self.numbering.holds(row):
                self.following.found(row)
                return row
        return self._enter(opened, directory)

    def _enter(self, opened: Index, directory: str) -> Folder:
        """First touch since the start: row and file of the folder are made to agree."""
        self.wait()
        path = self.folder_path(directory)
        if not (files.is_directory(path) and files.is_directory(os.path.join(path, "cur"))):
            raise NoSuchMailbox()
        for sub in ("new", "tmp"):  # a power cut may have left half a folder
            with suppress(TemporaryFailure):
                durable.make_dir(os.path.join(path, sub))
        row, uids = self.around.enter(self, opened, directory)
        self.numbering.entered(directory, uids)
        self.following.found(row)
        self.recount(opened)
        return row

    def directories(self) -> list[str]:
        """Directories of this account that are folders, INBOX first."""
        return files.folder_directories(self.path)

    @contextmanager
    def own_changes(self, folder: Folder, *subs: str) -> Iterator[None]:
        """Changes of ours to new/ or cur/: the mtimes that were known are known afterwards as well."""
        path = self.folder_path(folder.dir)
        before = [files.directory_mtime(path, sub) for sub in subs]
        yield
        for sub, mtime in zip(subs, before, strict=True):
            if sub == "new" and mtime == folder.new_mtime:
                folder.new_mtime, folder.new_young = files.directory_mtime(path, sub), 1
            elif sub == "cur" and mtime == folder.cur_mtime:
                folder.cur_mtime, folder.cur_young = files.directory_mtime(path, sub), 1

    def forget_folder(self, directory: str) -> None:
        """It is gone from the disk."""
        self.numbering.forget(directory)
        self.following.end(directory)
        self.keywords.pop(directory, None)
        self.dirty.discard(directory)

    def move_folder(self, directory: str, to: str) -> None:
        """Its directory has another name now."""
        self.numbering.move(directory, to)
        self.following.end(directory)
        self.keywords.pop(directory, None)
        if directory in self.dirty:
            self.dirty.discard(directory)
            self.dirty.add(to)

    def keywords_of(self, folder: Folder) -> Keywords:
        """As the index has them, and what this process has entered since."""
        keywords = self.keywords.get(folder.dir)
        if keywords is None:
            names = folder.keywords.split("\n") if folder.keywords else []
            keywords = self.keywords[folder.dir] = Keywords(names)
        return keywords

    def save_keywords(self, folder: Folder) -> None:
        """Before flags that use new keywords are committed."""
        keywords = self.keywords_of(folder)
        text = "\n".join(keywords.names)
        if text != folder.keywords:
            self.wait()
            files.write_keywords(self.folder_path(folder.dir), text.split("\n"))
            folder.keywords = text

    # --- stop ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """A clean stop: the index is durable, then the files say exactly what was given."""
        with self._lock.of_threads():
            if not self.numbering.directories or not files.is_directory(self.path):
                return
            self.run(_settle)


def _settle(ledger: Ledger, opened: Index) -> None:
    opened.make_durable()
    ledger.numbering.settle(opened)
