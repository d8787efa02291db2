"""The sender on real sockets: bodies, timers, TLS."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailserver.smtp.client.sender import Sender, SessionFailed, connect
from mailserver.smtp.client.values import ClientOptions, Mail, State, TlsUse
from mailserver.tls.client import client_context
from tests.helpers.bodies import Sliced, Whole
from tests.helpers.smtp_peer import DROP, Peer, ServerTls

OPTIONS = ClientOptions("relay.example.org")
MAIL = Mail("a@example.org", ("b@example.net",))


class BodyTests(TestCase):
    def setUp(self) -> None:
        self.peer = Peer().start(reactor)
        self.addCleanup(self.peer.stop)

    async def connected(self, options: ClientOptions = OPTIONS, verify: bool = False) -> Sender:
        tls = lambda: client_context("localhost", verify)  # noqa: E731
        sender = await connect(reactor, "127.0.0.1", self.peer.number, options, tls)
        self.addCleanup(sender.abort)
        return sender

    async def test_A5_dots_at_every_slice_edge(self) -> None:
        """The body on the disk has LF; what arrives is the same text with CRLF, for every size of slice."""
        text = b".first\n..\n.\na.b\n" + b"x" * 13 + b"\n.\n\n.y\n" + b"z" * 40 + b"\n..end\n."
        wire = text.replace(b"\n", b"\r\n") + b"\r\n"
        sender = await self.connected()
        for step in (*range(1, 65), 16384):
            (reply,) = await sender.send(MAIL, Sliced(text, step))
            self.assertEqual(reply.code, 250)
            self.assertEqual(self.peer.messages[-1].body, wire, step)
        self.assertTrue(self.peer.messages[-1].raw.startswith(b"..first\r\n...\r\n..\r\n"))

    async def test_A6_bare_line_ends_never_leave(self) -> None:
        """The peer asserts that there is none on the wire."""
        sender = await self.connected()
        for text in (b"a\r.\rb\n", b"a\n.\r\nb", b"a\r\n.\rb\r\r\n.\n", b"\r.\r"):
            for step in (1, 2, 3, 99):
                (reply,) = await sender.send(MAIL, Sliced(text, step))
                self.assertEqual(reply.code, 250)
        self.assertEqual(len(self.peer.messages), 16)

    async def test_A8_empty_body(self) -> None:
        sender = await self.connected()
        await sender.send(MAIL, Whole(b""))
        self.assertEqual(self.peer.messages[0].body, b"")

    async def test_a_large_body_with_a_peer_that_reads_slowly(self) -> None:
        text = (b"x" * 77 + b"\n") * 60_000
        sender = await self.connected()
        source = Sliced(text, 65536)
        (session,) = self.peer.open
        session.transport.pauseProducing()
        reactor.callLater(0.2, session.transport.resumeProducing)  # type: ignore[attr-defined]
        (reply,) = await sender.send(MAIL, source)
        self.assertEqual(reply.code, 250)
        self.assertEqual(self.peer.messages[0].body, text.replace(b"\n", b"\r\n"))
        self.assertTrue(source.closed)

    async def test_a_body_that_cannot_be_read_is_never_ended(self) -> None:
        sender = await self.connected()
        source = Sliced(b"abc\n" * 10, 4)

        def fails() -> Deferred[bytes]:
            raise OSError(5, "Input/output error")

        source.read = fails  # type: ignore[method-assign]
        (reply,) = await sender.send(MAIL, source)
        self.assertEqual((reply.code, reply.status), (451, "4.3.0"))
        self.assertFalse(sender.usable)
        self.assertEqual(self.peer.messages, [])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    async def test_a_connection_lost_after_the_dot_is_unclear(self) -> None:
        self.peer.replies["."] = DROP
        sender = await self.connected()
        (reply,) = await sender.send(MAIL, Whole(b"x\n"))
        self.assertEqual((reply.code, reply.status), (451, "4.4.2"))
        self.assertTrue(sender.body_started)


class TlsTests(TestCase):
    async def start(self, **peer: Any) -> Peer:
        self.peer = Peer(**peer).start(reactor)
        self.addCleanup(self.peer.stop)
        return self.peer

    async def connected(self, options: ClientOptions = OPTIONS, verify: bool = False) -> Sender:
        tls = lambda: client_context("localhost", verify)  # noqa: E731
        sender = await connect(reactor, "127.0.0.1", self.peer.number, options, tls)
        self.addCleanup(sender.abort)
        return sender

    async def test_opportunistic_starttls_takes_any_certificate(self) -> None:
        await self.start(tls=ServerTls())
        sender = await self.connected()
        await sender.send(MAIL, Whole(b"secret\n"))
        self.assertTrue(self.peer.messages[0].tls)
        self.assertEqual(
            self.peer.lines[:3], ["EHLO relay.example.org", "STARTTLS", "EHLO relay.example.org"]
        )

    async def test_B4_injected_replies_do_not_count(self) -> None:
        """What comes in clear behind the 220 is never taken for an answer inside TLS."""
        await self.start(tls=ServerTls(), after_starttls=b"250-evil\r\n250 AUTH PLAIN\r\n")
        try:
            sender = await self.connected()
        except SessionFailed as error:
            self.assertTrue(error.reply.temporary)
        else:
            self.assertNotIn("AUTH", sender.engine.extensions)

    async def test_a_certificate_that_must_fit(self) -> None:
        await self.start(tls=ServerTls())
        with self.assertRaises(SessionFailed) as caught:
            await self.connected(ClientOptions("h", tls=TlsUse.MUST), verify=True)
        self.assertTrue(caught.exception.reply.temporary)
        self.assertEqual(caught.exception.stage, State.HANDSHAKE)
        self.assertEqual(self.peer.lines, ["EHLO h", "STARTTLS"], "nothing was said inside")

    async def test_implicit_tls(self) -> None:
        await self.start(tls=ServerTls(), implicit_tls=True)
        sender = await self.connected(ClientOptions("h", tls=TlsUse.MUST, secure=True))
        await sender.send(MAIL, Whole(b"secret\n"))
        self.assertTrue(self.peer.messages[0].tls)

    async def test_a_server_that_can_only_old_tls(self) -> None:
        await self.start(tls=ServerTls(newest=SSL.TLS1_1_VERSION))
        with self.assertRaises(SessionFailed) as caught:
            await self.connected()
        self.assertEqual(caught.exception.stage, State.HANDSHAKE)


class Transport(StringTransport):
    """What a Sender needs of a TCP transport."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do."""

    def abortConnection(self) -> None:
        self.disconnecting = True


class TimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sender = Sender(OPTIONS, lambda: None, self.clock)
        self.transport = Transport()
        self.sender.makeConnection(self.transport)

    def server(self, data: bytes) -> None:
        self.sender.dataReceived(data)

    def test_E3_greeting(self) -> None:
        self.clock.advance(299)
        self.assertNoResult(self.sender.opened)
        self.clock.advance(2)
        error = self.failureResultOf(self.sender.opened, SessionFailed).value
        self.assertEqual(error.reply.status, "4.4.2")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def open(self) -> None:
        self.server(b"220 x\r\n")
        self.server(b"250-x\r\n250 PIPELINING\r\n")
        self.assertIs(self.successResultOf(self.sender.opened), self.sender)

    def test_E3_ten_minutes_for_the_end_of_data(self) -> None:
        self.open()
        self.assertEqual(self.clock.getDelayedCalls(), [], "an idle session is the pool's matter")
        outcome = self.sender.send(MAIL, Whole(b"x\n"))
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertTrue(self.transport.value().endswith(b"x\r\n.\r\n"))
        self.clock.advance(599)
        self.assertNoResult(outcome)
        self.clock.advance(2)
        (reply,) = self.successResultOf(outcome)
        self.assertEqual((reply.code, reply.status), (451, "4.4.2"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_E3_a_block_that_does_not_get_out(self) -> None:
        self.open()
        outcome = self.sender.send(MAIL, Sliced(b"x" * 100, 10))
        self.sender.pauseProducing()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.clock.advance(179)
        self.assertNoResult(outcome)
        self.clock.advance(2)
        (reply,) = self.successResultOf(outcome)
        self.assertEqual(reply.status, "4.4.2")
        self.assertNotIn(b"\r\n.\r\n", self.transport.value())

    def test_E3_the_timer_starts_again_with_each_answer(self) -> None:
        self.clock.advance(250)
        self.server(b"220 x\r\n")
        self.clock.advance(250)
        self.server(b"250 x\r\n")
        self.successResultOf(self.sender.opened)

    def test_quit_does_not_wait_for_ever(self) -> None:
        self.open()
        self.sender.quit()
        self.assertTrue(self.transport.value().endswith(b"QUIT\r\n"))
        self.clock.advance(11)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
