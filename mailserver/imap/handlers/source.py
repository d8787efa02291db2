"""The messages of a view as they are when a search begins: `imap.search.Source` over a mailbox."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.errors import MessageGone
from mailserver.imap.handlers.batches import Batch, batch
from mailserver.imap.handlers.fetch import read_whole
from mailserver.imap.search_source import REST, Rows
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.imap.values import SearchSet, SearchText
from mailserver.message.structure import body_start


class MailboxSource:
    """`rows`: the messages to look at, as indices of the view; those that are gone are not among them."""

    def __init__(self, session: Session, view: Selected) -> None:
        self._session = session
        self._view = view
        self._looked_at = 0
        mailbox = view.mailbox
        messages = batch(view, range(view.told))
        self.rows: list[int] = list(messages.numbers)
        self.uids: Sequence[int] = view.uids
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

    async def headers(self, rows: Sequence[int]) -> Sequence[bytes | None]:
        uids = [self.uids[row] for row in rows]
        found = list(await self._view.mailbox.rendered("HEADER", uids))
        for index, header in enumerate(found):
            if header is None:  # gone, or longer than is kept
                wire = await self.message(rows[index])
                found[index] = None if wire is None else wire[: body_start(wire)]
        return found

    async def message(self, row: int) -> bytes | None:
        try:
            file = self._view.mailbox.open_message(self.uids[row])
        except MessageGone:
            return None
        try:
            data = file.read_all()
            return await read_whole(file) if data is None else data
        finally:
            file.close()

    async def indexed(self, key: SearchText, rows: Rows) -> tuple[Rows, Rows]:
        uids = [self.uids[row] for row in rows]
        found = await self._view.mailbox.indexed(key.text, key.header, uids)
        return _rows_of(found.sure, uids, rows), _rows_of(found.unsure, uids, rows)

    async def containing(self, key: SearchText, rows: Rows) -> Rows:
        uids = [self.uids[row] for row in rows]
        found = await self._view.mailbox.containing(key.text, key.header, uids)
        return _rows_of(found, uids, rows)

    async def rest(self, octets: int) -> None:
        self._looked_at += octets
        if self._looked_at >= REST:
            self._looked_at = 0
            await self._session.breathe()


def _rows_of(found: Sequence[int], uids: Sequence[int], rows: Rows) -> Rows:
    """Rows of the UIDs that were found, of those that were asked for."""
    if len(found) == len(uids):
        return list(rows)
    wanted = set(found)
    return [row for row, uid in zip(rows, uids, strict=True) if uid in wanted] if wanted else []
