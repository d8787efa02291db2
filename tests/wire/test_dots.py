"""The dot: ends, stuffing and stray line ends, at every edge of a segment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.wire.dots import DotReader, DotStuffer

STRAY_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\0.\r\n",
]
WIRE = st.lists(
    st.sampled_from([b"a", b"bc", b".", b"..", b"\r\n", b"\r\n.", b"\r\n..", b"\r", b"\n"]), max_size=30
).map(b"".join)


def read(segments: list[bytes]) -> tuple[bytes, bool, bool, bytes]:
    """(text, finished, bare, rest); segments after the end go to the rest."""
    reader = DotReader()
    text, rest = b"", b""
    for segment in segments:
        if reader.finished:
            rest += segment
        else:
            text += reader.feed(segment)
            rest = reader.rest
    return text, reader.finished, reader.bare, rest


def by_byte(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


class DotReaderTests(SynchronousTestCase):
    def test_an_end_and_what_follows(self) -> None:
        self.assertEqual(read([b"a\r\nb\r\n.\r\nQUIT\r\n"]), (b"a\r\nb\r\n", True, False, b"QUIT\r\n"))

    def test_A8_an_empty_text(self) -> None:
        self.assertEqual(read([b".\r\n"]), (b"", True, False, b""))
        self.assertEqual(read(by_byte(b".\r\n")), (b"", True, False, b""))

    def test_A7_dots_are_unstuffed(self) -> None:
        data = b"..a\r\n.b\r\n....\r\n..\r\n.\r\n"
        self.assertEqual(read([data])[0], b".a\r\nb\r\n...\r\n.\r\n")

    def test_A2_stray_ends_never_end_a_text_at_any_split(self) -> None:
        for stray in STRAY_ENDS:
            data = b"x" + stray + b"MAIL FROM:<e@v>\r\n.\r\nNOOP\r\n"
            for cut in range(len(data) + 1):
                text, finished, bare, rest = read([data[:cut], data[cut:]])
                self.assertEqual((finished, rest), (True, b"NOOP\r\n"), (stray, cut))
                self.assertIn(b"MAIL FROM:<e@v>\r\n", text)
                self.assertEqual(bare, b"\0" not in stray, (stray, cut))

    def test_memory_held_between_segments_is_four_octets(self) -> None:
        reader = DotReader()
        for octet in by_byte(b"\r\n.\r\r\n.\r\r\n.\r"):
            reader.feed(octet)
            self.assertLessEqual(len(reader._tail), 4)

    @settings(max_examples=300, deadline=None)
    @given(WIRE, st.data())
    def test_K7_the_cuts_do_not_matter(self, data: bytes, draw: st.DataObject) -> None:
        data += b"\r\n.\r\n"
        whole = read([data])
        self.assertTrue(whole[1])
        self.assertEqual(read(by_byte(data)), whole)
        cut = draw.draw(st.integers(0, len(data)))
        self.assertEqual(read([data[:cut], data[cut:]]), whole)


class DotStufferTests(SynchronousTestCase):
    def stuff(self, text: bytes, size: int, *, normalise: bool = False) -> bytes:
        stuffer = DotStuffer(normalise=normalise)
        pieces = [stuffer.feed(text[n : n + size]) for n in range(0, len(text), size)]
        return b"".join(pieces) + stuffer.finish()

    def test_A5_dots_at_every_chunk_edge(self) -> None:
        """A line that begins with a dot is stuffed wherever the chunks are cut; also the first line."""
        text = b".first\r\n" + b"".join(b"x" * n + b"\r\n.dot\r\n..\r\n.\r\n" for n in range(70))
        for size in [*range(1, 65), 16384]:
            self.assertEqual(read([self.stuff(text, size)]), (text, True, False, b""))
        self.assertTrue(self.stuff(text, 7).startswith(b"..first"))

    def test_A6_strays_are_normalised_before_they_leave(self) -> None:
        text = b"a\n.\nb\r.\rc\r\n.\r\nend"
        for size in range(1, 20):
            wire = self.stuff(text, size, normalise=True)
            self.assertEqual(read([wire]), (b"a\r\n.\r\nb\r\n.\r\nc\r\n.\r\nend\r\n", True, False, b""))

    def test_a_missing_line_end_is_added(self) -> None:
        self.assertEqual(self.stuff(b"a", 8), b"a\r\n.\r\n")
        self.assertEqual(self.stuff(b"", 8), b".\r\n")
        self.assertEqual(self.stuff(b"a\r", 8, normalise=True), b"a\r\n.\r\n")

    @settings(max_examples=200, deadline=None)
    @given(WIRE, st.integers(1, 9))
    def test_A7_what_is_stuffed_is_read_back(self, text: bytes, size: int) -> None:
        clean = text.replace(b"\r", b"").replace(b"\n", b"\r\n")
        got, finished, bare, rest = read([self.stuff(clean, size)])
        self.assertEqual((finished, bare, rest), (True, False, b""))
        self.assertEqual(got, clean if clean.endswith(b"\r\n") or not clean else clean + b"\r\n")
