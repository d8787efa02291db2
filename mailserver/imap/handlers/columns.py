"""Columns of the rows of a FETCH: what comes from memory, or from what the store keeps of messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailserver.errors import MessageGone
from mailserver.imap.fetch import END, Plan, date_times, modseq_column, prefixes_of
from mailserver.imap.handlers.batches import Batch, take
from mailserver.imap.handlers.large import read_header
from mailserver.imap.handlers.stored import Stored
from mailserver.imap.selected import Selected
from mailserver.message.threads import thread_id


class RowColumns:
    """Of one plan."""

    def __init__(self, view: Selected, plan: Plan) -> None:
        self.stored = Stored(view, plan)
        self._view = view
        self._plan = plan
        self._last = plan.last

    async def of(self, messages: Batch, missing: set[int]) -> list[Sequence[bytes]]:
        """The columns of this batch. missing: gets those of its rows whose messages have no file any more."""
        columns = self._from_memory(messages)
        for item in self._plan.cached:
            await self._add_cached(columns, messages, item, missing)
        if self._plan.headers or self._plan.thread:
            await self._add_headers(columns, messages, missing)
        return columns

    def _behind(self, item: str | bytes) -> bytes:
        """What stands behind an item's value: the end of the row, or the space before the next."""
        return END if item == self._last else b" "

    def _from_memory(self, messages: Batch) -> list[Sequence[bytes]]:
        """What lies in memory, as it is now."""
        plan, view, numbers, rows = self._plan, self._view, messages.numbers, messages.rows
        mailbox = view.mailbox
        uid = plan.tells_uid(view.uidonly)
        lines = prefixes_of(view).get(uid, numbers[-1] + 1, view.uidonly)
        columns: list[Sequence[bytes]] = [take(lines, numbers)]
        if plan.flags:
            columns.append(self._flag_column(take(mailbox.flags, rows), messages.uids))
            view.flags_told(messages.uids, plan.modseq)
        if plan.modseq:
            columns.append(modseq_column(take(mailbox.modseqs, rows), self._behind("MODSEQ")))
        if plan.date:
            dates = take(mailbox.dates, rows)
            columns.append(date_times(b"INTERNALDATE", dates, self._behind("DATE")))
        if plan.size:
            form = b"RFC822.SIZE %d" + self._behind("SIZE")
            columns.append([form % size for size in take(mailbox.sizes, rows)])
        if plan.saved:
            columns.append(date_times(b"SAVEDATE", take(mailbox.saved, rows), self._behind("SAVEDATE")))
        if plan.emailid:
            form = b"EMAILID (%b)" + self._behind("EMAILID")
            ids = mailbox.email_ids(messages.uids)
            columns.append([form % (identity or "").encode("ascii") for identity in ids])
        return columns

    def _flag_column(self, flags: Sequence[int], uids: Sequence[int]) -> list[bytes]:
        recent, behind = self._view.recent, self._behind("FLAGS")
        plain = self._view.names.fragments(behind).__getitem__
        if not recent or recent.isdisjoint(uids):
            return list(map(plain, flags))
        marked = self._view.names.fragments(behind, recent=True).__getitem__
        return [marked(bits) if uid in recent else plain(bits) for bits, uid in zip(flags, uids, strict=True)]

    async def _add_cached(
        self, columns: list[Sequence[bytes]], messages: Batch, item: str, missing: set[int]
    ) -> None:
        lazy = item == "PREVIEW" and self._plan.lazy
        values = await self.stored.values(item, messages.uids)
        column = [value or b"NIL" for value in values]
        if None in values and not lazy:
            missing.update(i for i, value in enumerate(values) if value is None)
        columns += [[b"%b " % item.encode()] * len(column), column, [self._behind(item)] * len(column)]

    async def _add_headers(self, columns: list[Sequence[bytes]], messages: Batch, missing: set[int]) -> None:
        """What is cut from the cached header, or comes of it; one too long for the cache is read from its
        file."""
        mailbox, uids = self._view.mailbox, messages.uids
        for content in self._plan.headers:
            found = await self.stored.values(content, uids)
            values = await self._whole_column(found, uids, content.cut, missing)
            if content.count is not None:
                values = [content.partial(value) for value in values]
            form = content.label.replace(b"%", b"%%") + b" {%d}\r\n%b" + self._behind(content.label)
            columns.append([form % (len(value), value) for value in values])
        if self._plan.thread:
            headers = await self._whole_column(await mailbox.rendered("HEADER", uids), uids, None, missing)
            form = b"THREADID (%b)" + self._behind("THREADID")
            columns.append([form % thread_id(header) for header in headers])

    async def _whole_column(
        self,
        found: Sequence[bytes | None],
        uids: Sequence[int],
        cut: Callable[[bytes], bytes] | None,
        missing: set[int],
    ) -> Sequence[bytes]:
        """Headers, or what is cut of them, with those that the store does not keep."""
        values = [value or b"" for value in found]
        if None in found:
            for number, value in enumerate(found):
                if value is None and number not in missing:
                    header = await self._read_header(uids[number])
                    if header is None:
                        missing.add(number)
                    else:
                        values[number] = header if cut is None else cut(header)
        return values

    async def _read_header(self, uid: int) -> bytes | None:
        """A header block from the file, None where the message is gone."""
        try:
            file = self._view.mailbox.open_message(uid)
        except MessageGone:
            return None
        try:
            return await read_header(file)
        finally:
            file.close()
