"""TOP: header block and lines of the body, cut the same from any slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.pop3.top import TopCutter
from tests.helpers.cost import cheaper_than

MESSAGE = b"Subject: x\r\nTo: y\r\n\r\none\r\ntwo\r\n\r\nfour\r\n"


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (0, b"To: y\r\n\r\n"),
        (1, b"one\r\n"),
        (2, b"two\r\n"),
        (3, b"two\r\n\r\n"),
        (4, b"four\r\n"),
        (99, b"four\r\n"),
    ],
)
def test_lines_of_the_body(lines: int, end: bytes) -> None:
    cut = TopCutter(lines).cut(MESSAGE)

    assert MESSAGE.startswith(cut)
    assert cut.endswith(end)


def test_a_message_without_a_body_is_whole() -> None:
    assert TopCutter(0).cut(b"Subject: x\r\n") == b"Subject: x\r\n"


def test_a_message_without_a_header() -> None:
    assert TopCutter(1).cut(b"\r\none\r\ntwo\r\n") == b"\r\none\r\n"


@given(
    st.lists(st.sampled_from([b"\r\n", b"a\r\n", b"bc\r\n", b".\r\n"]), max_size=200).map(b"".join),
    st.integers(0, 150),
    st.integers(1, 9),
)
def test_slices_do_not_matter(message: bytes, lines: int, size: int) -> None:
    whole = TopCutter(lines).cut(message)
    cutter = TopCutter(lines)
    pieces = []
    for at in range(0, len(message), size):
        if cutter.finished:
            break
        pieces.append(cutter.cut(message[at : at + size]))

    assert b"".join(pieces) == whole
    head, gap, body = (b"\r\n" + message).partition(b"\r\n\r\n")
    expected = (head + gap + b"".join(body.splitlines(keepends=True)[:lines]))[2:]
    assert whole == expected


def test_many_short_lines_do_not_hold_the_reactor() -> None:
    message = b"\r\n" + b"\r\n" * 500_000

    with cheaper_than(0.05):
        cut = TopCutter(499_999).cut(message)

    assert len(cut) == 1_000_000


def test_every_number_of_lines() -> None:
    """Halving ends at a line's end, wherever the halves fall."""
    lines = [b"%d" % (n**3) * (n % 5) + b"\r\n" for n in range(300)]
    for count in range(301):
        assert TopCutter(count).cut(b"\r\n" + b"".join(lines)) == b"\r\n" + b"".join(lines[:count])
