"""Messages that are not held in memory: their parts go from the file to the client."""

from __future__ import annotations

import io
from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock

from mailserver.imap.fetch import END, Content, Plan, encoding_of_part, span
from mailserver.imap.handlers.binary import LargePart, send_binary
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.interfaces import IMessageFile
from mailserver.message.structure import Part, body_start, scan
from mailserver.message.transfer import decoder

SMALL = 1024 * 1024  # a message up to this size is taken whole
_SCANNING = DeferredLock()  # a message is in memory as a whole then: one at a time (CASES E13)


class LargeMessages:
    """Of one plan. put, flush: where what stands around the octets goes."""

    def __init__(
        self,
        session: Session,
        view: Selected,
        plan: Plan,
        put: Callable[[bytes], None],
        flush: Callable[[], None],
    ) -> None:
        self._session = session
        self._view = view
        self._plan = plan
        self._put = put
        self._flush = flush

    async def send(self, head: bytes, uid: int, file: IMessageFile) -> None:
        """One row of the plan; `head` is what stands before the contents."""
        root = None
        if not all(content.whole for content in self._plan.contents):
            root = await self._scan_large(uid, file)
            for content in self._plan.contents:
                if content.decoded:
                    decoder(encoding_of_part(content, root))
        try:
            await self._stream(head, file, root)
        except BaseException:
            # In the middle of a literal no reply would be understood: the connection is cut.
            self._session.wire.end()
            raise

    async def _stream(self, head: bytes, file: IMessageFile, root: Part | None) -> None:
        self._put(head)
        for number, content in enumerate(self._plan.contents):
            if number:
                self._put(b" ")
            found = (0, file.size) if root is None else span(content, root)
            if found is None:
                self._put(content.label + (b" 0" if content.decoded == "SIZE" else b" NIL"))
                continue
            start, end = found
            if content.decoded:
                part = LargePart(file, start, end, encoding_of_part(content, root))
                await send_binary(self._session, content, part, self._put)
                continue
            self._put(content.label)
            if content.cut is not None:
                block = content.partial(content.cut(await file.read(start, end - start)))
                self._put(b" {%d}\r\n%b" % (len(block), block))
                continue
            start, end = partial_span(content, start, end)
            self._put(b" {%d}\r\n" % (end - start))
            self._flush()
            await self._session.send_file(file, start, end - start)
        self._put(END)

    async def _scan_large(self, uid: int, file: IMessageFile) -> Part:
        """The structure of a large message, kept while its parts are asked for one after the other."""
        known = self._view.scanned
        if known is not None and known[0] == uid:
            return known[1]
        root = await scan_whole(self._session, file)
        self._view.scanned = (uid, root)
        return root


async def scan_whole(session: Session, file: IMessageFile) -> Part:
    """The structure of a message that `read_all` did not give."""

    async def scanned() -> Part:
        data = await _read_whole(file)
        return await session.in_thread(lambda: scan(data))

    found: Part = await _SCANNING.run(lambda: Deferred.fromCoroutine(scanned()))
    return found


async def _read_whole(file: IMessageFile, until: bytes = b"") -> bytes:
    """until: no further than a slice that has this in it."""
    gathered = io.BytesIO()  # which gives what it has without a second copy
    tail = b""
    while gathered.tell() < file.size:
        data = await file.read(gathered.tell(), SMALL)
        if not data:
            break
        gathered.write(data)
        if until and until in tail + data:
            break
        tail = data[1 - len(until) :]
    return gathered.getvalue()


async def read_header(file: IMessageFile) -> bytes:
    """The header block; no more of a large message is read than it takes."""
    data = file.read_all()
    if data is None:
        data = await _read_whole(file, b"\r\n\r\n")
    return data[: body_start(data)]


def partial_span(content: Content, start: int, end: int) -> tuple[int, int]:
    """<offset.count> applied to a range; empty beyond its end."""
    if content.count is None:
        return start, end
    first = min(start + content.offset, end)
    return first, min(first + content.count, end)
