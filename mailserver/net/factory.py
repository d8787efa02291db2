"""Who may connect: limits in all and per address, and the set of open connections for a graceful stop."""

from __future__ import annotations

import ipaddress
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from mailserver.audit import Audit
from mailserver.interfaces import Peer
from mailserver.net.counter import ConnectionCounter
from mailserver.net.timer import disarm
from mailserver.net.turns import Turns

if TYPE_CHECKING:
    from mailserver.net.connection import Connection

KEPT_DESCRIPTORS = 2048
STOP_SECONDS = 20.0  # how long open sessions may take to end when the server stops


def network_of(ip: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one (CASES D3, E9)."""
    if ":" not in ip:
        return ip
    address = ipaddress.IPv6Address(ip.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def room_for_connections() -> int:
    """How many connections this process has descriptors for, when a quarter of them (but not more than
    `KEPT_DESCRIPTORS`) is left for files: who opens the last one must not be a client (CASES E4)."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return limit - min(KEPT_DESCRIPTORS, limit // 4)


class _Refused(Protocol):
    """A connection over a limit: told so where that is possible, and closed."""

    transport: Any

    def __init__(self, farewell: bytes) -> None:
        self._farewell = farewell

    def connectionMade(self) -> None:
        if self._farewell:
            self.transport.write(self._farewell)
        self.transport.loseConnection()


class ConnectionFactory(Factory):
    """Makes connections of one service ("smtp", "imaps" …). Subclasses name their `protocol_class` (or
    override `make`) and say their `refusal`.

    settings: config.watch.Settings (`.now` is the current Config).
    """

    noisy = False
    protocol_class: Callable[[Peer], Connection]

    def __init__(
        self,
        *,
        service: str,
        settings: Any,
        audit: Audit,
        reactor: Any,
        counter: ConnectionCounter | None = None,
    ) -> None:
        self.service = service
        self.implicit_tls = service in ("submissions", "imaps", "pop3s")
        self.settings = settings
        self.audit = audit
        self.reactor = reactor
        self.counter = counter or ConnectionCounter()
        self.connections: set[Connection] = set()
        self.stopping = False
        self.turns = Turns(reactor)
        self._unflushed: list[Connection] = []
        self._all_gone: list[Deferred[None]] = []

    def make(self, peer: Peer) -> Connection:
        """A new protocol object for this client."""
        return self.protocol_class(peer)

    def refusal(self, peer: Peer) -> bytes:
        """What a client over a limit is told, as the first line of the protocol."""
        return b""

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        peer = Peer(
            getattr(addr, "host", "127.0.0.1"),
            getattr(addr, "port", 0),
            protocol=self.service,
            server_ip=getattr(addr, "server_ip", ""),
            server_port=getattr(addr, "server_port", 0),
        )
        network = network_of(peer.ip)
        limits = self.settings.now.limits
        with self.counter.alone():
            used = self.counter.of(network)
            full = self.counter.total >= limits.connections or self.counter.own >= room_for_connections()
            taken = not (self.stopping or full or used >= limits.connections_per_ip)
            if taken:
                self.counter.add(network)
        if not taken:
            self.audit.event("refused", service=self.service, ip=peer.ip, connections=used)
            return _Refused(b"" if self.implicit_tls else self.refusal(peer))
        connection = self.make(peer)
        connection.factory = self
        self.connections.add(connection)
        return connection

    def moved(self, connection: Connection, peer: Peer) -> bool:
        """A proxy tells that a connection is another client's, and it counts for that one. False where that
        has too many."""
        network, before = network_of(peer.ip), network_of(connection.peer.ip)
        if network != before and connection in self.connections:
            with self.counter.alone():
                used = self.counter.of(network)
                taken = used < self.settings.now.limits.connections_per_ip
                if taken:
                    self.counter.leave(before)
                    self.counter.join(network)
            if not taken:
                self.audit.event("refused", service=self.service, ip=peer.ip, connections=used)
                return False
        connection.peer = peer
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection in self.connections:
            self.connections.discard(connection)
            connection.allowance.log_out(self.counter)
            self.counter.remove(network_of(connection.peer.ip))
        if not self.connections:
            waiting, self._all_gone = self._all_gone, []
            for deferred in waiting:
                deferred.callback(None)

    def flush_later(self, connection: Connection) -> None:
        """Flush at the end of this reactor turn, together with all others that have something."""
        if not self._unflushed:
            self.reactor.callLater(0, self._flush_all)
        self._unflushed.append(connection)

    def _flush_all(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    def stop(self, seconds: float = STOP_SECONDS) -> Deferred[None]:
        """No new connections; open ones are told and closed, after `seconds` cut off."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()
        if not self.connections:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._all_gone.append(gone)
        timer = self.reactor.callLater(seconds, self._cut_off)
        return gone.addCallback(lambda _: disarm(timer))

    def _cut_off(self) -> None:
        for connection in list(self.connections):
            connection.abort()
