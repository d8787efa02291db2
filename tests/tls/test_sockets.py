"""Our contexts and our client contexts over loopback sockets, through Twisted, as it uses them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailserver.tls.client import client_context
from mailserver.tls.server import TlsContexts
from tests.helpers.files import write_certificate
from tests.helpers.settings import make_settings
from tests.tls.handshake import Handshake


class Echo(Protocol):
    """Upgrades at once where the factory says so, and sends back what comes."""

    def __init__(self, upgrade: Any = None) -> None:
        self.upgrade = upgrade

    def connectionMade(self) -> None:
        if self.upgrade is not None:
            transport: Any = self.transport
            transport.startTLS(self.upgrade)

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Speak(Protocol):
    """A client: TLS, one line, the answer."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.done: Deferred[bytes] = Deferred()
        self.answer = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.startTLS(self.context)
        transport.write(b"hello\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.answer += data
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.answer:
            self.done.callback(self.answer)
        else:
            self.done.errback(reason)


class Loopback(TestCase):
    """Our contexts and our client contexts over sockets, through Twisted."""

    def setUp(self) -> None:
        self.reactor: Any = reactor
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.certificate, key = write_certificate(self.folder, "mail.example.org", "127.0.0.1")
        settings = make_settings(tls={"certificate": self.certificate, "key": key})
        self.contexts = TlsContexts(settings, reactor)

    async def talk(self, factory: Any, context: Any) -> bytes:
        port: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        speak = Speak(context)
        where = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port.getHost().port)
        await where.connect(Factory.forProtocol(lambda: speak))
        return await speak.done

    async def test_starttls(self) -> None:
        factory = Factory.forProtocol(lambda: Echo(self.contexts.server("smtp")))
        answer = await self.talk(factory, client_context("mail.example.org", verify=False))
        self.assertEqual(answer, b"hello\r\n")

    async def test_implicit_tls(self) -> None:
        inner = Factory.forProtocol(Echo)
        factory = TLSMemoryBIOFactory(self.contexts.server("imaps"), False, inner)
        answer = await self.talk(factory, client_context("127.0.0.1", verify=False))
        self.assertEqual(answer, b"hello\r\n")

    async def test_a_verifying_client_takes_the_right_name(self) -> None:
        factory = Factory.forProtocol(lambda: Echo(self.contexts.server("smtp")))
        for name in ("mail.example.org", "127.0.0.1", "mail.example.org."):
            context = client_context(name, verify=True, authorities=(self.certificate,))
            self.assertEqual(await self.talk(factory, context), b"hello\r\n")

    async def test_a_verifying_client_refuses_the_wrong_name_and_unknown_authorities(self) -> None:
        factory = Factory.forProtocol(lambda: Echo(self.contexts.server("smtp")))
        for name, authorities in (("other.example.org", (self.certificate,)), ("mail.example.org", ())):
            with self.assertRaises((SSL.Error, VerificationError)):
                await self.talk(factory, client_context(name, verify=True, authorities=authorities))

    async def test_reload_in_the_reactors_threads(self) -> None:
        write_certificate(self.folder, "new.example.org")
        self.assertTrue(await self.contexts.reload())
        self.assertEqual(Handshake(self.contexts).shown, ["new.example.org"])
