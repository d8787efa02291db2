"""[disk] One account's search index: its state in this process, and a slice of the work that fills it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define, field

from mailserver.store.fulltext import database, texts
from mailserver.store.fulltext.database import Entry, FullText
from mailserver.store.fulltext.texts import Named
from mailserver.store.index.database import Index
from mailserver.store.ledger import Ledger

if TYPE_CHECKING:
    from mailserver.store.account import Account

ROWS = 500  # messages that are looked up in one go
WORTH = 200  # messages of an account that has no index yet
REMOVED = 1000  # messages that went before the index is tidied


@define(eq=False)
class State:
    """What this process knows of an account's search index; changed by its jobs, one after the other. seen:
    by UIDVALIDITY, the UID up to which all is entered that can be. removed: messages that went since it was
    tidied, at first enough for that."""

    account: Account
    opened: FullText | None = None
    seen: dict[int, int] = field(factory=dict)
    removed: int = REMOVED

    def exists(self) -> bool:
        """[thread]"""
        return self.opened is not None or os.path.exists(f"{self.account.ledger.path}/{database.FILE}")

    def worth(self) -> bool:
        """[thread] Is there an index, or are there more messages than a search reads without asking it?"""
        return self.exists() or self.account.ledger.run(_messages_in_all) > WORTH

    def open(self) -> FullText:
        """[thread] Raises IndexDamaged."""
        if self.opened is None:
            self.opened = FullText.open(self.account.ledger.path)
        return self.opened

    def close(self) -> None:
        """[thread]"""
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    def discard(self) -> None:
        """[thread]"""
        self.close()
        self.seen.clear()
        database.discard(self.account.ledger.path)


@define(eq=False)
class Filling:
    """[thread] One slice of work for one account."""

    state: State
    opened: FullText
    clock: Callable[[], float]
    until: float

    def run(self, limit: int) -> bool:
        """True where nothing is left to do."""
        ledger, seen = self.state.account.ledger, self.state.seen
        folders = ledger.run(_folders)
        if self.opened.size() < limit:
            for directory, uidvalidity, uidnext in folders:
                while seen.get(uidvalidity, 0) + 1 < uidnext:
                    if not self._go_on(directory, uidvalidity, uidnext):
                        return False
        if self.state.removed >= REMOVED:
            self.state.removed = 0
            self.opened.keep_only({one[1]: ledger.run(_uids, *one[:2]) for one in folders})
        return True

    def _go_on(self, directory: str, uidvalidity: int, uidnext: int) -> bool:
        """The next messages of a folder; False where the time is over."""
        seen = self.state.seen
        messages: list[Named] = self.state.account.ledger.run(
            _messages, directory, uidvalidity, seen.get(uidvalidity, 0)
        )
        upto = messages[-1][0] if len(messages) == ROWS else uidnext - 1
        with self.opened.transaction():
            stopped = self._enter(directory, uidvalidity, messages)
        seen[uidvalidity] = stopped or upto
        return self.clock() <= self.until

    def _enter(self, directory: str, uidvalidity: int, messages: Sequence[Named]) -> int:
        """What is absent of these; the last UID that was looked at, 0 for all."""
        absent = self.opened.absent(uidvalidity, [uid for uid, _ in messages])
        path = self.state.account.ledger.folder_path(directory)
        entries: list[Entry] = []
        lost: list[int] = []
        stopped = 0
        for uid, name in messages:
            if uid in absent:
                if entries and self.clock() > self.until:
                    stopped = uid - 1
                    break
                entry = texts.entry_of(uid, f"{path}/{name}", self.opened.knows)
                if entry is None:
                    lost.append(uid)
                else:
                    entries.append(entry)
        if lost:  # most likely renamed by us since the names were asked for
            for uid, name in self.state.account.ledger.run(names_now, directory, uidvalidity, lost):
                entry = texts.entry_of(uid, f"{path}/{name}", self.opened.knows)
                if entry is not None:
                    entries.append(entry)
        self.opened.enter(uidvalidity, entries)
        return stopped


def _messages_in_all(ledger: Ledger, opened: Index) -> int:
    return opened.usage()[1]


def _folders(ledger: Ledger, opened: Index) -> list[tuple[str, int, int]]:
    return [(folder.dir, folder.uidvalidity, folder.uidnext) for folder in opened.folders()]


def _messages(ledger: Ledger, opened: Index, directory: str, uidvalidity: int, after: int) -> list[Named]:
    """The next of a folder, if it is still the same one."""
    folder = opened.folder(directory)
    if folder is None or folder.uidvalidity != uidvalidity:
        return []
    return opened.names_after(folder, after, ROWS)


def names_now(
    ledger: Ledger, opened: Index, directory: str, uidvalidity: int, uids: Sequence[int]
) -> list[Named]:
    """Of these messages (ascending), if it is still the same folder."""
    folder = opened.folder(directory)
    if folder is None or folder.uidvalidity != uidvalidity:
        return []
    return [(row.uid, row.name) for row in opened.rows(folder, uids)]


def _uids(ledger: Ledger, opened: Index, directory: str, uidvalidity: int) -> Sequence[int]:
    folder = opened.folder(directory)
    return () if folder is None or folder.uidvalidity != uidvalidity else opened.uids(folder)
