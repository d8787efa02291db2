"""Sending a message file to a client: slices pulled as fast as the client reads, never more in memory.

Slices are 256 KiB in clear and 64 KiB under TLS, whose layer copies large writes.
"""

from __future__ import annotations

from collections.abc import Callable

from mailserver.interfaces import IMessageFile
from mailserver.net.connection import Connection

SLICE = 256 * 1024
TLS_SLICE = 64 * 1024


async def send_file(
    connection: Connection,
    file: IMessageFile,
    offset: int,
    length: int,
    transform: Callable[[bytes], bytes] | None = None,
) -> None:
    """Send `length` octets of the wire form from `offset`; `transform` (POP3 dot-stuffing) sees each slice
    in order. Fails with ConnectionLost when the client goes; the caller closes `file`.

    A file that turns out shorter than its length cannot be repaired in the middle of a literal: the
    connection is cut, so that a client never takes the next reply for the rest of the message.
    """
    step = TLS_SLICE if connection.peer.tls else SLICE
    while length > 0:
        await connection.drained()
        data = await file.read(offset, min(step, length))
        if not data:
            connection.abort()
            return
        offset += len(data)
        length -= len(data)
        connection.send(transform(data) if transform else data)
    await connection.drained()
