"""The messages of a view as they are when a search begins: `imap.search.source.Source` over a mailbox."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, cast

from mailserver.errors import LimitReached, MessageGone
from mailserver.imap.handlers.batches import Batch, batch
from mailserver.imap.handlers.large import read_header
from mailserver.imap.progress import Progress
from mailserver.imap.search import thread
from mailserver.imap.search.columns import columns_of
from mailserver.imap.search.sort import Criteria, fields_of, keys_of, sort_rows, whole_order
from mailserver.imap.search.source import REST, Rows
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.imap.values import SearchSet, SearchText, SortKey
from mailserver.message.digest import NOTHING

WORTH = 8  # digests that may be made for each that is asked for
BY_DATE = (SortKey("DATE"),)
FIELDS = {"SUBJECT": "subject", "FROM": "from_", "TO": "to_", "CC": "cc", "BCC": "bcc"}
ALGORITHMS = {"ORDEREDSUBJECT": thread.ordered_subject, "REFERENCES": thread.references}


class MailboxSource:
    """`rows`: the messages to look at, as indices of the view; those that are gone are not among them."""

    def __init__(self, session: Session, view: Selected, progress: Progress | None = None) -> None:
        self._session = session
        self._progress = progress
        self.limited = ""  # the response code, where not all messages are looked at
        self._view = view
        self._looked_at = 0
        self._end = session.wire.now() + session.wire.settings.now.search.timeout
        mailbox = view.mailbox
        self._columns = columns_of(mailbox)
        messages = batch(view, range(view.told))
        self.rows: list[int] = list(messages.numbers)
        self.uids: Sequence[int] = view.uids
        self.told = view.told
        self.recent = view.recent
        self.now = int(session.wire.now())
        if view.current:
            self.flags, self.sizes, self.dates = mailbox.flags, mailbox.sizes, mailbox.dates
            self.modseqs = mailbox.modseqs
            self.saved = mailbox.saved
        else:
            self.flags = self._aligned(mailbox.flags, messages)
            self.sizes = self._aligned(mailbox.sizes, messages)
            self.dates = self._aligned(mailbox.dates, messages)
            self.modseqs = self._aligned(mailbox.modseqs, messages)
            self.saved = self._aligned(mailbox.saved, messages)

    def _aligned(self, values: Sequence[int], messages: Batch) -> list[int]:
        """An array of the mailbox by the view's indices; 0 where a message is gone."""
        aligned = [0] * self._view.told
        for number, row in zip(messages.numbers, messages.rows, strict=True):
            aligned[number] = values[row]
        return aligned

    def mask(self, flag: str) -> int:
        return self._view.mailbox.flag_mask((flag,), False)

    def in_set(self, key: SearchSet) -> Sequence[tuple[int, int]]:
        """Numbers that the client cannot know match nothing here (RFC 7377, 2)."""
        numbers, view = key.numbers, self._view
        if key.uid or numbers.saved:
            return view.ranges(numbers, uid=True) or ()
        found = numbers.resolve(view.told)
        return [(first - 1, min(last, view.told)) for first, last in found if first <= view.told]

    def email_ids(self, rows: Sequence[int]) -> Sequence[str | None]:
        return self._view.mailbox.email_ids([self.uids[row] for row in rows])

    # --- columns ----------------------------------------------------------------------------------

    def _few(self, rows: Sequence[int], names: Sequence[str]) -> bool:
        """Are these so few messages that it does not pay to load what is missing of the columns?"""
        return self._columns.behind(names) > WORTH * len(rows)

    async def _fields(self, rows: Sequence[int], names: Sequence[str]) -> list[list[Any]]:
        """These fields of the digests of some messages, which hold no text to search in; a list each."""
        columns = self._columns
        if self._few(rows, names):
            return await columns.pick(names, [self.uids[row] for row in rows], self.rest)
        await columns.load(names, self.rest)
        loaded = [columns.values(name) for name in names]
        if columns.uids is self.uids:
            return [[column[row] for row in rows] for column in loaded]
        place = {uid: index for index, uid in enumerate(columns.uids)}
        places = [place.get(self.uids[row]) for row in rows]
        nothing = [NOTHING[name] for name in names]
        return [
            [other if index is None else column[index] for index in places]
            for column, other in zip(loaded, nothing, strict=True)
        ]

    async def by_field(self, field: str, wanted: str, rows: Rows) -> Rows:
        columns, name = self._columns, FIELDS[field]
        if self._few(rows, (name,)):
            (values,) = await columns.pick((name,), [self.uids[row] for row in rows], self.rest)
            pairs = zip(rows, values, strict=True)
            return [row for row, value in pairs if value is not None and wanted in value]
        await columns.load((name,), self.rest)
        uids, found = columns.uids, []
        for part in columns.texts(name).find(wanted):
            found += part
            await self.rest(REST)
        if uids is not self.uids:
            known = {uids[index] for index in found}
            return [row for row in rows if self.uids[row] in known]
        if len(rows) == self.told:
            return found[: bisect_left(found, len(rows))]
        there = set(found)
        return [row for row in rows if row in there]

    async def sent_days(self, rows: Rows) -> Sequence[int | None]:
        return (await self._fields(rows, ("day",)))[0]

    async def ordered(self, rows: Rows, criteria: Criteria) -> list[int]:
        """`rows` by these criteria."""
        columns = self._columns
        if len(rows) * WORTH < len(self.uids):
            return await self._order_few(rows, criteria)
        uids, order = await whole_order(columns, self._view.mailbox, criteria, self.rest)
        if uids is not self.uids:
            row_of = {self.uids[row]: row for row in rows}
            return [row_of[uid] for index in order if (uid := uids[index]) in row_of]
        if len(rows) == len(order):
            return order
        wanted = bytearray(len(order))
        for row in rows:
            wanted[row] = 1
        return [row for row in order if wanted[row]]

    async def _order_few(self, rows: Sequence[int], criteria: Criteria) -> list[int]:
        names = fields_of(criteria)
        fields = dict(zip(names, await self._fields(rows, names), strict=True)) if names else {}
        dates, sizes = [self.dates[row] for row in rows], [self.sizes[row] for row in rows]
        places = await sort_rows(range(len(rows)), keys_of(criteria, fields, dates, sizes), self.rest)
        return [rows[place] for place in places]

    async def threads(self, rows: Rows, algorithm: str) -> thread.Tree:
        """The threads of these messages, of indices of `rows`. Those of the whole mailbox are kept."""
        columns = self._columns
        columns.follow()
        whole = columns.uids is self.uids and len(rows) == len(columns.uids)
        if whole and (known := columns.tree(algorithm)) is not None:
            return cast(thread.Tree, known)
        bases, replies, ids = await self._fields(rows, ("base", "reply", "ids"))
        order = await self.ordered(rows, BY_DATE)
        if not whole:
            place = {row: index for index, row in enumerate(rows)}
            order = [place[row] for row in order]
        tree = await self._work(ALGORITHMS[algorithm](thread.Messages(bases, order, replies, ids)))
        columns.follow()
        if whole and columns.uids is self.uids and len(rows) == len(columns.uids):
            columns.keep_tree(algorithm, tree)
        return tree

    async def _work(self, work: thread.Work) -> thread.Tree:
        while True:
            try:
                next(work)
            except StopIteration as done:
                return cast(thread.Tree, done.value)
            await self.rest(REST)

    # --- messages ---------------------------------------------------------------------------------

    async def headers(self, rows: Sequence[int]) -> Sequence[bytes | None]:
        uids = [self.uids[row] for row in rows]
        found = list(await self._view.mailbox.rendered("HEADER", uids))
        for index, header in enumerate(found):
            if header is None:  # gone, or longer than is kept
                found[index] = await self._header(rows[index])
        return found

    async def _header(self, row: int) -> bytes | None:
        try:
            file = self._view.mailbox.open_message(self.uids[row])
        except MessageGone:
            return None
        try:
            return await read_header(file)
        finally:
            file.close()

    async def indexed(self, key: SearchText, rows: Rows) -> tuple[Rows, Rows]:
        uids = [self.uids[row] for row in rows]
        found = await self._view.mailbox.indexed(key.text, key.header, uids)
        return _rows_of(found.sure, uids, rows), _rows_of(found.unsure, uids, rows)

    def reading(self, count: int) -> None:
        if self._progress is not None:
            self._progress.begin(count)

    async def containing(self, key: SearchText, rows: Rows) -> Rows:
        uids = [self.uids[row] for row in rows]
        found = await self._view.mailbox.containing(key.text, key.header, uids)
        if self._progress is not None:
            self._progress.done += len(rows)
        return _rows_of(found, uids, rows)

    async def rest(self, octets: int) -> None:
        self._looked_at += octets
        if self._looked_at >= REST:
            self._looked_at = 0
            if self._session.wire.now() > self._end:
                raise LimitReached("The search takes too long")
            await self._session.breathe()


def _rows_of(found: Sequence[int], uids: Sequence[int], rows: Rows) -> Rows:
    """Rows of the UIDs that were found, of those that were asked for."""
    if len(found) == len(uids):
        return list(rows)
    wanted = set(found)
    return [row for row, uid in zip(rows, uids, strict=True) if uid in wanted] if wanted else []
