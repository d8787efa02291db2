"""Writing to a socket at once where nothing waits before it.

Leans on Twisted's private buffers (`_tempDataBuffer`, `dataBuffer`); tests/net/test_eager.py fails where a
release of Twisted renames them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp

_PLAIN: Any = tcp.Connection


def sent_now(transport: Any, data: bytes) -> int:
    """How many octets the socket of a `tcp.Connection` has taken; 0 where something comes before them."""
    if (
        transport.TLS
        or transport._tempDataBuffer
        or transport.dataBuffer
        or transport.disconnecting
        or not transport.connected
        or (transport.producer is not None and not transport.streamingProducer)
    ):
        return 0
    try:
        sent: int = transport.socket.send(data)
    except OSError:  # EAGAIN, or an error that the ordinary way reports
        return 0
    return sent


def write_now(transport: Any, data: bytes) -> None:
    """As `transport.write(data)`, for connections that this server opens (`listen.EagerServer` is for those
    that it accepts); a plain TCP connection without a backlog sends before this returns."""
    sent = sent_now(transport, data) if isinstance(transport, _PLAIN) else 0
    if sent < len(data):
        transport.write(data[sent:] if sent else data)
