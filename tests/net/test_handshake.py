"""TLS handshakes that do not end, on every service: their time, a client that goes, a server that stops."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.imap.factory import ImapFactory
from mailserver.net.connection import HANDSHAKE_SECONDS
from mailserver.net.factory import ConnectionFactory
from mailserver.pop3.factory import Pop3Factory
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import FakeAuthenticator
from tests.helpers.settings import make_settings
from tests.smtp.service import Audit, World

STARTTLS = {"smtp": b"EHLO x\r\n|STARTTLS\r\n", "imap": b"a STARTTLS\r\n", "pop3": b"STLS\r\n"}
IMPLICIT = ("submissions", "imaps", "pop3s")


@implementer(IOpenSSLServerConnectionCreator)
class Tls:
    """No certificate is needed to wait for a ClientHello."""

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)


class Transport(StringTransport):
    """Drops the connection where it is told to, as a socket does."""

    protocol: Any = None
    aborted = False
    disconnected = False

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def startTLS(self, context: object, normal: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnected = True
        self.protocol.connectionLost(Failure(ConnectionDone()))


def make(service: str) -> tuple[ConnectionFactory, MemoryReactorClock]:
    reactor = MemoryReactorClock()
    settings: Any = make_settings()
    audit: Any = Audit()
    common: dict[str, Any] = {"service": service, "settings": settings, "audit": audit, "reactor": reactor}
    common |= {"authenticator": FakeAuthenticator(FakeAccount()), "tls": Tls()}
    if service.startswith("imap"):
        return ImapFactory(spool=None, **common), reactor
    if service.startswith("pop3"):
        return Pop3Factory(**common), reactor
    return World(service, reactor=reactor).factory, reactor


def connect(service: str) -> tuple[ConnectionFactory, MemoryReactorClock, Transport]:
    """In the middle of a handshake."""
    factory, reactor = make(service)
    transport = Transport()
    wrapped: Any = factory
    if service in IMPLICIT:
        wrapped = TLSMemoryBIOFactory(Tls(), False, factory, reactor)
    transport.protocol = wrapped.buildProtocol(None)
    transport.protocol.makeConnection(transport)
    for part in filter(None, STARTTLS.get(service, b"").split(b"|")):
        transport.protocol.dataReceived(part)
    return factory, reactor, transport


@pytest.mark.parametrize("service", [*IMPLICIT, *STARTTLS])
def test_B10_a_handshake_that_is_left_alone_ends(service: str) -> None:
    factory, reactor, transport = connect(service)
    reactor.advance(HANDSHAKE_SECONDS - 1)
    assert not transport.aborted
    reactor.advance(2)
    assert transport.aborted
    assert factory.counter.total == 0
    assert not reactor.getDelayedCalls()


@pytest.mark.parametrize("service", IMPLICIT)
def test_B10_single_octets_prolong_nothing(service: str) -> None:
    _, reactor, transport = connect(service)
    for octet in (0x16, 3, 1, 2, 0, *[0] * 100):
        if transport.aborted:
            break
        transport.protocol.dataReceived(bytes([octet]))
        reactor.advance(HANDSHAKE_SECONDS / 10)
    assert transport.aborted


@pytest.mark.parametrize("service", [*IMPLICIT, *STARTTLS])
def test_B10_a_client_that_goes_in_a_handshake(service: str) -> None:
    factory, reactor, transport = connect(service)
    transport.protocol.connectionLost(Failure(ConnectionDone()))
    assert factory.counter.total == 0
    assert not reactor.getDelayedCalls()


@pytest.mark.parametrize("service", [*IMPLICIT, *STARTTLS])
def test_F13_a_server_that_stops_does_not_wait_for_handshakes(service: str) -> None:
    factory, _, transport = connect(service)
    gone: list[None] = []
    factory.stop().addCallback(gone.append)
    assert transport.aborted
    assert gone == [None]
