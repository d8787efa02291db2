"""The base of the protocols on real loopback sockets: batching, back-pressure, limits, TLS, stopping."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailserver.config.schema import Limits
from mailserver.imap.protocol import ImapConnection
from mailserver.interfaces import Peer
from mailserver.net.connection import Connection
from mailserver.net.factory import ConnectionFactory, network_of
from mailserver.net.listen import EagerServer, listen
from mailserver.pop3.protocol import Pop3Connection
from mailserver.smtp.protocol import SmtpConnection


class Echo(Connection):
    """Says hello and returns lines; `flood` makes it produce without end while it may."""

    log_of_events: list[str]

    def started(self) -> None:
        self.log_of_events = []
        self.send(b"hello ")
        self.send(b"there\r\n")

    def received(self, data: bytes) -> None:
        for part in data.split(b"\n"):
            self.send(part)

    def output_drained(self) -> None:
        self.log_of_events.append("drained")

    def disconnected(self) -> None:
        self.log_of_events.append("disconnected")

    def shut_down(self) -> None:
        self.send(b"bye\r\n")
        self.close()


class EchoFactory(ConnectionFactory):
    protocol_class = Echo

    def refusal(self, peer: Peer) -> bytes:
        return b"full\r\n"


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def event(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))


def factory(clock: Any, **limits: int) -> EchoFactory:
    settings = SimpleNamespace(now=SimpleNamespace(limits=Limits(**limits)))
    log: Any = Log()
    return EchoFactory(service="smtp", settings=settings, audit=log, reactor=clock)


class Transport(StringTransport):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.aborted = True


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = factory(self.clock)
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, Echo)
        self.connection = connection
        self.transport = Transport()
        connection.makeConnection(self.transport)

    def test_one_write_for_the_replies_to_one_segment(self) -> None:
        """All that one received segment causes leaves in one write."""
        self.connection.dataReceived(b"a\nb\nc")

        self.assertEqual(self.transport.writes, [b"hello there\r\n", b"abc"])

    def test_one_write_for_the_replies_of_one_turn(self) -> None:
        """Answers that come from elsewhere leave together at the end of the turn."""
        self.connection.send(b"x")
        self.connection.send(b"y")
        self.assertEqual(self.transport.writes[1:], [])

        self.clock.advance(0)

        self.assertEqual(self.transport.writes[1:], [b"xy"])

    def test_E6_output_that_is_not_read_stops_input_and_production(self) -> None:
        """A transport with a full buffer pauses reading; draining goes on where it stopped."""
        waiting: Deferred[None]
        self.connection.pauseProducing()

        self.assertTrue(self.connection.output_full)
        self.assertEqual(self.transport.producerState, "paused")
        waiting = self.connection.drained()
        self.assertNoResult(waiting)

        self.connection.resumeProducing()
        self.successResultOf(waiting)
        self.assertEqual(self.connection.log_of_events, ["drained"])
        self.assertEqual(self.transport.producerState, "producing")

    def test_E6_a_fault_while_production_goes_on_costs_this_connection_only(self) -> None:
        def broken() -> None:
            raise RuntimeError("broken")

        self.patch(self.connection, "output_drained", broken)
        self.connection.pauseProducing()
        self.connection.resumeProducing()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(self.transport.aborted)

    def test_closing_a_client_that_does_not_read_ends_in_an_abort(self) -> None:
        """`close` gives the client a bounded time to take what was sent."""
        self.connection.close()
        self.assertFalse(self.transport.aborted)

        self.clock.advance(60)

        self.assertTrue(self.transport.aborted)

    def test_nothing_is_left_scheduled_after_the_connection_is_lost(self) -> None:
        self.connection.set_deadline(10)
        self.connection.connectionLost()
        self.clock.advance(0)

        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.factory.counter.total, 0)

    def test_an_exception_in_a_protocol_closes_only_its_connection(self) -> None:
        def broken(data: bytes) -> None:
            raise RuntimeError("broken on purpose")

        self.connection.received = broken  # type: ignore[method-assign]
        self.connection.dataReceived(b"x")

        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_E9_the_connection_over_the_limit_is_told_so(self) -> None:
        """The limit per address answers in the protocol's words and is free again after a close."""
        limited = factory(self.clock, connections_per_ip=1)
        first = limited.buildProtocol(None)
        first.makeConnection(Transport())
        second = limited.buildProtocol(None)
        transport = Transport()
        second.makeConnection(transport)
        self.assertEqual(transport.value(), b"full\r\n")
        self.assertTrue(transport.disconnecting)

        assert isinstance(first, Echo)
        first.connectionLost()

        self.assertIsInstance(limited.buildProtocol(None), Echo)


def test_no_protocol_replaces_what_is_the_connections_own() -> None:
    """A private method of the same name in a subclass would take its place, and nobody would be told."""
    own = {name for name, value in vars(Connection).items() if callable(value) and name[:2] != "__"}
    private = {name for name in own if name.startswith("_")}
    for protocol in (ImapConnection, Pop3Connection, SmtpConnection):
        for kind in protocol.__mro__[: protocol.__mro__.index(Connection)]:
            assert not private & vars(kind).keys(), kind


class NetworkTests(SynchronousTestCase):
    def test_D3_an_ipv6_client_counts_by_its_64(self) -> None:
        self.assertEqual(network_of("192.0.2.7"), "192.0.2.7")
        self.assertEqual(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64")
        self.assertEqual(network_of("2001:db8:1:2::9"), "2001:db8:1:2::/64")
        self.assertEqual(network_of("::ffff:192.0.2.7"), "192.0.2.7")


class Collector(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        self.closed.callback(self.data)


class EagerTests(TestCase):
    @inlineCallbacks
    def connected(self) -> Any:
        """(factory, client, the server's connection)"""
        server = factory(reactor)
        listener = yield Deferred.fromCoroutine(listen(reactor, "tcp:0:interface=127.0.0.1", server, None))
        self.addCleanup(listener.port.stopListening)
        number = listener.port.getHost().port
        client = yield connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", number), Collector())
        while not server.connections:
            yield next_turn()
        (connection,) = server.connections
        self.assertIsInstance(connection.transport, EagerServer)
        return server, client, connection

    @inlineCallbacks
    def test_eager_transport_keeps_order_and_loses_nothing(self) -> Any:
        """More than a socket buffer, written in many pieces, arrives whole and in order."""
        server, client, connection = yield self.connected()
        pieces = [b"%07d," % n for n in range(100_000)]

        for piece in pieces:
            connection.send(piece)
        gone = server.stop()
        data = yield client.closed
        yield gone

        self.assertEqual(data, b"hello there\r\n" + b"".join(pieces) + b"bye\r\n")

    @inlineCallbacks
    def test_with_nothing_left_to_send_it_closes_in_the_next_turn(self) -> Any:
        """Not at once, in the middle of what the protocol does, and without a wait for the socket."""
        _, client, connection = yield self.connected()
        connection.close()
        self.assertNotIn("disconnected", connection.log_of_events)
        self.assertNotIn(connection.transport, reactor.getWriters())  # type: ignore[attr-defined]
        yield next_turn()
        self.assertEqual(connection.log_of_events, ["disconnected"])
        self.assertEqual((yield client.closed), b"hello there\r\n")


def next_turn() -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)  # type: ignore[attr-defined]
    return turn
