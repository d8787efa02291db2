"""The messages of a mailbox in memory, as commits change them, and the sessions that are told.

Nothing but `take` changes them, with what a thread has committed, in the order of the commits; so they never
show what could still fail. See `IMailbox` for what sessions rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from mailserver.interfaces import IMailboxListener
from mailserver.store.arrays import Arrays
from mailserver.store.changes import Change
from mailserver.store.kept import Kept
from mailserver.store.keywords import Keywords
from mailserver.store.operations import Loaded


class LiveArrays(Arrays):
    """In the reactor thread only. kept: where things made of the messages are; wanted: called with how many
    sessions more (or less) have a use for changes."""

    log = Logger()
    read_only = False

    def __init__(self, kept: Kept, wanted: Callable[[int], None]) -> None:
        super().__init__()
        self._kept = kept
        self._wanted = wanted
        self._listeners: list[IMailboxListener] = []
        self._number = 0
        self._loaded = False
        self._lasting = True
        self._modseq = 0
        self._early: list[Change] = []
        self.gone = False
        self.uidvalidity = self.uidnext = self.highestmodseq = 0
        self._recent_from = 1
        self._keywords = Keywords()
        self.keywords: list[str] = []
        self.derived: dict[str, Any] = {}

    # --- sessions --------------------------------------------------------------------------------

    def attach(self, listener: IMailboxListener) -> None:
        self._listeners.append(listener)
        self._wanted(1)

    def close(self, listener: IMailboxListener) -> None:
        before = len(self._listeners)
        self._listeners = [one for one in self._listeners if one is not listener]
        self._wanted(len(self._listeners) - before)

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    # --- what was committed ----------------------------------------------------------------------

    def load(self, loaded: Loaded) -> None:
        """As the index has it. Commits that came before go on top."""
        self._number = loaded.number
        self.fill(loaded.columns)
        self._keywords = Keywords(loaded.keywords)
        self.keywords = self._keywords.names
        self.uidvalidity, self.uidnext = loaded.uidvalidity, loaded.uidnext
        self._lasting = loaded.lasting
        self._modseq = loaded.modseq
        self.highestmodseq = loaded.modseq if loaded.lasting else 0
        self._recent_from = loaded.recent_from
        self.read_only = not loaded.writable
        self._loaded = True
        early, self._early = self._early, []
        for change in early:
            self.take(change)

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
        self._apply(change)

    def _apply(self, change: Change) -> None:
        if change.keywords:
            self._keywords.learn(change.keywords)
        self._recent_from = max(self._recent_from, change.recent_from)
        self.uidnext = max(self.uidnext, change.uidnext)
        for uid, name in change.renamed:
            self.rename(uid, name)
        if change.resized is not None:
            self.resize(*change.resized)
            self._kept.forget(id(self), (change.resized[0],))
            self.derived.clear()
        changed = self._not_here(change) if change.caught_up else change.changed
        if not changed:
            self._raise_modseq(change.modseq)
        # What is told of flags is told with the MODSEQ: a client takes it that nothing else is missing then.
        removed = change.removed if change.left is None else self._not_in(change.left)
        if removed:
            self._kept.forget(id(self), removed)
        if removed and self.take_out(removed):
            self._tell("messages_removed", list(removed), change.by)
        if changed:
            self._raise_modseq(change.modseq)
            self.set_flags(changed, change.modseq)
            self._tell("flags_changed", [uid for uid, _ in changed], change.by)
        if change.added and (count := self.add(change.added)):
            self._tell("messages_added", count)

    def _go(self) -> None:
        self.gone = True
        listeners, self._listeners = self._listeners, []
        self._wanted(-len(listeners))
        self._tell("mailbox_gone", listeners=listeners)

    def _tell(self, method: str, *args: Any, listeners: Sequence[IMailboxListener] | None = None) -> None:
        for listener in list(self._listeners) if listeners is None else listeners:
            try:
                getattr(listener, method)(*args)
            except Exception:
                self.log.failure("a session failed at {method}", method=method)

    def _raise_modseq(self, modseq: int) -> None:
        self._modseq = max(self._modseq, modseq)
        if self._lasting:
            self.highestmodseq = self._modseq

    def _not_in(self, left: Sequence[int]) -> Sequence[int]:
        there = set(left)
        return [uid for uid in self.uids if uid not in there]

    def _not_here(self, change: Change) -> Sequence[tuple[int, int]]:
        """Of flags that were read from the index, those that are not in the arrays yet."""
        indexes = ((self.index_of(uid), uid, flags) for uid, flags in change.changed)
        return [(uid, flags) for i, uid, flags in indexes if i >= 0 and self.modseqs[i] < change.modseq]
