"""What the processes of a server tell each other: unix datagrams, each a kind and a value.

The master makes a pair of sockets for each worker and keeps both ends, so that they outlive the workers; each
worker reads from its own and writes to those of all others. Nothing may depend on a datagram: what does not
fit is kept for a while and sent later, and where that becomes too much the other is told once that it has
missed something ("lost").
"""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

LARGEST = 32 << 10  # octets of a datagram
LOST = "lost"
_KEPT = 500  # datagrams for one worker that wait
_AGAIN = 0.005  # seconds
_SIZE = 1 << 20  # of the socket's buffer, where the system allows it


def make_pair() -> tuple[socket.socket, socket.socket]:
    """What one worker reads from, and what all others write to."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (reading, writing):
        end.setblocking(False)
    writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SIZE)
    return reading, writing


def pack(kind: str, value: object) -> bytes:
    return pickle.dumps((kind, value), pickle.HIGHEST_PROTOCOL)


class _Peer:
    """Another worker."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._waiting: deque[bytes] = deque()

    def send(self, data: bytes) -> bool:
        """False where something has to be sent later."""
        if not self._waiting:
            try:
                self._socket.send(data)
                return True
            except OSError:  # full; or whatever else: the next try will tell
                pass
        if len(self._waiting) >= _KEPT:
            self._waiting.clear()
            data = pack(LOST, None)
        self._waiting.append(data)
        return False

    def send_waiting(self) -> bool:
        while self._waiting:
            try:
                self._socket.send(self._waiting[0])
            except OSError:
                return False
            self._waiting.popleft()
        return True

    def close(self) -> None:
        self._socket.close()


@implementer(IReadDescriptor)
class Bus:
    """One worker's. In the reactor thread only."""

    log = Logger()

    def __init__(self, reactor: Any, news: socket.socket, peers: dict[int, socket.socket]) -> None:
        self._reactor = reactor
        self._news = news
        self._peers = {number: _Peer(end) for number, end in peers.items()}
        self._handlers: dict[str, Callable[[Any], object]] = {}
        self._timer: Any = None

    def on(self, kind: str, handler: Callable[[Any], object]) -> None:
        """Call `handler` with each value of this kind that another worker tells."""
        self._handlers[kind] = handler

    def start(self) -> None:
        self._reactor.addReader(self)

    def stop(self) -> None:
        self._reactor.removeReader(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._news.close()
        for peer in self._peers.values():
            peer.close()

    def tell(self, kind: str, value: object) -> None:
        """All other workers, as soon as they read it."""
        self.tell_packed(pack(kind, value))

    def tell_packed(self, data: bytes, to: Collection[int] | None = None) -> None:
        """Only these workers, where `to` is given."""
        peers = self._peers
        sent = [peers[number].send(data) for number in (peers if to is None else to) if number in peers]
        if not all(sent):
            self._try_later()

    def _try_later(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(_AGAIN, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        sent = [peer.send_waiting() for peer in self._peers.values()]
        if not all(sent):
            self._try_later()

    # --- reading ---------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._news.fileno()

    def logPrefix(self) -> str:
        return "news of other processes"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""

    def doRead(self) -> None:
        """All that has come; also called where somebody wants to know it now."""
        with suppress(OSError):  # EAGAIN mostly; closed while the server stops
            while True:
                self._take(self._news.recv(_SIZE))

    def _take(self, data: bytes) -> None:
        try:
            kind, value = pickle.loads(data)  # noqa: S301  (from a process of ours, over our own socket)
            handler = self._handlers.get(kind)
            if handler is not None:
                handler(value)
        except Exception:
            self.log.failure("what another process told could not be taken")
