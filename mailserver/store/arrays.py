"""The messages of a mailbox in memory: parallel arrays, ascending by UID.

`uids` is appended to when messages come, and replaced by a new object when messages go: a session that
keeps the object and a length has its old sequence numbers (see `IMailbox`). The others go with it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from mailserver.interfaces import Flag
from mailserver.store.index.rows import Columns, Row

_SEEN = Flag.SEEN.value
_SLICE = 1024


class Arrays:
    """`names` are the files: "cur/…" or "new/…"."""

    def __init__(self) -> None:
        self.uids: array[int] = array("Q")
        self.flags: list[int] = []
        self.modseqs: array[int] = array("Q")
        self.sizes: array[int] = array("Q")
        self.dates: array[int] = array("q")
        self.saved: array[int] = array("q")
        self.names: list[str] = []
        self._seen = 0  # messages at the beginning that are known to have \\Seen

    def fill(self, columns: Columns) -> None:
        self.uids, self.flags, self.modseqs = columns.uids, columns.flags, columns.modseqs
        self.sizes, self.dates, self.names = columns.sizes, columns.dates, columns.names
        self.saved = columns.saved
        self._seen = 0

    def first_unseen(self) -> int:
        """See `IMailbox`. Looks on from where it was the last time: what SELECT asks again and again does
        not grow with the mailbox."""
        flags, start = self.flags, self._seen
        if start < len(flags) and not flags[start] & _SEEN:
            return start + 1
        while some := flags[start : start + _SLICE]:
            if not all(bits & _SEEN for bits in set(some)):
                start += next(n for n, bits in enumerate(some) if not bits & _SEEN)
                break
            start += len(some)
        self._seen = start
        return start + 1 if start < len(flags) else 0

    def index_of(self, uid: int) -> int:
        """-1 where there is none."""
        uids = self.uids
        index = bisect_left(uids, uid)
        return index if index < len(uids) and uids[index] == uid else -1

    def rename(self, uid: int, name: str) -> None:
        index = self.index_of(uid)
        if index >= 0:
            self.names[index] = name

    def resize(self, uid: int, wire: int) -> None:
        index = self.index_of(uid)
        if index >= 0:
            self.sizes[index] = wire

    def set_flags(self, changed: Sequence[tuple[int, int]], modseq: int) -> None:
        """(uid, flags), ascending; messages that are not here are left out."""
        if unseen := next((uid for uid, flags in changed if not flags & _SEEN), 0):
            self._seen = min(self._seen, bisect_left(self.uids, unseen))
        first = bisect_left(self.uids, changed[0][0])
        last = first + len(changed)
        if last <= len(self.uids) and self.uids[last - 1] == changed[-1][0]:  # one run: as a slice
            self.flags[first:last] = [flags for _, flags in changed]
            self.modseqs[first:last] = array("Q", (modseq,)) * len(changed)
            return
        for uid, flags in changed:
            index = self.index_of(uid)
            if index >= 0:
                self.flags[index] = flags
                self.modseqs[index] = modseq

    def take_out(self, uids: Sequence[int]) -> bool:
        """New arrays without these messages (ascending), copied in runs; False where none was here."""
        indexes = [index for uid in uids if (index := self.index_of(uid)) >= 0]
        if not indexes:
            return False
        self._seen -= bisect_left(indexes, self._seen)
        runs: list[tuple[int, int]] = []
        start = 0
        for index in indexes:
            if index > start:
                runs.append((start, index))
            start = index + 1
        runs.append((start, len(self.uids)))
        self.uids = _joined(self.uids, runs, array("Q"))
        self.flags = _joined(self.flags, runs, [])
        self.modseqs = _joined(self.modseqs, runs, array("Q"))
        self.sizes = _joined(self.sizes, runs, array("Q"))
        self.dates = _joined(self.dates, runs, array("q"))
        self.saved = _joined(self.saved, runs, array("q"))
        self.names = _joined(self.names, runs, [])
        return True

    def add(self, rows: Sequence[Row]) -> int:
        """Messages at the end (ascending); how many were new."""
        last = self.uids[-1] if self.uids else 0
        if rows[0].uid <= last:
            rows = [row for row in rows if row.uid > last]
        self.uids.extend([row.uid for row in rows])
        self.flags.extend([row.flags for row in rows])
        self.modseqs.extend([row.modseq for row in rows])
        self.sizes.extend([row.wire for row in rows])
        self.dates.extend([row.date for row in rows])
        self.saved.extend([row.saved for row in rows])
        self.names.extend([row.name for row in rows])
        return len(rows)


def _joined(values: Any, runs: Sequence[tuple[int, int]], into: Any) -> Any:
    for start, end in runs:
        into += values[start:end]
    return into
