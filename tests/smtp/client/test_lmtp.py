"""The client engine in LMTP (RFC 2033): each recipient has a reply of its own."""

from __future__ import annotations

import pytest
from attrs import evolve

from mailserver.smtp.client.answers import local_reply
from mailserver.smtp.client.values import ClientOptions, Failed, Mail, Ready, SendBody, State
from tests.smtp.client.test_engine import EHLO, Dialog

OPTIONS = ClientOptions("relay.example.org", lmtp=True)
MAIL = Mail("a@example.org", ("pat@foo.edu", "jones@foo.edu", "green@foo.edu"), size=100)

pytestmark = pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])


def opened(step: int, ehlo: bytes = EHLO) -> Dialog:
    dialog = Dialog(step, OPTIONS)
    dialog.server(b"220 foo.edu LMTP server ready\r\n")
    assert dialog.client() == b"LHLO relay.example.org\r\n"
    dialog.server(ehlo)
    assert isinstance(dialog.events()[0], Ready)
    return dialog


def sent(step: int) -> Dialog:
    """The body is on its way; jones was refused."""
    dialog = opened(step)
    dialog.engine.transact(MAIL)
    assert dialog.client().endswith(b"RCPT TO:<green@foo.edu>\r\nDATA\r\n")
    dialog.server(b"250 OK\r\n250 OK\r\n550 5.1.1 No such user here\r\n250 OK\r\n354 go\r\n")
    assert dialog.events() == [SendBody()]
    dialog.engine.body_sent()
    return dialog


def test_the_example_of_the_rfc(step: int) -> None:
    """RFC 2033, 4.2."""
    dialog = sent(step)
    dialog.server(b"250 OK\r\n")
    assert dialog.events() == []
    dialog.server(b"452 <green@foo.edu> is temporarily over quota\r\n")
    assert dialog.codes() == [250, 550, 452]
    dialog.engine.transact(MAIL)
    assert dialog.client().startswith(b"MAIL FROM"), "no RSET after a whole transaction"


def test_a_reply_of_several_lines_is_one(step: int) -> None:
    dialog = sent(step)
    dialog.server(b"250-2.0.0 OK\r\n250 2.0.0 really\r\n550-5.2.1 no\r\n550 5.2.1 never\r\n")
    assert dialog.codes() == [250, 550, 550]


def test_replies_before_the_connection_broke_count(step: int) -> None:
    """RFC 2033, 5: and the rest are temporary failures."""
    dialog = sent(step)
    dialog.server(b"250 OK\r\n")
    dialog.engine.failed(local_reply(451, "4.4.2", "connection lost"))
    assert dialog.codes() == [250, 550, 451]
    dialog = sent(step)
    dialog.server(b"552 5.2.2 full\r\n421 4.3.2 stopping\r\n")
    assert dialog.codes() == [552, 550, 421]


def test_an_odd_reply_to_one_is_that_ones(step: int) -> None:
    dialog = sent(step)
    dialog.server(b"354 what\r\n250 OK\r\n")
    assert dialog.codes() == [451, 550, 250]


def test_more_replies_than_recipients_end_the_session(step: int) -> None:
    dialog = sent(step)
    dialog.server(b"250 OK\r\n250 OK\r\n250 OK\r\n")
    assert dialog.codes() == [250, 550, 250]
    assert dialog.engine.state is State.CLOSED


def test_nobody_is_accepted(step: int) -> None:
    """RFC 2033, 4.2: DATA is 503 then."""
    dialog = opened(step)
    dialog.engine.transact(MAIL)
    dialog.server(b"250 OK\r\n" + b"550 no\r\n" * 3 + b"503 no recipients\r\n")
    assert dialog.codes() == [550] * 3
    assert dialog.engine.usable


def test_data_is_accepted_without_recipients(step: int) -> None:
    """No server of LMTP does; whoever it is, nobody knows what comes next."""
    dialog = opened(step)
    dialog.engine.transact(MAIL)
    dialog.client()
    dialog.server(b"250 OK\r\n" + b"550 no\r\n" * 3 + b"354 go\r\n")
    assert dialog.codes() == [550] * 3
    assert dialog.client() == b""
    assert not dialog.engine.usable


@pytest.mark.parametrize("reply", [b"500 5.5.2 what?\r\n", b"502 no\r\n", b"421 busy\r\n"])
def test_a_server_of_smtp_is_a_mistake_that_mail_waits_for(step: int, reply: bytes) -> None:
    dialog = Dialog(step, OPTIONS)
    dialog.server(b"220 mx.example.net ESMTP\r\n")
    dialog.server(reply)
    (event,) = dialog.events()
    assert isinstance(event, Failed)
    assert event.reply.temporary
    assert dialog.client() == b"LHLO relay.example.org\r\n"


def test_lock_step(step: int) -> None:
    dialog = opened(step, b"250 foo.edu\r\n")
    dialog.engine.transact(evolve(MAIL, recipients=MAIL.recipients[:2]))
    for sends, answer in (
        (b"MAIL FROM:<a@example.org>\r\n", b"250 OK\r\n"),
        (b"RCPT TO:<pat@foo.edu>\r\n", b"250 OK\r\n"),
        (b"RCPT TO:<jones@foo.edu>\r\n", b"250 OK\r\n"),
        (b"DATA\r\n", b"354 go\r\n"),
    ):
        assert dialog.client() == sends
        dialog.server(answer)
    dialog.engine.body_sent()
    dialog.server(b"250 OK\r\n450 later\r\n")
    assert dialog.codes() == [250, 450]
