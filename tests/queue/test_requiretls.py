"""REQUIRETLS in the queue (RFC 8689): through a restart, and in the reports about it."""

from __future__ import annotations

from mailserver.delivery.relay import Outcome
from mailserver.smtp.client.answers import local_reply
from tests.queue.scene import NO, OK, QueueTestCase, message

REFUSED = Outcome(local_reply(550, "5.7.30", "REQUIRETLS support required"), "mx.far.example[192.0.2.1]")


class RequireTlsTests(QueueTestCase):
    def test_it_outlives_a_restart(self) -> None:
        for number, wish in enumerate((True, False, None)):
            self.relay.hold = True
            self.enqueue(message("b@far.example", id=f"m{number}", require_tls=wish))
        self.crash()
        self.relay.let_go()
        self.relay.parcels.clear()
        self.relay.hold = False
        self.begin()
        self.turn(60)
        sent = {parcel.id: parcel.mail.require_tls for _, parcel in self.relay.parcels}
        self.assertEqual(sent, {"m0": True, "m1": False, "m2": False})

    def test_the_sender_is_told_why(self) -> None:
        """RFC 8689, 4.2.1; 5: as if RET=HDRS had been asked for."""
        self.relay.answer = lambda address, domain: REFUSED
        self.enqueue(message("b@far.example", require_tls=True, ret="FULL"))
        ((envelope, report),) = self.local.boxes["a@example.org"]
        self.assertIn(b"Status: 5.7.30\n", report)
        self.assertIn(b"text/rfc822-headers", report)
        self.assertNotIn(b"message/rfc822", report)
        self.assertTrue(envelope.require_tls)

    def test_a_report_is_protected_like_what_it_is_about(self) -> None:
        self.relay.answer = lambda address, domain: NO if address.startswith("b") else OK
        for required in (True, False):
            self.relay.parcels.clear()
            self.enqueue(
                message(
                    "b@far.example", sender="s@near.example", id=f"m{required}", require_tls=required or None
                )
            )
            self.turn(60)
            *_, (_, report) = self.relay.parcels
            self.assertEqual(report.mail.reverse_path, "")
            self.assertEqual(report.mail.require_tls, required)
