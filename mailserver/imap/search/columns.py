"""What SEARCH, SORT and THREAD know of the headers of a whole mailbox: digests (`message.digest`) as columns.

Shared by all sessions that have the mailbox open, and gone with it. A column is parallel to the mailbox's
arrays as far as it reaches; it is filled at first need, extended when messages have come, and loses the rows
of those that went. Sort orders and threads of the whole mailbox are kept here too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, cast

from mailserver.imap.search.field_texts import Texts
from mailserver.interfaces import IMailbox
from mailserver.message.digest import NOTHING

SLICE = 1000  # digests asked for at a time
COST = 64  # octets that a digest counts as when others may get their turn
LOOK = 4096  # UIDs compared at a time
MAX_KEPT = 8  # sort orders and threads
TEXTS = frozenset(("subject", "from_", "to_", "cc", "bcc"))

Rest = Callable[[int], Awaitable[None]]


class Column(Protocol):
    """A list, or `Texts`."""

    def __len__(self) -> int: ...

    def extend(self, values: Any, /) -> None: ...


def columns_of(mailbox: IMailbox) -> Columns:
    """The columns of a mailbox, made at first need."""
    found = mailbox.derived.get("columns")
    if found is None:
        found = mailbox.derived["columns"] = Columns(mailbox)
    return cast("Columns", found)


class Columns:
    """`uids`: the mailbox's array that the columns are parallel to."""

    def __init__(self, mailbox: IMailbox) -> None:
        self._mailbox = mailbox
        self.uids: Sequence[int] = mailbox.uids
        self._columns: dict[str, Column] = {}
        self._orders: OrderedDict[Any, list[int]] = OrderedDict()
        self._trees: OrderedDict[Any, tuple[int, Any]] = OrderedDict()

    # --- columns ----------------------------------------------------------------------------------

    def behind(self, names: Iterable[str]) -> int:
        """How many digests are missing until these columns reach the end."""
        self.follow()
        return max((len(self.uids) - len(self._column(name)) for name in names), default=0)

    async def load(self, names: Sequence[str], rest: Rest) -> None:
        """These columns reach the end of the mailbox, and are parallel to `uids`, when this returns."""
        while True:
            self.follow()
            uids = self.uids
            start = min(len(self._column(name)) for name in names)
            wanted = list(uids[start : start + SLICE])
            if not wanted:
                return
            short = [name for name in names if len(self._column(name)) == start]
            values = await self._digests(short, wanted)
            self.follow()
            if self.uids is uids:  # else what was asked for may stand elsewhere now: once more
                for name, column in zip(short, values, strict=True):
                    if len(self._column(name)) == start:  # no other session was quicker
                        self._column(name).extend(column)
            await rest(COST * len(wanted))

    def values(self, name: str) -> list[Any]:
        """A column that is loaded and holds no texts to search in. Only ever extended, or replaced."""
        return cast("list[Any]", self._columns[name])

    def texts(self, name: str) -> Texts:
        return cast(Texts, self._columns[name])

    async def pick(self, names: Sequence[str], uids: Sequence[int], rest: Rest) -> list[list[Any]]:
        """These fields of some messages, a list each, without loading columns."""
        found: list[list[Any]] = [[] for _ in names]
        for start in range(0, len(uids), SLICE):
            part = list(uids[start : start + SLICE])
            for column, values in zip(found, await self._digests(names, part), strict=True):
                column.extend(values)
            await rest(COST * len(part))
        return found

    async def _digests(self, names: Sequence[str], uids: Sequence[int]) -> list[tuple[Any, ...]]:
        rows = await self._mailbox.digests(names, uids)
        nothing = tuple([NOTHING[name] for name in names])
        return list(zip(*[nothing if row is None else row for row in rows], strict=True))

    def _column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Texts() if name in TEXTS else []
        return column

    # --- what is made of them ---------------------------------------------------------------------

    def order(self, criteria: Any) -> list[int] | None:
        """The rows in this order, as they were when it was kept; rows that came since are missing."""
        found = self._orders.get(criteria)
        if found is not None:
            self._orders.move_to_end(criteria)
        return found

    def keep_order(self, criteria: Any, order: list[int]) -> None:
        self._orders[criteria] = order
        if len(self._orders) > MAX_KEPT:
            self._orders.popitem(last=False)

    def tree(self, algorithm: str) -> Any:
        """Threads of all messages, None where they are other messages now."""
        count, found = self._trees.get(algorithm, (0, None))
        return found if count == len(self.uids) else None

    def keep_tree(self, algorithm: str, tree: Any) -> None:
        self._trees[algorithm] = (len(self.uids), tree)

    # --- messages go ------------------------------------------------------------------------------

    def follow(self) -> None:
        """Be parallel to the mailbox again, whose array is another object once messages went."""
        old, new = self.uids, self._mailbox.uids
        if new is old:
            return
        runs = surviving(old, new)
        self.uids = new
        self._trees.clear()
        for name, column in self._columns.items():
            if isinstance(column, Texts):
                column.keep(runs)
            else:
                self._columns[name] = _joined(cast("list[Any]", column), runs)
        moved = [-1] * len(old)
        at = 0
        for start, stop in runs:
            moved[start:stop] = range(at, at + stop - start)
            at += stop - start
        for criteria, order in self._orders.items():
            self._orders[criteria] = [row for old_row in order if (row := moved[old_row]) >= 0]


def _joined(column: list[Any], runs: Iterable[tuple[int, int]]) -> list[Any]:
    kept: list[Any] = []
    for start, stop in runs:
        kept += column[start:stop]
    return kept


def surviving(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """Index ranges of `old` whose UIDs are in `new`; both ascend, and what is only in `new` is greater than
    all of `old`."""
    runs: list[tuple[int, int]] = []
    start = i = j = 0
    while i < len(old):
        if old[i : i + LOOK] == new[j : j + min(LOOK, len(old) - i)]:
            i, j = i + LOOK, j + LOOK
            continue
        for uid in old[i : i + LOOK]:
            if j < len(new) and new[j] == uid:
                j += 1
            else:
                if start < i:
                    runs.append((start, i))
                start = i + 1
            i += 1
    if start < len(old):
        runs.append((start, len(old)))
    return runs
