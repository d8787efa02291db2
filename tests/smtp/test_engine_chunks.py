"""BDAT (RFC 3030): counted octets, in which a dot is a dot and a command is text (CASES A17)."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from mailserver.smtp.events import BodyEnded, BodyFailed, BodyRefused, Closing
from tests.smtp.talk import OPTIONS, Talk, by_byte


def ready(**options: int) -> Talk:
    talk = Talk(evolve(OPTIONS, **options)).hello()
    talk.line("MAIL FROM:<s@example.com>")
    talk.line("RCPT TO:<r@example.org>")
    return talk


def test_the_example_of_the_rfc() -> None:
    """RFC 3030, 4.2: two chunks pipelined with the commands before them, the second one the last."""
    first, second = b"To: Susan\r\n" * 100, b"\r\n.\r\n..x\r\nQUIT\r\n"
    talk = Talk().hello()
    made = talk.say(
        b"MAIL FROM:<Sam@Random.com>\r\nRCPT TO:<Susan@Random.com>\r\n"
        b"BDAT %d\r\n%bBDAT %d LAST\r\n%bQUIT\r\n" % (len(first), first, len(second), second)
    )
    assert [line[:10] for line in made] == [
        *("250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 ", "250 2.0.0 ", "221 2.0.0 ")
    ]
    assert talk.messages == [first + second]
    assert talk.closed() == "quit"


def test_how_the_input_is_cut_does_not_matter() -> None:
    good = b"BDAT 8\r\na\r\n.\r\nb\rBDAT 5\r\n\nc\r\n.BDAT 0 last\r\nNOOP\r\n"
    assert [line[:4] for line in ready().cut(by_byte(good))] == ["250 "] * 4
    data = b"BDAT 9\r\na\r\n.\r\nb\r\rBDAT 5\r\n\nc\r\n.BDAT 0 last\r\nNOOP\r\n"
    expected = ready().say(data)
    assert [line[:4] for line in expected] == ["550 ", "503 ", "503 ", "250 "]
    assert ready().cut(by_byte(data)) == expected
    rng = random.Random(1)
    for _ in range(200):
        cuts = sorted(rng.sample(range(len(data)), 5))
        segments = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert ready().cut(segments) == expected


def test_a_line_end_may_be_cut_by_a_chunk() -> None:
    talk = ready()
    talk.say(b"BDAT 3\r\nab\rBDAT 3 LAST\r\n\nc\n")
    assert talk.messages == []
    talk = ready()
    talk.say(b"BDAT 3\r\nab\rBDAT 2 LAST\r\n\nc")
    assert talk.messages == [b"ab\r\nc"]
    talk = ready()
    assert talk.say(b"BDAT 3\r\nab\rBDAT 0 LAST\r\n")[-1][:10] == "550 5.5.2 "


def test_an_empty_message() -> None:
    talk = ready()
    assert talk.line("BDAT 0 LAST") == "250 2.0.0 Ok"
    assert talk.messages == [b""]


def test_A17_a_chunk_that_may_not_come_is_read_and_refused() -> None:
    """RFC 3030, 2: its octets are never taken for commands."""
    evil = b"MAIL FROM:<e@v>\r\nQUIT\r\n"
    talk = Talk().hello()
    talk.line("MAIL FROM:<a@b>")
    assert talk.say(b"BDAT %d LAST\r\n" % len(evil) + evil[:5]) == []
    assert talk.say(evil[5:]) == ["503 5.5.1 Send RCPT first"]
    assert talk.senders == ["a@b"]
    assert isinstance(talk.events[-1], BodyRefused)
    assert talk.line("MAIL FROM:<c@d>") == "250 2.1.0 Sender ok"


def test_A17_before_hello() -> None:
    talk = Talk()
    assert talk.say(b"BDAT 6\r\nQUIT\r\nNOOP\r\n") == ["503 5.5.1 Send EHLO first", "250 2.0.0 Ok"]
    assert talk.line("MAIL FROM:<a@b>")[:4] == "503 "


def test_A17_data_and_bdat_do_not_mix() -> None:
    talk = ready()
    talk.say(b"BDAT 2\r\na\r")
    for line in ("DATA", "RCPT TO:<x@y>", "MAIL FROM:<x@y>"):
        assert talk.line(line) == "503 5.5.1 Send the next chunk, or RSET"
    assert talk.say(b"BDAT 1 LAST\r\n\n") == ["250 2.0.0 Ok"]
    assert talk.messages == [b"a\r\n"]


@pytest.mark.parametrize(
    "line", ["BDAT", "BDAT x", "BDAT -1", "BDAT 1 FIRST", "BDAT 1e3", "BDAT " + "9" * 21]
)
def test_A17_a_size_that_is_none_ends_the_session(line: str) -> None:
    talk = ready()
    assert talk.line(line) == "501 5.5.4 Syntax: BDAT size [LAST]"
    assert isinstance(talk.events[-1], Closing)


def test_A17_a_size_that_nobody_waits_for() -> None:
    talk = ready()
    assert talk.line("BDAT 99999999999") == "552 5.3.4 Message size exceeds fixed maximum message size"
    assert talk.closed() == "message too large"


def test_A17_a_flood_of_empty_chunks() -> None:
    talk = ready(junk=100)
    made = talk.say(b"BDAT 0\r\n" * 1000)
    assert len(made) == 101
    assert made[-1][:10] == "421 4.7.0 "


def test_A4_too_large_in_several_chunks() -> None:
    talk = ready(max_size=100)
    assert talk.say(b"BDAT 60\r\n" + b"x" * 60)[0][:4] == "250 "
    assert talk.say(b"BDAT 60\r\n" + b"x" * 60)[0][:10] == "552 5.3.4 "
    assert [type(event) for event in talk.events[-2:]] == [BodyFailed, BodyRefused]
    assert talk.say(b"BDAT 6 LAST\r\nQUIT\r\n")[0][:4] == "503 "


@pytest.mark.parametrize("line", ["RSET", "EHLO again"])
def test_what_came_of_a_message_is_forgotten(line: str) -> None:
    talk = ready()
    talk.say(b"BDAT 3\r\nabc")
    talk.line(line)
    assert isinstance(talk.events[-1], BodyFailed)
    assert not any(isinstance(event, BodyEnded) for event in talk.events)
    assert talk.line("MAIL FROM:<c@d>") == "250 2.1.0 Sender ok"
