"""The header block: its end, its fields, and hostile blocks in linear time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailserver.message.headers import Headers, begins_with_field, fields, header_end, unfold
from tests.helpers.cost import cheaper_than

MESSAGE = (
    b"From: a@b\nSubject: one\n two\n\tthree\nReceived : x\nreceived: y\nnonsense\nTo:c@d\n\nFrom: body\n"
)


class HeadersTests(SynchronousTestCase):
    def test_the_end(self) -> None:
        self.assertEqual(MESSAGE[header_end(MESSAGE) :], b"\nFrom: body\n")
        self.assertEqual(header_end(b"\nbody"), 0)
        self.assertEqual(header_end(b"A: b\n"), 5)
        self.assertEqual(header_end(b"A: b\r\n\r\nbody\n\n"), 6)
        self.assertEqual(header_end(b""), 0)

    def test_fields_in_order(self) -> None:
        found = list(fields(MESSAGE))
        names = [field.name for field in found]
        self.assertEqual(names, [b"from", b"subject", b"received", b"received", b"", b"to"])
        self.assertEqual(b"".join(MESSAGE[f.start : f.end] for f in found), MESSAGE[: header_end(MESSAGE)])

    def test_values_are_unfolded(self) -> None:
        head = Headers(MESSAGE)
        self.assertEqual(head.get(b"subject"), b"one two\tthree")
        self.assertEqual(head.get_all(b"received"), [b"x", b"y"])
        self.assertIsNone(head.get(b"bcc"))
        self.assertEqual(unfold(b" a\r\n b \r\n"), b"a b")

    def test_count(self) -> None:
        self.assertEqual(
            Headers(b"Received: a\nX: y\n Received: z\nRECEIVED: b\n\nReceived: c\n").count(b"received"), 2
        )

    def test_without(self) -> None:
        self.assertEqual(
            Headers(b"A: 1\nBcc: x\n y\nB: 2\nbcc:\n\nBcc: t\n").without(b"bcc"), b"A: 1\nB: 2\n\nBcc: t\n"
        )

    def test_C16_text_that_is_no_header(self) -> None:
        for data, expected in (
            (b"hello world\n", False),
            (b"A b: c\n", False),
            (b" A: b\n", False),
            (b"A\0: b\n", False),
            (b"\nA", True),
            (b"", True),
            (b"A:\n", True),
        ):
            self.assertEqual(begins_with_field(data), expected, data)

    def test_C16_hostile_blocks_take_linear_time(self) -> None:
        """One megabyte each: one field, many fields, many folds, no field, half line ends."""
        for data in (
            b"A: " + b"x" * 1_000_000,
            b"A: b\n" * 200_000,
            b"A: b\n" + b" c\n" * 330_000,
            b"x" * 1_000_000,
            b"\r" * 1_000_000,
            b"from" * 250_000,
            b"from" + b" " * 1_000_000,
            b"\n ".join([b"from"] * 160_000),
        ):
            with cheaper_than(2.0):
                head = Headers(data)
                head.find(b"from", b"date")
                head.count(b"received")
                sum(1 for _ in fields(data))

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.sampled_from([b"From", b":", b" ", b"\n", b"\r\n", b"\0", b"x", b"\t", b"\n\n"]), max_size=30
        )
    )
    def test_any_block_is_taken_apart_without_loss(self, pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        found = list(fields(data))
        assert b"".join(data[f.start : f.end] for f in found) == data[: header_end(data)]
        head = Headers(data)
        assert [head.value(f) for f in head.find(b"from")] == [
            head.value(f) for f in found if f.name == b"from"
        ]
