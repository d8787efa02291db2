"""Writing to a socket at once where nothing waits before it, for connections that this server opens.

As `listen.EagerServer` for those it accepts, and with the same lean on Twisted's private buffers, which
tests/net/test_eager.py watches.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp

_PLAIN: Any = tcp.Connection


def write_now(transport: Any, data: bytes) -> None:
    """As `transport.write(data)`; a plain TCP connection without a backlog sends before this returns."""
    if (
        not isinstance(transport, _PLAIN)
        or transport.TLS
        or transport._tempDataBuffer
        or transport.dataBuffer
        or transport.disconnecting
        or not transport.connected
        or (transport.producer is not None and not transport.streamingProducer)
    ):
        transport.write(data)
        return
    try:
        sent = transport.socket.send(data)
    except OSError:  # EAGAIN, or an error that the ordinary way reports
        sent = 0
    if sent < len(data):
        transport.write(data[sent:] if sent else data)
