"""SMTPUTF8 (RFC 6531) in the server and towards the next host (CASES C12)."""

from __future__ import annotations

import pytest

from mailserver.interfaces import Peer
from mailserver.message.international import is_internationalized
from mailserver.message.trace import received
from mailserver.smtp.events import RecipientOffered
from tests.smtp.talk import Talk


def test_addresses() -> None:
    talk = Talk().hello()
    assert talk.line("MAIL FROM:<élan@exämple.org> SMTPUTF8 BODY=8BITMIME")[:3] == "250"
    assert talk.line("RCPT TO:<用户@例え.jp>")[:3] == "250"
    assert talk.line('RCPT TO:<"jörg x"@example.org>')[:3] == "250"
    assert talk.senders == ["élan@xn--exmple-cua.org"]
    assert talk.recipients == ["用户@xn--r8jz45g.jp", '"jörg x"@example.org']


@pytest.mark.parametrize(
    "path",
    [
        b"\xc3@example.org",
        b"\xed\xa0\x80@example.org",
        b"a\xe2\x80\xaeb@example.org",
        b"a\xc2\x85@example.org",
    ],
)
def test_C12_what_is_no_utf8_or_hides_something(path: bytes) -> None:
    """Half a character, a surrogate, an override of direction, a control character."""
    talk = Talk().hello()
    talk.line("MAIL FROM:<> SMTPUTF8")
    assert talk.say(b"RCPT TO:<" + path + b">\r\n")[0][:4] == "501 "


def test_two_spellings_of_one_name() -> None:
    """NFC and NFD are the same address."""
    talk = Talk().hello()
    talk.line("MAIL FROM:<> SMTPUTF8")
    talk.line("RCPT TO:<jo\u0308rg@example.org>")
    assert talk.recipients == ["j\u00f6rg@example.org"]


def test_it_lasts_for_one_transaction() -> None:
    talk = Talk().hello()
    talk.line("MAIL FROM:<a@b> SMTPUTF8")
    talk.line("RSET")
    talk.line("MAIL FROM:<a@b>")
    assert talk.line("RCPT TO:<ö@b>")[:10] == "553 5.6.7 "


def test_original_recipients_in_utf8() -> None:
    """RFC 6533, 3: as it may come with SMTPUTF8, and as any server takes it."""
    talk = Talk().hello()
    talk.line("MAIL FROM:<a@b> SMTPUTF8")
    assert talk.line("RCPT TO:<c@d> ORCPT=utf-8;jörg@d")[:3] == "250"
    assert talk.line("RCPT TO:<c@d> ORCPT=utf-8;j\\x{F6}rg@d")[:3] == "250"
    told = [event.command.orcpt for event in talk.events if isinstance(event, RecipientOffered)]
    assert told == ["utf-8;j\\x{F6}rg@d"] * 2
    assert talk.line("RCPT TO:<c@d> ORCPT=rfc822;jörg@d")[:4] == "501 "
    talk.line("RSET")
    talk.line("MAIL FROM:<a@b>")
    assert talk.line("RCPT TO:<c@d> ORCPT=utf-8;jörg@d")[:4] == "501 "


@pytest.mark.parametrize(
    ("tls", "authenticated", "protocol"),
    [("", False, "UTF8SMTP"), ("TLSv1.3", True, "UTF8SMTPSA"), ("TLSv1.3", False, "UTF8SMTPS")],
)
def test_the_trace_says_so(tls: str, authenticated: bool, protocol: str) -> None:
    """RFC 6531, 4.3"""
    peer = Peer("192.0.2.1", tls=tls)
    field = received(
        *(),
        peer=peer,
        helo="a",
        extended=True,
        authenticated=authenticated,
        hostname="b",
        message_id="1",
        recipient="jörg@d",
        when=0,
        utf8=True,
    )
    assert f"with {protocol} ".encode() in field
    assert "for <jörg@d>".encode() in field


INNER = "Content-Type: text/plain; name=ö\n\nx\n".encode()
MULTIPART = b"From: a@b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n%b--b--\n"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"From: a@b\n\nbody\n", False),
        ("From: a@b\n\nk\u00f6rper\n".encode(), False),
        ("From: \u00e4@b\n\nbody\n".encode(), True),
        (MULTIPART % b"Content-Type: text/plain\n\nx\n", False),
        (MULTIPART % INNER, True),
        (b"From: a@b\nno end of the header", True),
    ],
)
def test_what_needs_smtputf8(message: bytes, expected: bool) -> None:
    """RFC 6531, 3.2; RFC 6532: header fields of the message and of its parts, not the text."""
    assert is_internationalized(message, message) is expected


def test_what_is_not_in_memory_may_need_it() -> None:
    assert is_internationalized(b"From: a@b\n\nbody", None)
