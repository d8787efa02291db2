"""Replies of a server: grammar, enhanced codes, limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.smtp.client.answers import MAX_LINE, BadReply, Reply, ReplyParser


def parse(data: bytes, step: int = 0) -> list[Reply]:
    parser = ReplyParser()
    replies = []
    pieces = [data] if not step else [data[i : i + step] for i in range(0, len(data), step)]
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next()) is not None:
            replies.append(reply)
    return replies


@pytest.mark.parametrize("step", [0, 1])
def test_multiline_reply_with_enhanced_codes(step: int) -> None:
    """RFC 2034, 4: the enhanced code stands in each line and is taken off."""
    (reply,) = parse(b"550-5.1.1 No such\r\n550 5.1.1 user\r\n", step)
    assert reply == Reply(550, ("No such", "user"), "5.1.1")
    assert str(reply) == "550 5.1.1 No such user"


@pytest.mark.parametrize(
    ("line", "code", "enhanced", "text"),
    [
        (b"250\r\n", 250, "", ""),
        (b"250 \r\n", 250, "", ""),
        (b"250 ok\n", 250, "", "ok"),
        (b"250 4.1.1 class does not fit\r\n", 250, "", "4.1.1 class does not fit"),
        (b"550 5.1.1\r\n", 550, "5.1.1", ""),
        (b"421 4.3.2 bye\x1b[0m\x00\r\n", 421, "4.3.2", "bye?[0m?"),
        (b"554 caf\xc3\xa9 \xff\r\n", 554, "", "café \ufffd"),
    ],
)
def test_single_lines(line: bytes, code: int, enhanced: str, text: str) -> None:
    (reply,) = parse(line)
    assert (reply.code, reply.enhanced, reply.text) == (code, enhanced, text)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"100 too low\r\n",
        b"600 too high\r\n",
        b"250-a\r\n251 b\r\n",
        b"250+a\r\n",
        b"2500 a\r\n",
        b"250 " + b"x" * 3_000_000,
        b"250 " + b"x" * 3_000_000 + b"\r\n",
        b"250-x\r\n" * 1_000_000,
        (b"250-" + b"x" * 4000 + b"\r\n") * 100,
    ],
    ids=range(11),
)
def test_G6_garbage_and_endless_replies_are_refused(data: bytes) -> None:
    """Nothing is kept of what breaks a limit, and the parser stays broken."""
    parser = ReplyParser()
    parser.feed(data)
    with pytest.raises(BadReply):
        while parser.next() is not None:
            pass
    assert not parser._data and not parser._lines
    parser.feed(b"250 ok\r\n")
    with pytest.raises(BadReply):
        parser.next()


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=200) | st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"x" * 5000])))
def test_any_bytes_give_replies_or_bad_reply(pieces: list[bytes]) -> None:
    parser = ReplyParser()
    try:
        for piece in pieces:
            parser.feed(piece)
            while parser.next() is not None:
                pass
            assert len(parser._data) <= MAX_LINE
    except BadReply:
        pass
