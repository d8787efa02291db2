"""Rows of a FETCH on their way to a client, for all commands that tell of messages so.

Output leaves in slices, and nothing is produced while the client does not read (CASES E6).
"""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.errors import MessageGone
from mailserver.imap.fetch import END, Plan, interleave, rendered
from mailserver.imap.handlers.batches import Batch, batch, pieces
from mailserver.imap.handlers.columns import RowColumns
from mailserver.imap.handlers.large import SMALL, LargeMessages
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.message.structure import scan
from mailserver.message.transfer import UnknownEncoding

ARRAY_ROWS = 4096  # rows at a time that come from memory: about 200 KiB, 1 ms
CACHED_ROWS = 1000  # … from the index
CONTENT_ROWS = 256  # … with contents of messages
OUTPUT = 128 * 1024  # octets collected before they are sent
TLS_OUTPUT = 64 * 1024  # … through TLS, whose layer copies large writes
TURN = 1024 * 1024  # octets produced or looked through before other connections get their turn
COMPRESSED_TURN = 128 * 1024  # … where the octets are compressed, some 5 ms


class RowSender:
    """Sends the rows of one plan. `gone` counts messages that were expunged meanwhile, `unknown` those with
    a part that cannot be decoded (RFC 3516, 4.3); neither is told."""

    def __init__(self, session: Session, view: Selected, plan: Plan) -> None:
        self.session = session
        self.view = view
        self.plan = plan
        self.gone = 0
        self.unknown = 0
        self._slice = TLS_OUTPUT if session.peer.tls else OUTPUT
        self._turn = COMPRESSED_TURN if session.wire.compressed else TURN
        self._produced = 0
        self._out: list[bytes] = []
        self._waiting = 0
        self._columns = RowColumns(view, plan)

    async def send_ranges(self, ranges: Sequence[tuple[int, int]]) -> None:
        """All messages in these index ranges of the view."""
        plan = self.plan
        size = CACHED_ROWS if plan.cached or plan.headers or plan.thread else ARRAY_ROWS
        if plan.contents or ("PREVIEW" in plan.cached and not plan.lazy):
            size = CONTENT_ROWS
        cut = pieces(ranges, size)
        following = next(cut, None)
        try:
            while following is not None:
                messages = batch(self.view, following)
                following = next(cut, None)
                self.gone += messages.gone
                if messages.uids:
                    await self._send_batch(messages, following)
        finally:
            self._columns.stored.forget()
        self._flush()

    async def _send_batch(self, messages: Batch, following: Sequence[int] | None) -> None:
        told = self.view.tell_keywords() if self.plan.flags else b""
        if told:
            self._put(told)
        missing: set[int] = set()
        columns = await self._columns.of(messages, missing)
        if following is not None:
            self._columns.stored.look_ahead(following)
        if self.plan.contents:
            await self._send_contents(columns, messages, missing)
        else:
            self._send_rows(columns, missing)
        await self._rest()

    # --- output -----------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._waiting += len(data)
        if self._waiting >= self._slice:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            self.session.send(b"".join(self._out))
            self._produced += self._waiting
            self._out, self._waiting = [], 0

    async def _rest(self) -> None:
        """Between slices: wait for a slow client, and let others have their turn."""
        if self._produced >= self._turn:
            self._produced = 0
            await self.session.breathe()
        elif self.session.output_full:
            await self.session.drained()

    def _send_rows(self, columns: list[Sequence[bytes]], missing: set[int]) -> None:
        """Rows without contents, which end with their last item."""
        if self.plan.last and not missing:
            self._put(b"".join(interleave(columns)))
            return
        rows = [b"".join(row) for row in zip(*columns, strict=True)]
        if not self.plan.last:  # (UID) alone
            rows = [row[:-1] + END for row in rows]
        if missing:
            self.gone += len(missing)
            rows = [row for number, row in enumerate(rows) if number not in missing]
        self._put(b"".join(rows))

    # --- contents ---------------------------------------------------------------------------------

    async def _send_contents(
        self, columns: list[Sequence[bytes]], messages: Batch, missing: set[int]
    ) -> None:
        heads = [b"".join(row) for row in zip(*columns, strict=True)]
        for number, (head, uid) in enumerate(zip(heads, messages.uids, strict=True)):
            if number in missing:
                self.gone += 1
                continue
            try:
                file = self.view.mailbox.open_message(uid)
            except MessageGone:
                self.gone += 1
                continue
            try:
                data = file.read_all()
                if data is None and file.size <= SMALL:
                    data = await file.read(0, file.size)
                if data is None:
                    large = LargeMessages(self.session, self.view, self.plan, self._put, self._flush)
                    await large.send(head, uid, file)
                else:
                    self._put_contents(head, data)
            except UnknownEncoding:
                self.unknown += 1
            finally:
                file.close()
            # A slice has just left, or much was looked at.
            if self._waiting == 0 or self._produced >= self._turn:
                await self._rest()

    def _put_contents(self, head: bytes, data: bytes) -> None:
        contents = self.plan.contents
        out = self._out
        if len(contents) == 1 and contents[0].whole:
            content = contents[0]
            data = content.partial(data)
            out += (head, b"%b {%d}\r\n" % (content.label, len(data)), data, END)
            self._waiting += len(head) + len(data) + 30
        else:
            root = None if all(content.shallow for content in contents) else scan(data)
            decoded: dict[tuple[int, ...], bytes] = {}
            values = [rendered(c, data, root, decoded) for c in contents]
            row = head + b" ".join(values) + END
            out.append(row)
            self._waiting += len(row)
            self._produced += len(data)
        if self._waiting >= self._slice:
            self._flush()
