"""Rows of the index as the store handles them."""

from __future__ import annotations

from array import array

from attrs import define, frozen

from mailserver.interfaces import Flag, MailboxStatus

_SEEN = int(Flag.SEEN)
_DELETED = int(Flag.DELETED)


NOT_ENTERED = 0


@define
class Folder:
    """A row of `folders`; see there. Times of directories are in nanoseconds; "young" says that the
    directory had changed less than two seconds before it was looked at. `floor`: UIDs that were expunged at
    or below this MODSEQ may be forgotten. `uidnext` is NOT_ENTERED in the row of a folder whose messages are
    about to be entered: where that was cut off it is done again, and they keep the UIDs in their names."""

    id: int
    dir: str
    uidvalidity: int
    uidnext: int
    modseq: int
    recent_from: int = 1
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    recent: int = 0
    size: int = 0
    new_mtime: int = -1
    new_young: int = 1
    cur_mtime: int = -1
    cur_young: int = 1
    keywords: str = ""
    special: str = ""
    floor: int = 1

    @property
    def first(self) -> int:
        return self.id << 32

    @property
    def last(self) -> int:
        return self.id + 1 << 32

    def count(self, row: Row, sign: int) -> None:
        """Counters for a message that comes (1) or goes (-1)."""
        self.messages += sign
        self.size += sign * row.wire
        self.unseen += 0 if row.flags & _SEEN else sign
        self.deleted += sign if row.flags & _DELETED else 0
        self.recent += sign if row.uid >= self.recent_from else 0

    def count_flags(self, old: int, new: int) -> None:
        self.unseen += bool(old & _SEEN) - bool(new & _SEEN)
        self.deleted += bool(new & _DELETED) - bool(old & _DELETED)

    @property
    def status(self) -> MailboxStatus:
        """The counters as they are now."""
        return MailboxStatus(
            self.messages,
            self.recent,
            self.unseen,
            self.uidnext,
            self.uidvalidity,
            self.modseq,
            self.size,
            self.deleted,
        )


@define(eq=False)
class Row:
    """A row of `messages`. `name` is "cur/…" or "new/…"; `dirty` that the name does not show the flags (1),
    or that the file is to leave new/ as well (2); `saved` when it came into this folder (RFC 8514)."""

    uid: int
    flags: int
    modseq: int
    date: int
    wire: int
    dirty: int
    name: str
    saved: int


@frozen
class Columns:
    """All messages of a folder as parallel arrays, ascending by UID."""

    uids: array[int]
    flags: list[int]
    modseqs: array[int]
    dates: array[int]
    sizes: array[int]
    names: list[str]
    saved: array[int]
