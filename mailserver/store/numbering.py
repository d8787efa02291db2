"""[disk] The UIDs and MODSEQs that an account may give.

A folder's file `mailserver-uidvalidity` names a UIDNEXT and a MODSEQ ahead of what was given: a reserve, so
that not every message costs a sync. After an unclean stop numbering goes on from there, whatever the index
remembers. The file also names the run of the server: the death of one of its processes is no such stop, for
the index survives that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from twisted.logger import Logger

from mailserver.errors import TemporaryFailure
from mailserver.store import files
from mailserver.store.files import Uids
from mailserver.store.index.database import Index
from mailserver.store.index.rows import NOT_ENTERED, Folder

UID_RESERVE = 1000
MODSEQ_RESERVE = 1_000_000


class Numbering:
    """The reserves of one account, by folder; used where its ledger runs. path: of the account. clock: the
    time of day. run: names this start of the server. wait: called before the disk is waited for."""

    log = Logger()

    def __init__(self, path: str, clock: Callable[[], float], run: str, wait: Callable[[], None]) -> None:
        self._path = path
        self._clock = clock
        self._run = run
        self._wait = wait
        self._reserved: dict[str, Uids] = {}
        self._stale: set[str] = set()  # of those: to be read again

    @property
    def directories(self) -> list[str]:
        """Folders that were entered since the start."""
        return list(self._reserved)

    def __contains__(self, directory: str) -> bool:
        return directory in self._reserved

    # --- what is remembered ----------------------------------------------------------------------

    def uids_of(self, directory: str) -> Uids:
        return self._reserved[directory]

    def remember(self, directory: str, uids: Uids) -> None:
        """The file of a folder says this."""
        self._reserved[directory] = uids

    def entered(self, directory: str, uids: Uids) -> None:
        """As `remember`, after a look at the disk: whatever others reserved is in it."""
        self._reserved[directory] = uids
        self._stale.discard(directory)

    def forget(self, directory: str) -> None:
        self._reserved.pop(directory, None)

    def forget_all(self) -> None:
        self._reserved.clear()

    def move(self, directory: str, to: str) -> None:
        self._reserved[to] = self._reserved.pop(directory)

    def distrust(self) -> None:
        """Another process was here: what it has reserved counts."""
        self._stale.update(self._reserved)

    def holds(self, row: Folder) -> bool:
        """What is remembered of the folder holds. False where it has to be entered again."""
        return row.dir not in self._stale or self._read_again(row)

    def _read_again(self, row: Folder) -> bool:
        if row.uidnext == NOT_ENTERED:
            return False
        uids = files.read_uids(self._folder(row.dir))
        if uids is None or uids.uidvalidity != row.uidvalidity or uids.uidnext < row.uidnext:
            return False
        if uids.run != self._run and (uids.uidnext, uids.modseq) != (row.uidnext, row.modseq):
            return False
        self.entered(row.dir, uids)
        return True

    # --- what is given ---------------------------------------------------------------------------

    def reserve(self, folder: Folder, uids: int = 0) -> None:
        """Before `uids` UIDs and one MODSEQ are given. Durable when it returns."""
        reserved = self._reserved[folder.dir]
        if folder.uidnext + uids <= reserved.uidnext and folder.modseq < reserved.modseq:
            return
        if folder.uidnext + uids + UID_RESERVE >= 1 << 32:
            raise TemporaryFailure(imap="LIMIT", cause="no UIDs left")
        ahead = folder.uidnext + uids + UID_RESERVE if uids else reserved.uidnext
        more = reserved.reserved(max(ahead, reserved.uidnext), folder.modseq + MODSEQ_RESERVE, self._run)
        self.write(folder.dir, more)

    def with_reserve(self, uids: Uids) -> Uids:
        """Of a new folder, for its first messages."""
        return uids.reserved(1 + UID_RESERVE, 1 + MODSEQ_RESERVE, self._run)

    def write(self, directory: str, uids: Uids) -> None:
        """The file of a folder. Where we may not write we do not number messages either: that is borne."""
        self._wait()
        path = self._folder(directory)
        try:
            files.write_uids(path, uids)
        except TemporaryFailure as error:
            if os.access(path, os.W_OK):
                raise
            self.log.warn("{path} cannot be written: {error}", path=path, error=error.cause)
        self.remember(directory, uids)

    def next_uidvalidity(self, opened: Index) -> int:
        """Greater than any that this account has or had, whatever the clock says."""
        last = max((folder.uidvalidity for folder in opened.folders()), default=0)
        last = max(last, files.read_last(self._path), *(uids.uidvalidity for uids in self.on_disk()))
        return max(int(self._clock()), last + 1)

    def on_disk(self) -> Sequence[Uids]:
        """What the files of all folders say; at least one."""
        directories = files.folder_directories(self._path)
        found = [files.read_uids(self._folder(directory)) for directory in directories]
        return [uids for uids in found if uids is not None] or [Uids()]

    def settle(self, opened: Index) -> None:
        """A clean stop, the index being durable: the files say exactly what was given."""
        for directory in self.directories:
            row = opened.folder(directory)
            if row is not None and not self.holds(row):
                continue
            reserved = self._reserved[directory]
            if row is None or (reserved.uidnext, reserved.modseq) == (row.uidnext, row.modseq):
                continue
            exact = reserved.reserved(row.uidnext, row.modseq)
            files.write_uids(self._folder(directory), exact)
            self.remember(directory, exact)

    def _folder(self, directory: str) -> str:
        return files.folder_path(self._path, directory)
