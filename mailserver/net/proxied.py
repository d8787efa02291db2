"""Ports behind a load balancer: each connection begins with a PROXY header, before TLS and any protocol.

A port is one of these or it is not: whoever is in `proxy.networks` must send a header there, and nobody else
may connect, for he could say that he is anybody (HAProxy's specification, 2 and 5). Once the header is read
this layer is out of the way: the transport is given to the protocol of the service, which is made for the
address that the header tells.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.net.factory import ConnectionFactory
from mailserver.net.timer import disarm
from mailserver.wire.networks import in_networks
from mailserver.wire.proxy import BadHeader, HeaderReader

HEADER_SECONDS = 10.0


@implementer(IAddress)
@frozen
class ProxiedAddress:
    """A client as its proxy tells of it, and where the client connected to."""

    host: str
    port: int
    server_ip: str
    server_port: int


class ProxiedFactory(Factory):
    """wrapped: what makes the protocol, with TLS where there is any; `service` is behind it."""

    noisy = False

    def __init__(self, wrapped: Any, service: ConnectionFactory) -> None:
        self.wrapped = wrapped
        self.service = service

    def doStart(self) -> None:
        self.wrapped.doStart()

    def doStop(self) -> None:
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        networks = self.service.settings.now.proxy.networks
        ip = getattr(addr, "host", None)  # None: a Unix socket, whose mode says who may
        gate = Gate(self, addr)
        if ip is not None and not in_networks(ip, networks):
            gate.note("not one of proxy.networks")
            return None
        return gate


class Gate(Protocol):
    """Reads the header of one connection."""

    transport: Any

    def __init__(self, factory: ProxiedFactory, addr: IAddress | None) -> None:
        self._factory = factory
        self._addr = addr
        self._reader = HeaderReader()
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        reactor = self._factory.service.reactor
        self._timer = reactor.callLater(HEADER_SECONDS, self._refuse, "no PROXY header in time")

    def dataReceived(self, data: bytes) -> None:
        try:
            header = self._reader.feed(data)
        except BadHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._stop_timer()
        addresses = header.addresses
        addr = self._addr
        if addresses is not None:
            addr = ProxiedAddress(*(addresses.ip, addresses.port, addresses.server_ip, addresses.server_port))
        transport = self.transport
        protocol = transport.protocol = self._factory.wrapped.buildProtocol(addr)
        protocol.makeConnection(transport)
        if header.rest:
            protocol.dataReceived(header.rest)

    def note(self, reason: str) -> None:
        """The log tells of the proxy itself: it knows nobody else yet."""
        service = self._factory.service
        ip = getattr(self._addr, "host", "127.0.0.1")
        service.audit.event("refused", service=service.service, ip=ip, reason=reason)

    def _refuse(self, reason: str) -> None:
        self._stop_timer()
        self.note(reason)
        self.transport.abortConnection()

    def _stop_timer(self) -> None:
        disarm(self._timer)
        self._timer = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()
