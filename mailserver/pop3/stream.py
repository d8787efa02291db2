"""Messages that are too large for memory, or not in memory yet, as the answer to RETR or TOP."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionLost
from twisted.logger import Logger

from mailserver.interfaces import IMessageFile
from mailserver.message.downgrade import surrogate
from mailserver.net.connection import Connection
from mailserver.net.files import SLICE, TLS_SLICE, send_file
from mailserver.pop3.engine import Pop3Engine
from mailserver.pop3.top import TopCutter
from mailserver.wire.dots import DotStuffer

_log = Logger()


async def stream(
    session: Connection, engine: Pop3Engine, file: IMessageFile, lines: int | None, arm: Callable[[], None]
) -> None:
    """Answer the engine's MessageRequested from `file`, and close it. Fails with a MailError while the answer
    has not begun; after that with ConnectionLost only. `arm` begins the client's deadline anew."""
    try:
        first = await file.read(0, min(file.size, TLS_SLICE if session.peer.tls else SLICE))
        if not session.open:
            raise ConnectionLost
        shown = first if engine.utf8 else surrogate(first)
        engine.message_began(file.size + len(shown) - len(first))
        session.send(engine.data_to_send())
        try:
            await _go_on(session, file, lines, shown, offset=len(first), arm=arm)
        except ConnectionLost:
            raise
        except Exception:  # in the middle of a message there is no other way to say so
            _log.failure("POP3: a message could not be read to its end")
            session.abort()
            raise ConnectionLost from None
    finally:
        file.close()
    engine.message_ended()


async def _go_on(
    session: Connection,
    file: IMessageFile,
    lines: int | None,
    data: bytes,
    *,
    offset: int,
    arm: Callable[[], None],
) -> None:
    """`data` stands for the first `offset` octets of the file."""
    stuffer, cutter = DotStuffer(), None if lines is None else TopCutter(lines)

    def outgoing(data: bytes) -> bytes:
        arm()
        return stuffer.feed(data if cutter is None else cutter.cut(data))

    session.send(outgoing(data))
    if cutter is None:
        await send_file(session, file, offset, file.size - offset, outgoing)
    else:
        while offset < file.size and not cutter.finished:
            await session.drained()
            data = await file.read(offset, min(TLS_SLICE, file.size - offset))
            if not data:
                break
            offset += len(data)
            session.send(outgoing(data))
    session.send(stuffer.finish())
