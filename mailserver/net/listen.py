"""Listening sockets from Twisted endpoint strings, with a transport that sends at once where it can.

Where several processes share a socket, one opens it (`hold`) and the others take it over (`adopt`). A Unix
socket is for its owner and group, unless the endpoint string has a mode.

Twisted's `write` never sends: it asks epoll for writability, and the bytes leave one poll later. For the
short replies of mail protocols that is two system calls and a reactor turn too many (measured: 166 against
117 µs a message). `EagerServer` tries the socket first and falls back to the ordinary way for what is left.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet import main, tcp, unix
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from mailserver.interfaces import Listener
from mailserver.net.eager import sent_now
from mailserver.net.factory import ConnectionFactory
from mailserver.net.proxied import ProxiedFactory

AHEAD = 1  # connections more than another process has, without leaving it the next
MOMENT = 0.001  # seconds for it to come
PATIENCE = 5
UNIX_MODE = "660"  # Twisted's own default lets everybody in
PROXIED = "haproxy:"  # before an endpoint string; Twisted knows it too, but reads the first segment only

_log = Logger()
_DONE = Failure(main.CONNECTION_DONE)  # type: ignore[no-untyped-call]


class EagerServer(tcp.Server):
    """`tcp.Server` whose first write goes straight to the socket when nothing waits before it (`eager`)."""

    _tempDataBuffer: list[bytes]
    dataBuffer: bytes

    def write(self, data: bytes) -> None:
        sent = sent_now(self, data)
        if sent < len(data):
            super().write(data[sent:] if sent else data)  # type: ignore[no-untyped-call]

    def loseConnection(self) -> None:
        """As Twisted's, which waits until it may write even where nothing is left to be written."""
        idle = self.producer is None and not self.TLS and not self._tempDataBuffer and not self.dataBuffer
        if not idle or self.disconnecting or not self.connected:
            super().loseConnection()  # type: ignore[no-untyped-call]
            return
        self.stopReading()  # type: ignore[no-untyped-call]
        self.disconnecting = True
        self.reactor.callLater(0, self._close)  # type: ignore[attr-defined]

    def _close(self) -> None:
        if self.connected:
            self.connectionLost(_DONE)


async def listen(
    reactor: Any, description: str, factory: ConnectionFactory, tls: IOpenSSLServerConnectionCreator | None
) -> Listener:
    """Open one endpoint string. `tls`: the connection creator for implicit TLS, None for clear text.

    Fails with twisted.internet.error.CannotListenError.
    """
    endpoint, proxied = _endpoint(reactor, description)
    listening: Deferred[IListeningPort] = endpoint.listen(_wrapped(reactor, factory, tls, proxied))
    return _listener(await listening, factory)


def _endpoint(reactor: Any, description: str) -> tuple[Any, bool]:
    """The endpoint, and whether it is behind a proxy."""
    proxied = description.startswith(PROXIED)
    description = description.removeprefix(PROXIED)
    if re.match("unix:", description) and not re.search("(?<!\\\\):mode=", description):
        description += f":mode={UNIX_MODE}"
    return serverFromString(reactor, description), proxied  # type: ignore[no-untyped-call]


def _wrapped(
    reactor: Any, factory: ConnectionFactory, tls: IOpenSSLServerConnectionCreator | None, proxied: bool
) -> Any:
    wrapped: Any = factory
    if tls is not None:
        wrapped = TLSMemoryBIOFactory(tls, False, factory, reactor)
        wrapped.noisy = False
    return ProxiedFactory(wrapped, factory) if proxied else wrapped


def _listener(port: Any, factory: ConnectionFactory) -> Listener:
    if getattr(port, "transport", None) is tcp.Server:
        port.transport = EagerServer
    return Listener(factory.service, port)


async def hold(reactor: Any, service: str, description: str) -> Listener:
    """Open one endpoint string for others to accept from. Fails as `listen`, and with ValueError for what is
    no socket."""
    factory = Factory()
    factory.noisy = False
    endpoint, proxied = _endpoint(reactor, description)
    listening: Deferred[Any] = endpoint.listen(factory)
    port = await listening
    if not isinstance(port, tcp.Port):
        await port.stopListening()
        raise ValueError(f"{description} cannot be shared by several processes")
    port.stopReading()  # type: ignore[no-untyped-call]
    return Listener(service, port, proxied)


def adopt(
    reactor: Any,
    inherited: Any,
    factory: ConnectionFactory,
    tls: IOpenSSLServerConnectionCreator | None,
) -> Listener:
    """Accept from a socket that another process holds open (`inherited`: see `processes.assignment`). The
    descriptor itself is closed."""
    fd, family = inherited.fd, inherited.family
    wrapped = _wrapped(reactor, factory, tls, inherited.proxied)
    if family == socket.AF_UNIX:
        shared: Any = _SharedUnixPort
        port = shared._fromListeningDescriptor(reactor, fd, wrapped)
        port.startListening()
    else:
        port = reactor.adoptStreamPort(fd, family, wrapped)
    os.close(fd)
    _Balance(reactor, port, factory)
    return _listener(port, factory)


class _SharedUnixPort(unix.Port):
    """A Unix socket of another process, which has made its name and will remove it. To Twisted a path that
    begins with NUL is none of the file system: no mode is set, and nothing is removed."""

    def _buildAddr(self, name: str | bytes | None) -> UNIXAddress:
        return UNIXAddress(b"\0" + os.fsencode(name or b""))


def shown(address: Any) -> str:
    """Where a port listens, as an administrator writes it: 127.0.0.1:25, [::]:25, or the path of a socket."""
    if isinstance(address, UNIXAddress):
        return os.fsdecode(address.name or b"")
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


async def close(listeners: Sequence[Listener]) -> None:
    """No connection is accepted any more. What goes wrong is logged: a Unix socket may lie in a folder that
    this process may not write to."""
    for listener in listeners:
        try:
            await listener.port.stopListening()
        except Exception as error:
            _log.warn("{service}: {error}", service=listener.service, error=error)


class _Balance:
    """Of several processes that wait for a connection the kernel wakes any, and often the same. One that has
    more connections than another leaves a new one to it for a moment.

    Leans on `numberAccepts` of Twisted's Port; tests/net/test_eager.py fails where that is changed.
    """

    def __init__(self, reactor: Any, port: Any, factory: ConnectionFactory) -> None:
        self._reactor = reactor
        self._port = port
        self._factory = factory
        self._accept = port.doRead
        self._left = 0  # times in a row
        port.doRead = self._ready

    def _ready(self) -> None:
        if self._factory.counter.ahead > AHEAD and self._left < PATIENCE:
            self._left += 1
            self._port.stopReading()
            self._reactor.callLater(MOMENT, self._look_again)
            return
        self._left = 0
        self._port.numberAccepts = 1
        self._accept()

    def _look_again(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()
