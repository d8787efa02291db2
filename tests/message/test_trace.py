"""Trace fields, and that nothing a client says breaks out of them."""

from __future__ import annotations

from email import message_from_bytes
from email.utils import parsedate_to_datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.interfaces import Peer
from mailserver.message.headers import Headers
from mailserver.message.trace import address_literal, date, hops, received


def field(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "peer": Peer("192.0.2.1"),
        "helo": "client.example",
        "extended": True,
        "authenticated": False,
        "hostname": "mail.example.org",
        "message_id": "0abc",
        "recipient": "alice@example.org",
        "when": 1_790_000_000.5,
    }
    return received(**{**values, **changes})


class ReceivedTests(SynchronousTestCase):
    def test_the_field(self) -> None:
        self.assertEqual(
            field(),
            b"Received: from client.example ([192.0.2.1])\n"
            b"\tby mail.example.org with ESMTP id 0abc\n"
            b"\tfor <alice@example.org>;\n"
            b"\tMon, 21 Sep 2026 14:13:20 +0000\n",
        )

    def test_the_protocol(self) -> None:
        """RFC 3848."""
        tls = Peer("192.0.2.1", tls="TLSv1.3 TLS_AES_256_GCM_SHA384")
        self.assertIn(b" with SMTP id", field(extended=False))
        self.assertIn(b" with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id", field(peer=tls))
        self.assertIn(b" with ESMTPSA (TLSv1.3", field(peer=tls, authenticated=True))
        self.assertIn(b" with ESMTPA id", field(authenticated=True))

    def test_other_recipients_are_not_told(self) -> None:
        self.assertNotIn(b"for", field(recipient=""))

    def test_addresses(self) -> None:
        self.assertEqual(address_literal("192.0.2.1"), "[192.0.2.1]")
        self.assertEqual(address_literal("fe80::1%eth0"), "[IPv6:fe80::1]")

    def test_date_is_a_date(self) -> None:
        self.assertEqual(parsedate_to_datetime(date(1_790_000_000)).timestamp(), 1_790_000_000)

    def test_hops(self) -> None:
        self.assertEqual(hops(Headers(field() * 3 + b"Subject: Received: x\n\nReceived: y\n")), 3)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
    def test_C6_C16_one_field_whatever_the_client_says(self, helo: str, recipient: str, tls: str) -> None:
        text = field(helo=helo, recipient=recipient, peer=Peer("192.0.2.1", tls=tls))
        parsed = message_from_bytes(text + b"\nbody")
        assert parsed.keys() == ["Received"]
        lines = text.split(b"\n")
        assert len(lines) == 4 + bool(recipient)
        assert all(line.startswith(b"\t") for line in lines[1:-1])
