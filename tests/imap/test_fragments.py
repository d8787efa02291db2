"""Lines and literals cut out of the stream, with limits, before any grammar."""

from __future__ import annotations

import pytest

from mailserver.imap.fragments import (
    CommandRead,
    CommandSkipped,
    FragmentLimits,
    Fragments,
    LineOverlong,
    LiteralAnnounced,
    StreamChunk,
)

LIMITS = FragmentLimits(line=40, literal=20, total=60)


def cut(data: bytes, step: int, answer: str = "take") -> list[object]:
    """All fragments of the data given in pieces; every literal is answered the same way."""
    fragments = Fragments(LIMITS)
    found: list[object] = []
    for start in range(0, len(data), step):
        fragments.feed(data[start : start + step])
        while (fragment := fragments.next()) is not None:
            if isinstance(fragment, LiteralAnnounced):
                getattr(fragments, answer)()
            if isinstance(fragment, StreamChunk) and found and isinstance(found[-1], StreamChunk):
                found[-1] = StreamChunk(found[-1].data + fragment.data)
                continue
            found.append(fragment)
    return found


def both_ways(data: bytes, answer: str = "take") -> list[object]:
    """Whole input and byte-by-byte input give the same fragments."""
    whole = cut(data, len(data), answer)
    assert cut(data, 1, answer) == whole
    assert cut(data, 3, answer) == whole
    return whole


def test_lines() -> None:
    assert both_ways(b"a NOOP\r\nb NOOP\r\n\r\nc") == [
        CommandRead((b"a NOOP",)),
        CommandRead((b"b NOOP",)),
        CommandRead((b"",)),
    ]


def test_only_crlf_ends_a_line() -> None:
    assert both_ways(b"a\nb\rc\r\r\n") == [CommandRead((b"a\nb\rc\r",))]


@pytest.mark.parametrize("form", [b"{5}", b"{5+}", b"{00005}", b"{0005+}"])
def test_literal_taken(form: bytes) -> None:
    assert both_ways(b"a LOGIN " + form + b"\r\nal\r\nx pw\r\n") == [
        LiteralAnnounced((b"a LOGIN ",), 5, b"+" not in form),
        CommandRead((b"a LOGIN ", b"al\r\nx", b" pw")),
    ]


def test_empty_literal() -> None:
    assert both_ways(b"a X {0}\r\n {0+}\r\n\r\n") == [
        LiteralAnnounced((b"a X ",), 0, True),
        LiteralAnnounced((b"a X ", b"", b" "), 0, False),
        CommandRead((b"a X ", b"", b" ", b"", b"")),
    ]


@pytest.mark.parametrize(
    "line", [b"a X {-1}", b"a X {+5}", b"a X {5 }", b"a X {}", b"a X {5}x", b"a X {5++}"]
)
def test_H1_what_is_no_literal(line: bytes) -> None:
    assert both_ways(line + b"\r\n") == [CommandRead((line,))]


@pytest.mark.parametrize("digits", [b"4294967296", b"99999999999999999999", b"9" * 30])
def test_H1_huge_literals_are_only_announced(digits: bytes) -> None:
    (announced,) = both_ways(b"a X {" + digits + b"}\r\n", "forget")
    assert isinstance(announced, LiteralAnnounced)
    assert announced.size >= 1 << 32


def test_forgotten_literal_the_next_line_is_a_command() -> None:
    assert both_ways(b"a X {5}\r\nb NOOP\r\n", "forget")[1:] == [CommandRead((b"b NOOP",))]


def test_H22_skipped_literals_are_no_commands() -> None:
    data = b"a X {8+}\r\nb NOOP\r\n {8+}\r\nc NOOP\r\n)\r\nd NOOP\r\n"
    assert both_ways(data, "skip") == [
        LiteralAnnounced((b"a X ",), 8, False),
        LiteralAnnounced((), 8, False),
        CommandSkipped(),
        CommandRead((b"d NOOP",)),
    ]


def test_a_synchronizing_literal_after_a_skipped_one_is_not_sent() -> None:
    assert both_ways(b"a X {3+}\r\nabc {5}\r\nd NOOP\r\n", "skip")[1:] == [
        CommandSkipped(),
        CommandRead((b"d NOOP",)),
    ]


def test_streamed_literal() -> None:
    assert both_ways(b"a X {12}\r\nSubject: x\r\n\r\nb\r\n", "stream") == [
        LiteralAnnounced((b"a X ",), 12, True),
        StreamChunk(b"Subject: x\r\n"),
        CommandRead((b"",)),
        CommandRead((b"b",)),
    ]


def test_line_limit_counts_the_line_end() -> None:
    assert both_ways(b"x" * 38 + b"\r\n") == [CommandRead((b"x" * 38,))]
    assert both_ways(b"x" * 39 + b"\r\n") == [LineOverlong()]


def test_H6_line_without_end_is_reported_and_nothing_kept() -> None:
    fragments = Fragments(LIMITS)
    fragments.feed(b"x" * 40)
    assert fragments.next() == LineOverlong()
    for _ in range(100):
        fragments.feed(b"x" * 1000)
        assert fragments.next() is None
    assert len(fragments) == 0


def test_total_of_a_command_is_limited() -> None:
    data = b"a X {20+}\r\n" + b"y" * 20 + b" {20+}\r\n" + b"y" * 20 + b" " + b"z" * 30 + b"\r\n"
    assert both_ways(data)[-1] == LineOverlong()


def test_clear_forgets_a_literal_in_progress() -> None:
    fragments = Fragments(LIMITS)
    fragments.feed(b"a X {5}\r\nab")
    fragments.next()
    fragments.take()
    assert fragments.next() is None
    fragments.clear()
    fragments.feed(b"b NOOP\r\n")
    assert fragments.next() == CommandRead((b"b NOOP",))
