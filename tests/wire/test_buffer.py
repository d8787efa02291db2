"""Lines out of segments: limits, bare line feeds, draining, and independence of how the bytes are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.wire.buffer import BareLineFeed, LineBuffer, LineError, LineTooLong


def drain(buffer: LineBuffer) -> list[bytes | str]:
    """All lines and errors that are ready."""
    events: list[bytes | str] = []
    while True:
        try:
            line = buffer.line()
        except LineError as error:
            events.append(type(error).__name__)
            continue
        if line is None:
            return events
        events.append(line)


def events_of(segments: list[bytes], limit: int = 16, strict: bool = True) -> list[bytes | str]:
    buffer = LineBuffer(limit, strict_lf=strict)
    events = []
    for segment in segments:
        buffer.feed(segment)
        events += drain(buffer)
    return events


def by_byte(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


class LineBufferTests(SynchronousTestCase):
    def test_lines_end_with_crlf_only(self) -> None:
        self.assertEqual(events_of([b"a\rb\r\n\r\nc"]), [b"a\rb", b""])

    def test_a_limit_counts_the_line_end(self) -> None:
        """14 octets and CRLF are 16; 15 are too many, with or without their end."""
        self.assertEqual(events_of([b"x" * 14 + b"\r\nok\r\n"]), [b"x" * 14, b"ok"])
        self.assertEqual(events_of([b"x" * 15 + b"\r\nok\r\n"]), ["LineTooLong", b"ok"])
        self.assertEqual(events_of([b"x" * 16]), ["LineTooLong"])

    def test_A11_an_over_long_line_is_drained_and_costs_no_memory(self) -> None:
        buffer = LineBuffer(512)
        for _ in range(1000):
            buffer.feed(b"x" * 1024)
            drain(buffer)
            self.assertLessEqual(len(buffer), 1)
        buffer.feed(b"\r\nNOOP\r\n")

        self.assertEqual(drain(buffer), [b"NOOP"])

    def test_A9_a_bare_lf_spoils_the_whole_line(self) -> None:
        data = b"EHLO a\nMAIL FROM:<b>\r\nNOOP\r\n"
        self.assertEqual(events_of([data], 64), ["BareLineFeed", b"NOOP"])
        self.assertEqual(events_of(by_byte(data), 64), ["BareLineFeed", b"NOOP"])

    def test_a_bare_lf_is_told_at_once(self) -> None:
        """A person typing with bare LFs gets an answer, not silence."""
        self.assertEqual(events_of([b"EHLO a\n"]), ["BareLineFeed"])

    def test_without_strictness_a_bare_lf_stays_in_the_line(self) -> None:
        self.assertEqual(events_of([b"a\nb\r\n"], strict=False), [b"a\nb"])

    def test_take_and_unread(self) -> None:
        buffer = LineBuffer(64)
        buffer.feed(b"abcdef\r\n")
        self.assertEqual(buffer.take(3), b"abc")
        buffer.unread(b"XY")
        self.assertEqual(buffer.line(), b"XYdef")
        self.assertEqual(buffer.take(10), b"")

    def test_clear_forgets_a_line_in_progress(self) -> None:
        buffer = LineBuffer(4)
        buffer.feed(b"too long")
        self.assertRaises(LineTooLong, buffer.line)
        buffer.clear()
        buffer.feed(b"ok\r\n")
        self.assertEqual(buffer.line(), b"ok")

    def test_errors_are_of_one_family(self) -> None:
        self.assertTrue(issubclass(LineTooLong, LineError) and issubclass(BareLineFeed, LineError))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.text("ab\r\n", max_size=12).map(str.encode), max_size=8), st.booleans())
    def test_K7_the_cuts_do_not_matter(self, segments: list[bytes], strict: bool) -> None:
        data = b"".join(segments)
        whole = events_of([data], 8, strict)
        self.assertEqual(events_of(segments, 8, strict), whole)
        self.assertEqual(events_of(by_byte(data), 8, strict), whole)
