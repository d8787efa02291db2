"""Writing at once, on a real socket."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from mailserver.net.eager import write_now


class Sink(Protocol):
    def connectionMade(self) -> None:
        self.factory.sinks.append(self)  # type: ignore[union-attr]
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class EagerTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        factory: Any = Factory.forProtocol(Sink)
        factory.noisy, factory.sinks = False, []
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        made: Deferred[Any] = Deferred()

        class Client(Protocol):
            def connectionMade(self) -> None:
                made.callback(self.transport)

        client = ClientFactory.forProtocol(Client)
        client.noisy = False
        reactor.connectTCP("127.0.0.1", port.getHost().port, client)  # type: ignore[attr-defined]
        self.transport = await made
        await self.turns()
        self.sink = factory.sinks[0]
        self.addCleanup(self.turns)
        self.addCleanup(self.sink.transport.abortConnection)
        self.addCleanup(self.transport.abortConnection)

    def turns(self) -> Deferred[None]:
        return deferLater(reactor, 0.05, lambda: None)

    async def test_sent_before_it_returns(self) -> None:
        """Twisted still has the buffers that are looked at, and none of them is used."""
        self.patch(tcp.Connection, "write", lambda *_: self.fail("not at once"))
        write_now(self.transport, b"hello")
        await self.turns()
        self.assertEqual(self.sink.data, b"hello")

    async def test_order_is_kept_whatever_waits(self) -> None:
        self.sink.transport.pauseProducing()
        pieces = [b"%05d" % number * 5000 for number in range(400)]
        for piece in pieces:
            write_now(self.transport, piece)
        self.assertTrue(self.transport._tempDataBuffer or self.transport.dataBuffer)
        self.sink.transport.resumeProducing()
        for _ in range(40):
            await self.turns()
            if len(self.sink.data) == 25_000 * 400:
                break
        self.assertEqual(self.sink.data, b"".join(pieces))

    def test_other_transports(self) -> None:
        transport = StringTransport()
        write_now(transport, b"x")
        self.assertEqual(transport.value(), b"x")
