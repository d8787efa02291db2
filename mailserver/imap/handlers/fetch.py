"""FETCH and UID FETCH: moves what `imap.fetch` planned from the mailbox to the client (RFC 3501, 6.4.5).

Output leaves in slices, and nothing is produced while the client does not read (CASES E6). A message that
another session expunged before this one was told is left out; FETCH then ends with NO [EXPUNGEISSUED]
(RFC 2180, 4.1.3; RFC 5530), UID FETCH with OK, for the EXPUNGE follows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve

from mailserver.errors import MailError, MessageGone
from mailserver.imap.commands import Command, Fetch
from mailserver.imap.fetch import (
    Content,
    Plan,
    compile_plan,
    date_times,
    encoding_of_part,
    interleave,
    modseq_column,
    prefixes_of,
    rendered,
    span,
)
from mailserver.imap.handlers.batches import Batch, batch, part_of, pieces, take, uids_of
from mailserver.imap.handlers.binary import LargePart, send_binary
from mailserver.imap.handlers.limits import check_partial, last_ranges, ok, tell
from mailserver.imap.handlers.stored import Stored
from mailserver.imap.handlers.vanished import tell_vanished
from mailserver.imap.resync import changed_since
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import Flag, IMessageFile, StoreMode
from mailserver.message.structure import Part, body_start, scan
from mailserver.message.threads import thread_id
from mailserver.message.transfer import UnknownEncoding, decoder

END = b")\r\n"
ARRAY_ROWS = 4096  # rows at a time that come from memory: about 200 KiB, 1 ms
CACHED_ROWS = 1000  # … from the index
CONTENT_ROWS = 256  # … with contents of messages
OUTPUT = 128 * 1024  # octets collected before they are sent
TLS_OUTPUT = 64 * 1024  # … through TLS, whose layer copies large writes
TURN = 1024 * 1024  # octets produced or looked through before other connections get their turn
COMPRESSED_TURN = 128 * 1024  # … where the octets are compressed, some 5 ms
SMALL = 1024 * 1024  # messages up to this size are taken whole


async def fetch(session: Session, command: Fetch) -> None:
    """RFC 3501, 6.4.5 and 6.4.8; RFC 7162, 3.1.4 and 3.2.4."""
    view = session.mailbox
    plan = compile_plan(command.items, command.uid)
    limit = check_partial(session, command)
    if plan.modseq and not session.takes_modseq(command):
        return
    known = view.ranges(command.numbers, command.uid)
    if known is None:
        session.bad(command, "No such message number")
        return
    ranges = part_of(known, command.partial)
    if command.vanished and not view.qresync:
        session.bad(command, "QRESYNC is not enabled")
        return
    if command.changed_since is not None:
        if command.vanished:
            await tell_vanished(session, view, command.numbers, command.changed_since)
        ranges = changed_since(view, ranges, command.changed_since)
    ranges, limited = last_ranges(view, ranges, limit)
    if plan.seen and not view.read_only and await set_seen(view, ranges):
        plan = evolve(plan, flags=True, uid=plan.uid or view.condstore, modseq=plan.modseq or view.condstore)
    sender = RowSender(session, view, plan)
    await sender.send_ranges(ranges)
    if sender.unknown:
        tell(session, limited)
        session.no(command, "Unknown content transfer encoding", "UNKNOWN-CTE")
    elif sender.gone and not command.uid:
        tell(session, limited)
        session.no(command, MessageGone.text, "EXPUNGEISSUED")
    else:
        ok(session, command, limited)


async def set_seen(view: Selected, ranges: Sequence[tuple[int, int]]) -> bool:
    """\\Seen on all messages asked for, in one commit; true where flags changed. A mailbox that cannot be
    written does not keep anyone from reading."""
    flags, unseen = view.mailbox.flags, []
    index_of = view.mailbox.index_of
    if view.current:
        for start, stop in ranges:
            unseen += [i for i, bits in enumerate(flags[start:stop], start) if not bits & Flag.SEEN]
        uids = [view.uids[i] for i in unseen]
    else:
        rows = ((uid, index_of(uid)) for uid in uids_of(view, ranges))
        uids = [uid for uid, row in rows if row >= 0 and not flags[row] & Flag.SEEN]
    if not uids:
        return False
    try:
        result = await view.mailbox.store(uids, StoreMode.ADD, Flag.SEEN.value, None, view)
    except MailError:
        return False
    return bool(result.changed)


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
        self._stored = Stored(view, plan)
        self._last = plan.last

    def _behind(self, item: str | bytes) -> bytes:
        """What stands behind an item's value: the end of the row, or the space before the next."""
        return END if item == self._last else b" "

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
            self._stored.forget()
        self._flush()

    async def _send_batch(self, messages: Batch, following: Sequence[int] | None) -> None:
        columns = self._array_columns(messages)
        missing: set[int] = set()
        for item in self.plan.cached:
            await self._add_cached(columns, messages, item, missing)
        if self.plan.headers or self.plan.thread:
            await self._add_headers(columns, messages, missing)
        if following is not None:
            self._stored.look_ahead(following)
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

    # --- columns ----------------------------------------------------------------------------------

    def _array_columns(self, messages: Batch) -> list[Sequence[bytes]]:
        """What lies in memory, as it is now."""
        plan, view, numbers, rows = self.plan, self.view, messages.numbers, messages.rows
        mailbox = view.mailbox
        uid = plan.tells_uid(view.uidonly)
        lines = prefixes_of(view).get(uid, numbers[-1] + 1, view.uidonly)
        columns: list[Sequence[bytes]] = [take(lines, numbers)]
        if plan.flags:
            told = view.tell_keywords()
            if told:
                self._put(told)
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
        recent, behind = self.view.recent, self._behind("FLAGS")
        plain = self.view.names.fragments(behind).__getitem__
        if not recent or recent.isdisjoint(uids):
            return list(map(plain, flags))
        marked = self.view.names.fragments(behind, recent=True).__getitem__
        return [marked(bits) if uid in recent else plain(bits) for bits, uid in zip(flags, uids, strict=True)]

    async def _add_cached(
        self, columns: list[Sequence[bytes]], messages: Batch, item: str, missing: set[int]
    ) -> None:
        lazy = item == "PREVIEW" and self.plan.lazy
        values = await self._stored.values(item, messages.uids)
        column = [value or b"NIL" for value in values]
        if None in values and not lazy:
            missing.update(i for i, value in enumerate(values) if value is None)
        columns += [[b"%b " % item.encode()] * len(column), column, [self._behind(item)] * len(column)]

    async def _add_headers(self, columns: list[Sequence[bytes]], messages: Batch, missing: set[int]) -> None:
        """What is cut from the cached header, or comes of it; one too long for the cache is read from its
        file."""
        mailbox, uids = self.view.mailbox, messages.uids
        for content in self.plan.headers:
            found = await self._stored.values(content, uids)
            values = await self._whole_column(found, uids, content.cut, missing)
            if content.count is not None:
                values = [content.partial(value) for value in values]
            form = content.label.replace(b"%", b"%%") + b" {%d}\r\n%b" + self._behind(content.label)
            columns.append([form % (len(value), value) for value in values])
        if self.plan.thread:
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

    def _send_rows(self, columns: list[Sequence[bytes]], missing: set[int]) -> None:
        """Rows without contents, which end with their last item."""
        if self._last and not missing:
            self._put(b"".join(interleave(columns)))
            return
        rows = [b"".join(row) for row in zip(*columns, strict=True)]
        if not self._last:  # (UID) alone
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
                    await self._send_large(head, uid, file)
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

    async def _send_large(self, head: bytes, uid: int, file: IMessageFile) -> None:
        """A message that is not held in memory: its parts go from the file to the client."""
        root = None
        if not all(content.whole for content in self.plan.contents):
            root = await self._scan_large(uid, file)
            for content in self.plan.contents:
                if content.decoded:
                    decoder(encoding_of_part(content, root))
        try:
            await self._stream(head, file, root)
        except BaseException:
            # In the middle of a literal no reply would be understood: the connection is cut.
            self.session.wire.end()
            raise

    async def _stream(self, head: bytes, file: IMessageFile, root: Part | None) -> None:
        self._put(head)
        for number, content in enumerate(self.plan.contents):
            if number:
                self._put(b" ")
            found = (0, file.size) if root is None else span(content, root)
            if found is None:
                self._put(content.label + (b" 0" if content.decoded == "SIZE" else b" NIL"))
                continue
            start, end = found
            if content.decoded:
                part = LargePart(file, start, end, encoding_of_part(content, root))
                await send_binary(self.session, content, part, self._put)
                continue
            self._put(content.label)
            if content.cut is not None:
                block = content.partial(content.cut(await file.read(start, end - start)))
                self._put(b" {%d}\r\n%b" % (len(block), block))
                continue
            start, end = partial_span(content, start, end)
            self._put(b" {%d}\r\n" % (end - start))
            self._flush()
            await self.session.send_file(file, start, end - start)
        self._put(END)

    async def _scan_large(self, uid: int, file: IMessageFile) -> Part:
        """The structure of a large message, kept while its parts are asked for one after the other."""
        known = self.view.scanned
        if known is not None and known[0] == uid:
            return known[1]
        data = await read_whole(file)
        root = await self.session.in_thread(lambda: scan(data))
        self.view.scanned = (uid, root)
        return root

    async def _read_header(self, uid: int) -> bytes | None:
        """A header block from the file, None where the message is gone."""
        try:
            file = self.view.mailbox.open_message(uid)
        except MessageGone:
            return None
        try:
            data = file.read_all()
            if data is None:
                data = await read_whole(file)
        finally:
            file.close()
        return data[: body_start(data)]


async def read_whole(file: IMessageFile) -> bytes:
    """All of a message that `read_all` did not give."""
    slices: list[bytes] = []
    at = 0
    while at < file.size:
        data = await file.read(at, SMALL)
        if not data:
            break
        slices.append(data)
        at += len(data)
    return b"".join(slices)


def partial_span(content: Content, start: int, end: int) -> tuple[int, int]:
    """<offset.count> applied to a range; empty beyond its end."""
    if content.count is None:
        return start, end
    first = min(start + content.offset, end)
    return first, min(first + content.count, end)


TABLE: dict[type[Command], Handler] = {Fetch: fetch}
