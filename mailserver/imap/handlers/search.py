"""SEARCH and UID SEARCH (RFC 3501, 6.4.4)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.errors import MessageGone
from mailserver.imap.commands import Command, Search
from mailserver.imap.handlers.batches import Batch, batch
from mailserver.imap.handlers.fetch import OUTPUT, read_whole
from mailserver.imap.search import REST, search
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import SearchSet
from mailserver.message.structure import Part, body_start, scan


class MailboxSource:
    """The messages of a view as they are when the search begins; `imap.search.Source`."""

    def __init__(self, session: Session, view: Selected) -> None:
        self._session = session
        self._view = view
        self._looked_at = 0
        mailbox = view.mailbox
        messages = batch(view, range(view.told))
        self.rows: list[int] = list(messages.numbers)
        self.uids: Sequence[int] = view.uids
        self.recent = view.recent
        if view.current:
            self.flags, self.sizes, self.dates = mailbox.flags, mailbox.sizes, mailbox.dates
        else:
            self.flags = self._aligned(mailbox.flags, messages)
            self.sizes = self._aligned(mailbox.sizes, messages)
            self.dates = self._aligned(mailbox.dates, messages)

    def _aligned(self, values: Sequence[int], messages: Batch) -> list[int]:
        """An array of the mailbox by the view's indices; 0 where a message is gone."""
        aligned = [0] * self._view.told
        for number, row in zip(messages.numbers, messages.rows, strict=True):
            aligned[number] = values[row]
        return aligned

    def mask(self, flag: str) -> int:
        return self._view.mailbox.flag_mask((flag,), False)

    def in_set(self, key: SearchSet) -> Sequence[tuple[int, int]]:
        numbers, view = key.numbers, self._view
        if key.uid:
            return view.ranges(numbers, uid=True) or ()
        found = numbers.resolve(view.told)
        return [(first - 1, min(last, view.told)) for first, last in found if first <= view.told]

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

    async def scan(self, wire: bytes) -> Part:
        if len(wire) <= REST:
            return scan(wire)
        return await self._session.in_thread(lambda: scan(wire))

    async def rest(self, octets: int) -> None:
        self._looked_at += octets
        if self._looked_at >= REST:
            self._looked_at = 0
            await self._session.breathe()


async def search_messages(session: Session, command: Search) -> None:
    """The answer is one line, which leaves in slices."""
    view = session.mailbox
    source = MailboxSource(session, view)
    found = await search(command.key, source.rows, source)
    if command.uid:
        numbers = [b" %d" % source.uids[row] for row in found]
    else:
        numbers = [b" %d" % (row + 1) for row in found]
    session.send(b"* SEARCH")
    step = OUTPUT // 8
    for start in range(0, len(numbers), step):
        session.send(b"".join(numbers[start : start + step]))
        if session.output_full:
            await session.drained()
    session.send(b"\r\n")
    session.ok(command)


TABLE: dict[type[Command], Handler] = {Search: search_messages}
