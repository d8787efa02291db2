"""Binary messages in the queue: every octet through a restart, text for who takes no other (RFC 3030)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailserver.delivery.relay import Attempt, Outcome, Parcel
from mailserver.errors import MailError
from mailserver.interfaces import Envelope, Peer, Target
from mailserver.queue.carrier import Carrier
from mailserver.queue.files import WHOLE
from mailserver.queue.values import Job, Place, QueuedMessage, QueuedRecipient
from mailserver.smtp.client.answers import Reply
from tests.queue.scene import OK, QueueTestCase, message
from tests.queue.test_source import Pool, Reactor

HEADER = b"Subject: x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n"
BINARY = HEADER + bytes(range(256)) + b"\n\r"
SIGNED = b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\0\r\n--b\r\n\r\nseal\r\n--b--\r\n"
REFUSED = Outcome(Reply(554, ("not convertible",), "5.6.1"), "mx.far.example[192.0.2.1]")


class QueueTests(QueueTestCase):
    def test_every_octet_through_a_restart(self) -> None:
        self.relay.hold = True
        for body in (BINARY, BINARY * 500):
            self.enqueue(message("b@far.example", body=body, id=f"m{len(body)}", body_type="BINARYMIME"))
        self.crash()
        self.relay.let_go()
        self.relay.parcels.clear()
        self.relay.bodies.clear()
        self.relay.hold = False
        self.begin()
        self.turn(60)
        small, large = sorted((parcel.mail.size, parcel.mail.binary) for _, parcel in self.relay.parcels)
        trace = b"Received: here\r\n"
        self.assertEqual(small, (len(trace + BINARY), True))
        self.assertEqual(large, (len(trace + BINARY * 500), True))
        self.assertIn(trace + BINARY, self.relay.bodies)
        self.assertEmpty()

    def test_a_bounce_quotes_the_header_as_text(self) -> None:
        """What cannot be mangled into a report is not returned (RFC 3030, 3)."""
        self.relay.answer = lambda address, domain: REFUSED
        self.enqueue(message("b@far.example", body=BINARY, body_type="BINARYMIME", ret="FULL"))
        ((_, report),) = self.local.boxes["a@example.org"]
        self.assertIn(b"Status: 5.6.1\n", report)
        self.assertIn(b"Subject: x\nContent-Type: image/png\n", report.partition(b"rfc822-headers")[2])
        self.assertNotIn(b"\r", report)

    def test_local_recipients_get_it_as_it_is_from_the_queue(self) -> None:
        self.enqueue(message("c@example.org", "b@far.example", body=BINARY, body_type="BINARYMIME"))
        ((envelope, content),) = self.local.boxes["c@example.org"]
        self.assertTrue(envelope.binary)
        self.assertEqual(content, b"Received: here\r\n" + BINARY)


class Asks:
    """A relay that wants text."""

    def __init__(self, eight_bit: bool) -> None:
        self.eight_bit = eight_bit
        self.parcels: list[Parcel] = []

    async def deliver(self, parcel: Parcel) -> Attempt:
        assert parcel.as_text is not None
        self.parcels.append(await parcel.as_text(self.eight_bit))
        return Attempt((OK,), True)


class ConversionTests(SynchronousTestCase):
    def job(self, data: bytes) -> Job:
        path = Path(self.mktemp())
        path.write_bytes(data)
        envelope = Envelope("1", "a@b", (), Peer("192.0.2.1"), body_type="BINARYMIME")
        place = Place("00/1", 0, len(data), len(data), not data.isascii(), zlib.crc32(data))
        whole = data if len(data) <= WHOLE else None
        recipient = QueuedRecipient(1, "c@d", Target("c@d", domain="d"))
        return Job(QueuedMessage(1, envelope, place), (recipient,), HEADER, whole, str(path.absolute()))

    def convert(self, job: Job, eight_bit: bool = True) -> Parcel:
        relay: Any = Asks(eight_bit)
        carrier = Carrier(relay, None, Reactor(Pool()))  # type: ignore[arg-type]
        self.successResultOf(Deferred.fromCoroutine(carrier.carry(job)))
        (parcel,) = relay.parcels
        assert isinstance(parcel, Parcel)
        return parcel

    def test_a_small_one(self) -> None:
        parcel = self.convert(self.job(BINARY))
        text = parcel.open().whole
        assert text is not None
        self.assertEqual(text.count(b"base64"), 1)
        self.assertEqual(parcel.mail.size, len(text) + text.count(b"\n"))
        self.assertEqual((parcel.mail.binary, parcel.mail.eight_bit), (False, False))

    def test_a_large_one_is_read_from_the_disk_as_often_as_is_needed(self) -> None:
        parcel = self.convert(self.job(BINARY * 3000))
        texts = []
        for _ in range(2):
            source = parcel.open()
            self.assertIsNone(source.whole)
            pieces = []
            while piece := self.successResultOf(source.read()):
                pieces.append(piece)
            source.close()
            texts.append(b"".join(pieces))
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(parcel.mail.size, len(texts[0]) + texts[0].count(b"\n"))

    def test_for_a_server_without_8bitmime(self) -> None:
        job = self.job(b"Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n")
        self.assertTrue(self.convert(job).mail.eight_bit)
        self.assertFalse(self.convert(job, eight_bit=False).mail.eight_bit)

    def test_what_has_no_text_form(self) -> None:
        carrier = Carrier(Asks(True), None, Reactor(Pool()))  # type: ignore[arg-type]
        carried = Deferred.fromCoroutine(carrier.carry(self.job(SIGNED)))
        self.assertEqual(self.failureResultOf(carried, MailError).value.enhanced, "5.6.1")

    def test_what_is_not_what_was_written(self) -> None:
        job = self.job(BINARY * 3000)
        Path(job.path).write_bytes(BINARY * 2999 + HEADER * 100)
        carrier = Carrier(Asks(True), None, Reactor(Pool()))  # type: ignore[arg-type]
        carried = Deferred.fromCoroutine(carrier.carry(job))
        self.assertTrue(self.failureResultOf(carried, MailError).value.temporary)
