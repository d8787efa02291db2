"""BINARY of a large part: decoded slice by slice, twice, for its size stands before it (RFC 3516, 4.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from attrs import frozen

from mailserver.imap.fetch import Content, binary_start
from mailserver.imap.session import Session
from mailserver.interfaces import IMessageFile
from mailserver.message.transfer import decoder

SLICE = 256 * 1024


@frozen
class LargePart:
    """Octets `start` to `end` of a file, in a transfer encoding that is known."""

    file: IMessageFile
    start: int
    end: int
    encoding: bytes

    async def decoded(self) -> AsyncIterator[bytes]:
        made = decoder(self.encoding)
        at = self.start
        while at < self.end:
            data = await self.file.read(at, min(SLICE, self.end - at))
            if not data:
                return
            at += len(data)
            yield made.feed(data)
        yield made.finish()


async def send_binary(
    session: Session, content: Content, part: LargePart, put: Callable[[bytes], None]
) -> None:
    """BINARY[…] or BINARY.SIZE[…]; `put` takes what stands before the octets."""
    first, last = content.offset, content.offset + content.count if content.count is not None else None
    size, chosen, has_nul = 0, 0, False
    async for data in part.decoded():
        window = _window(data, size, first, last)
        size += len(data)
        chosen += len(window)
        has_nul = has_nul or b"\0" in window
        if last is not None and size >= last:
            break
        await session.breathe()
    if content.decoded == "SIZE":
        put(b"%b %d" % (content.label, size))
        return
    put(binary_start(content.label, chosen, has_nul))
    at = 0
    async for data in part.decoded():
        await session.drained()
        window = _window(data, at, first, last)
        put(window)
        at += len(data)
        chosen -= len(window)
        if not chosen:
            break
    if chosen:  # the file has become shorter: the literal cannot be ended
        session.wire.end()


def _window(data: bytes, at: int, first: int, last: int | None) -> bytes:
    """Of octets that begin at `at`, those between `first` and `last`."""
    begin = max(0, first - at)
    return data[begin:] if last is None else data[begin : max(begin, last - at)]
