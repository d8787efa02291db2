"""BINARYMIME (RFC 3030, 3): any octets by BDAT, kept and passed on as they came."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mailserver.smtp.client.engine import ClientEngine
from mailserver.smtp.client.values import ClientOptions, Mail, Ready, SendBody, TransactionDone
from tests.smtp.service import World
from tests.smtp.talk import Talk, by_byte

EVIL = bytes(range(256)) + b"\r\n.\r\nQUIT\r\n\n\r\r\n\0" + b"x" * 20_000
MAIL = b"MAIL FROM:<ned@ymir.example> BODY=BINARYMIME\r\nRCPT TO:<r@example.org>\r\n"


def test_the_example_of_the_rfc() -> None:
    """RFC 3030, 4.2, everything in one segment, and octet by octet."""
    first, second = EVIL * 4, EVIL[:324]
    data = MAIL + b"BDAT %d\r\n%bBDAT 324\r\n%bBDAT 0 LAST\r\nQUIT\r\n" % (len(first), first, second)
    for segments in ([data], by_byte(data)):
        talk = Talk().hello()
        assert "250-BINARYMIME" in talk.say(b"EHLO again\r\n")
        made = talk.cut(segments)
        assert [line[:3] for line in made] == ["250"] * 5 + ["221"]
        assert talk.messages == [first + second]


def test_how_the_input_is_cut_does_not_matter() -> None:
    data = MAIL + b"BDAT %d\r\n%bBDAT 3 LAST\r\n\r\n\rRSET\r\n" % (len(EVIL), EVIL)
    expected = Talk().hello().say(data)
    rng = random.Random(2)
    for _ in range(50):
        cuts = sorted(rng.sample(range(len(data)), 6))
        talk = Talk().hello()
        segments = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert talk.cut(segments) == expected
        assert talk.messages == [EVIL + b"\r\n\r"]


def test_it_cannot_come_by_data() -> None:
    """RFC 3030, 3: 503, and RSET clears it."""
    talk = Talk().hello()
    talk.say(MAIL)
    assert talk.line("DATA")[:10] == "503 5.5.1 "
    assert talk.line("RSET")[:4] == "250 "
    talk.say(MAIL.replace(b" BODY=BINARYMIME", b""))
    assert talk.line("DATA")[:4] == "354 "


def test_without_the_parameter_lines_are_lines() -> None:
    talk = Talk().hello()
    talk.say(MAIL.replace(b"BINARYMIME", b"8BITMIME"))
    assert talk.say(b"BDAT 3 LAST\r\na\nb")[-1][:10] == "550 5.5.2 "
    assert talk.line("MAIL FROM:<a@b> BODY=BINARY")[:4] == "501 "


def test_too_large() -> None:
    talk = Talk().hello()
    talk.say(MAIL)
    assert talk.say(b"BDAT 100001 LAST\r\n" + b"\0" * 100_001)[-1][:10] == "552 5.3.4 "


HEADER = b"From: alice@example.org\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n"


def submitted(message: bytes, directory: Path | str = "/nonexistent") -> tuple[str, World]:
    world = World("submission", str(directory))
    client = world.connect().log_in()
    client.line("MAIL FROM:<alice@example.org> BODY=BINARYMIME")
    client.line("RCPT TO:<bob@example.org>")
    replies = client.say(b"BDAT %d LAST\r\n%b" % (len(message), message))
    return replies[-1], world


def test_the_service_keeps_every_octet(tmp_path: Path) -> None:
    """Fields that submission adds are lines of the header; the body is what came."""
    for body in (EVIL, EVIL * 100, b"", b"\n"):
        reply, world = submitted(HEADER + b"Bcc: x@y\r\n\r\n" + body, tmp_path)
        assert reply[:4] == "250 "
        ((envelope, _, text),) = world.acceptor.messages
        assert envelope.binary
        header, _, kept = text.partition(b"\r\n\r\n")
        assert kept == body
        assert b"Bcc" not in header
        assert b"Message-ID: <" in header
        assert header.count(b"\r\n") == header.count(b"\n") == header.count(b"\r")


@pytest.mark.parametrize("bad", [b"X: \0\r\n", b"X: a\n b\r\n", b"X: a\rb\r\n", b"X: a\n\n"])
def test_the_header_is_text(bad: bytes) -> None:
    reply, world = submitted(HEADER + bad + b"\r\nbody")
    assert reply[:10] == "550 5.6.0 "
    assert world.acceptor.messages == []


def test_a_body_alone() -> None:
    """A header is made; nothing of the body is taken for one."""
    reply, world = submitted(b"\r\n" + EVIL)
    assert reply[:4] == "250 "
    assert world.acceptor.texts[0].endswith(b"\r\n\r\n" + EVIL)


# --- the client ----------------------------------------------------------------------------------

BINARY = Mail("a@example.org", ("b@example.net", "c@example.net"), size=10, eight_bit=True, binary=True)


def ready(ehlo: bytes = b"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 BINARYMIME\r\n") -> ClientEngine:
    engine = ClientEngine(ClientOptions("relay.example.org"))
    engine.receive(b"220 mx\r\n" + ehlo)
    engine.data_to_send()
    assert isinstance(engine.next_event(), Ready)
    return engine


def codes(engine: ClientEngine) -> list[str]:
    event = engine.next_event()
    assert isinstance(event, TransactionDone)
    return [f"{reply.code} {reply.status}" for reply in event.replies]


def test_the_client_waits_for_all_replies_before_the_chunk() -> None:
    """RFC 3030, 2: a chunk goes to servers only that will have it."""
    engine = ready()
    engine.transact(BINARY)
    assert engine.data_to_send() == (
        b"MAIL FROM:<a@example.org> BODY=BINARYMIME\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\n"
    )
    engine.receive(b"250 ok\r\n250 ok\r\n")
    assert engine.data_to_send() == b""
    engine.receive(b"550 5.1.1 who\r\n")
    assert engine.data_to_send() == b"BDAT 10 LAST\r\n"
    assert engine.next_event() == SendBody(10)
    engine.body_sent()
    engine.receive(b"250 2.0.0 taken\r\n")
    assert codes(engine) == ["250 2.0.0", "550 5.1.1"]
    engine.transact(BINARY)
    assert not engine.data_to_send().startswith(b"RSET")


def test_nobody_was_accepted() -> None:
    engine = ready()
    engine.transact(BINARY)
    engine.data_to_send()
    engine.receive(b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 later\r\n")
    assert engine.data_to_send() == b""
    assert codes(engine) == ["550 5.1.1", "450 4.2.1"]
    engine.transact(BINARY)
    assert engine.data_to_send().startswith(b"RSET\r\n")


def test_after_a_chunk_that_failed_comes_rset() -> None:
    """RFC 3030, 2: its state is indeterminate."""
    engine = ready()
    engine.transact(BINARY)
    engine.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    assert isinstance(engine.next_event(), SendBody)
    engine.body_sent()
    engine.receive(b"452 4.3.1 full\r\n")
    assert codes(engine) == ["452 4.3.1"] * 2
    engine.data_to_send()
    engine.transact(BINARY)
    assert engine.data_to_send().startswith(b"RSET\r\n")


@pytest.mark.parametrize("ehlo", [b"250-mx\r\n250 BINARYMIME\r\n", b"250-mx\r\n250 CHUNKING\r\n"])
def test_no_binary_data_to_servers_that_do_not_say_they_take_it(ehlo: bytes) -> None:
    """RFC 3030, 3: MUST NOT, under any circumstances."""
    engine = ready(ehlo)
    engine.transact(BINARY)
    assert engine.data_to_send() == b""
    assert codes(engine) == ["554 5.6.1"] * 2
