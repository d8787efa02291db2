"""Binary messages where only text is taken: in mailboxes, by next hosts without BINARYMIME (RFC 3030, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, execute, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailserver.delivery.binary import TextDelivery
from mailserver.delivery.body import MemoryBody
from mailserver.delivery.relay import Attempt, Parcel
from mailserver.errors import MailError
from mailserver.interfaces import Envelope, Peer, Target
from mailserver.smtp.client.values import Mail
from tests.delivery.test_relay import RelayTestCase
from tests.helpers.bodies import Sliced, Whole

HEADER = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n"
BINARY = HEADER + b"\0\n.\r\n.\r"
TEXT = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nAAouDQouDQ==\r\n"
SIGNED = b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\0\r\n--b\r\n\r\nseal\r\n--b--\r\n"


class Mailboxes:
    """ILocalDelivery that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []

    def deliver(
        self, envelope: Envelope, trace: bytes, body: Any, targets: Sequence[Target]
    ) -> Deferred[Sequence[None]]:
        self.taken.append((envelope.body_type, trace + b"".join(body.chunks())))
        return succeed([None] * len(targets))


class DirectPool:
    def run(self, key: object, function: Any, *args: Any) -> Deferred[Any]:
        return execute(function, *args)


class MailboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.boxes = Mailboxes()
        self.local: Any = TextDelivery(self.boxes, DirectPool())  # type: ignore[arg-type]

    def deliver(self, data: bytes, kind: str = "BINARYMIME") -> Deferred[Any]:
        target = Target("alice@example.org", user="alice@example.org")
        envelope = Envelope("1", "a@b", (), Peer("192.0.2.1"), body_type=kind)
        made: Deferred[Any] = self.local.deliver(envelope, b"Received: x\n", MemoryBody(data), [target])
        return made

    def test_a_mailbox_gets_lines_of_text(self) -> None:
        self.assertEqual(self.successResultOf(self.deliver(BINARY)), [None])
        ((kind, text),) = self.boxes.taken
        self.assertEqual(kind, "7BIT")
        self.assertEqual(text, b"Received: x\nContent-Type: image/png\n" + TEXT.replace(b"\r\n", b"\n"))

    def test_text_is_left_alone(self) -> None:
        self.successResultOf(self.deliver(b"a\n\nb\n", "8BITMIME"))
        self.assertEqual(self.boxes.taken, [("8BITMIME", b"Received: x\na\n\nb\n")])

    def test_what_has_no_text_form_is_refused(self) -> None:
        error = self.failureResultOf(self.deliver(SIGNED), MailError).value
        self.assertEqual((error.code, error.enhanced), (554, "5.6.1"))  # type: ignore[attr-defined]
        self.assertEqual(self.boxes.taken, [])


class RelayTests(RelayTestCase):
    async def send(self, data: bytes = BINARY, source: Any = None) -> Attempt:
        mail = Mail("a@example.org", ("b@far.example",), size=len(data), eight_bit=False, binary=True)

        async def as_text(eight_bit: bool) -> Parcel:
            if data is SIGNED:
                raise MailError("no", code=554, enhanced="5.6.1")
            text = b"Content-Type: image/png\r\n" + TEXT
            return evolve(
                parcel,
                mail=evolve(mail, binary=False, size=len(text)),
                open=lambda: Whole(text),
                as_text=None,
            )

        parcel = Parcel("id", "far.example", mail, lambda: source or Whole(data), as_text)
        return await self.relay.deliver(parcel)

    async def test_a_host_that_takes_it_gets_every_octet(self) -> None:
        peer = self.peer(extensions=["CHUNKING", "BINARYMIME", "SIZE 1000000"])
        self.assertEqual(self.codes(await self.send()), [250])
        self.assertEqual(peer.messages[0].body, BINARY)
        self.assertIn(f"MAIL FROM:<a@example.org> SIZE={len(BINARY)} BODY=BINARYMIME", peer.lines)
        large = HEADER + bytes(range(256)) * 2000
        attempt = await self.send(large, Sliced(large, 10_000))
        self.assertEqual(self.codes(attempt), [250])
        self.assertEqual(peer.messages[1].body, large)
        self.assertEqual(peer.connections, 1)

    async def test_another_gets_text(self) -> None:
        peer = self.peer(extensions=["BINARYMIME"])
        self.assertEqual(self.codes(await self.send()), [250])
        self.assertEqual(peer.messages[0].body, b"Content-Type: image/png\r\n" + TEXT)
        self.assertNotIn("BODY", "".join(peer.lines))

    async def test_what_has_no_text_form_comes_back(self) -> None:
        peer = self.peer()
        attempt = await self.send(SIGNED)
        self.assertEqual(attempt.outcomes[0].reply.status, "5.6.1")
        self.assertTrue(attempt.outcomes[0].reply.permanent)
        self.assertEqual(peer.messages, [])

    async def test_a_body_of_another_size_is_broken_off(self) -> None:
        """Too few octets would make the next command part of the message, too many would become commands."""
        for data in (BINARY + b"x", BINARY[:-1]):
            peer = self.peer(extensions=["CHUNKING", "BINARYMIME"])
            attempt = await self.send(BINARY, Whole(data))
            self.assertEqual(attempt.outcomes[0].reply.status, "4.3.0")
            self.assertEqual(peer.messages, [])
            self.finder.hosts.clear()
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)  # it is this server's own fault
