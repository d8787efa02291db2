"""Reports that any mail program can read, whatever is in them."""

from __future__ import annotations

import email
from email.message import Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.message.dsn import Report, ReportedRecipient, decode_xtext, render

HEADER = b"Received: by x\nFrom: a@example.org\nSubject: hello\nMessage-ID: <1@example.org>\n\nbody body\n"


def report(**fields: Any) -> tuple[bytes, Message]:
    recipient = {"address": "b@far.example", "action": "failed", "status": "5.1.1"}
    for name in list(fields):
        if name in ReportedRecipient.__annotations__:
            recipient[name] = fields.pop(name)
    fields.setdefault("header", HEADER)
    recipients = [ReportedRecipient(**recipient)]
    data = render(
        Report(
            "r1", "mail.example.org", "a@example.org", 1_700_000_000.0, 1_699_999_000.0, recipients, **fields
        )
    )
    assert data.isascii() and b"\r" not in data
    assert max(map(len, data.split(b"\n"))) <= 998
    return data, email.message_from_bytes(data)


def parts(message: Message) -> tuple[Message, Message, Message]:
    """Text, delivery status, header; checked for their types."""
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, status, header = message.get_payload()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert header.get_content_type() == "text/rfc822-headers"
    return text, status, header


def test_G18_a_failed_report() -> None:
    data, message = report(diagnostic="550 5.1.1 no such user", remote="mx.far.example[192.0.2.1]")
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.org>"
    assert message["To"] == "<a@example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<1@example.org>"
    text, status, header = parts(message)
    assert "no such user" in text.get_payload()
    general, recipient = status.get_payload()
    assert general["Reporting-MTA"] == "dns; mail.example.org"
    assert general["Arrival-Date"].endswith("-0000")
    assert recipient["Final-Recipient"] == "rfc822; b@far.example"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert recipient["Remote-MTA"] == "dns; mx.far.example"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert header.get_payload() == HEADER.partition(b"\n\n")[0].decode() + "\n"
    assert b"body body" not in data


def test_a_delayed_report() -> None:
    _, message = report(action="delayed", status="4.4.1", retry_until=1_700_432_000.0)
    text, status, _ = parts(message)
    assert "do not need to send it again" in text.get_payload()
    _, recipient = status.get_payload()
    assert recipient["Will-Retry-Until"] == "Sun, 19 Nov 2023 22:13:20 -0000"


@pytest.mark.parametrize("action", ["delivered", "relayed"])
def test_other_reports_have_the_same_shape(action: str) -> None:
    _, message = report(action=action, status="2.0.0")
    assert parts(message)[1].get_payload()[1]["Action"] == action


def test_G18_hostile_diagnostics() -> None:
    """8-bit, 998 octets without a space, line ends, the report's own boundary."""
    for said in (
        "caf\u00e9 \udcff",
        "x" * 998,
        "a\r\nStatus: 2.0.0\r\n\r\nb",
        "--=_report_r1--\n--=_report_r1",
    ):
        _, message = report(diagnostic=f"550 {said}", remote="mx\r\nStatus: 2.0.0")
        _, status, header = parts(message)
        _, recipient = status.get_payload()
        assert recipient["Status"] == "5.1.1"
        assert len(recipient.get_all("Status")) == 1
        assert "Subject: hello" in header.get_payload()


def test_G18_xtext_in_orcpt_and_envid() -> None:
    """RFC 3461, 4: both are shown decoded."""
    _, message = report(orcpt="rfc822;a+2Btag+3Dx+20y@z.example", envid="QQ+2B1")
    general, recipient = parts(message)[1].get_payload()
    assert recipient["Original-Recipient"] == "rfc822; a+tag=x y@z.example"
    assert general["Original-Envelope-Id"] == "QQ+1"
    assert decode_xtext("a+2bc+") == "a+2bc+"


def test_addresses_that_are_not_ascii() -> None:
    """RFC 6533, 3."""
    _, message = report(address="jürgen@far.example")
    recipient = parts(message)[1].get_payload()[1]
    assert recipient["Final-Recipient"] == "utf-8; j\\x{FC}rgen@far.example"


def test_G18_large_and_broken_headers() -> None:
    for header in (
        b"X: " + b"y" * 200_000 + b"\n\nbody",
        b"".join(b"X-%d: y\n" % n for n in range(50_000)),
        b"Subject: caf\xc3\xa9\n\n",
        b"Subject: a\0b\rc\n\n",
        b"",
        b"\n\nbody",
        b"no header at all",
    ):
        data, message = report(header=header)
        returned = parts(message)[2].get_payload(decode=True)
        assert len(data) < 130_000
        original = header.partition(b"\n\n")[0].replace(b"\r", b"")
        assert original.startswith(returned.rstrip(b"\n"))
        assert len(returned) > min(len(original), 30_000)
    assert parts(message)[2]["Content-Transfer-Encoding"] == "7bit"


@settings(max_examples=100)
@given(st.text(max_size=300), st.text(max_size=80), st.binary(max_size=400), st.text(max_size=60))
def test_any_content_gives_a_report_of_three_parts(
    said: str, address: str, header: bytes, orcpt: str
) -> None:
    _, message = report(diagnostic=said, address=address, header=header, orcpt=orcpt, envid=orcpt)
    _, status, _ = parts(message)
    general, recipient = status.get_payload()
    assert recipient["Action"] == "failed" and general["Reporting-MTA"]
