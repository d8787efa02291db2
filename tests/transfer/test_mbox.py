"""mbox in all its dialects, as programs write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.transfer.mbox import NotMbox, date_of, is_separator, split, take_notes, written
from tests.helpers.cost import cheaper_than

FROM = b"From alice@example.org Tue Nov 24 03:07:34 2026\n"


def texts(data: bytes, variant: str = "auto") -> list[bytes]:
    return [found.text for found in split(data, variant)]


def test_messages_and_the_empty_line_behind_each() -> None:
    data = FROM + b"Subject: a\n\none\n\n" + FROM + b"Subject: b\n\ntwo\n\n"
    assert texts(data) == [b"Subject: a\n\none\n", b"Subject: b\n\ntwo\n"]
    assert texts(data.replace(b"\n", b"\r\n")) == texts(data)
    assert texts(b"\n\n" + data[:-1]) == texts(data)  # a last line without its empty one


def test_nothing_is_lost_of_texts_without_a_body() -> None:
    data = FROM + b"Subject: a\n\n" + FROM + b"Subject: b\n\n\n" + FROM + b"Subject: c\n\n"
    assert texts(data) == [b"Subject: a\n\n", b"Subject: b\n\n", b"Subject: c\n\n"]


def test_empty_lines_at_the_end_of_a_text_stay() -> None:
    assert texts(FROM + b"A: b\n\nx\n\n\n\n" + FROM + b"A: b\n\ny\n\n") == [
        b"A: b\n\nx\n\n\n",
        b"A: b\n\ny\n",
    ]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("auto", b"From me\n>From you\nFromage\n"),
        ("mboxrd", b"From me\n>From you\nFromage\n"),
        ("mboxo", b"From me\n>>From you\nFromage\n"),
        ("mboxcl2", b">From me\n>>From you\nFromage\n"),
    ],
)
def test_what_is_quoted(variant: str, expected: bytes) -> None:
    data = FROM + b"A: b\n\n>From me\n>>From you\nFromage\n\n"
    assert texts(data, variant) == [b"A: b\n\n" + expected]


def test_content_length_that_is_right_counts() -> None:
    """mboxcl2: what looks like the next message is text."""
    body = b"see:\n\n" + FROM + b"Subject: quoted\n\n>From here\n"
    data = FROM + b"A: b\nContent-Length: %d\n\n" % len(body) + body + b"\n" + FROM + b"C: d\n\nlast\n"
    assert texts(data) == [b"A: b\n\n" + body, b"C: d\n\nlast\n"]
    assert len(texts(data, "mboxrd")) == 3


@pytest.mark.parametrize("length", [0, 3, 10_000, 999_999_999_999])
def test_content_length_that_is_wrong_does_not(length: int) -> None:
    data = FROM + b"A: b\nContent-Length: %d\n\nlonger than that\n\n" % length + FROM + b"C: d\n\nlast\n"
    assert texts(data) == [b"A: b\n\nlonger than that\n", b"C: d\n\nlast\n"]


def test_a_line_that_begins_with_From_is_no_separator_by_that() -> None:
    data = FROM + b"A: b\n\nHello\n\nFrom here on, at 10:30 in 2026, it rains.\nAnd more\n\nFrom x\n"
    assert texts(data) == [data[len(FROM) :]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"From alice Tue Nov 24 03:07:34 2026", 1795489654),
        (b"From MAILER-DAEMON Fri Jul  8 12:08:34 2011", 1310126914),
        (b"From - Sat Jan 01 00:00:00 2000", 946684800),
        (b"From ???@??? Fri Nov 07 17:14:23 1997", 878922863),
        (b"From 1234@xxx Thu Jan 01 01:00:00 +0100 2015", 1420070400),
        (b"From a@b Thu Jan  1 00:00:00 2015 -0130", 1420075800),
        (b"From a@b Thu Jan  1 00:00 UTC 2015", 1420070400),
        (b"From a b@c Thu Jan  1 00:00 2015 remote from x", 1420070400),
    ],
)
def test_from_lines_as_they_are_found(line: bytes, expected: int) -> None:
    assert is_separator(line + b"\nSubject: x\n", 0)
    assert date_of(line) == expected


@pytest.mark.parametrize(
    "line", [b"From a Thu Foo 41 00:00:00 2015", b"From a Thu Jan  1 00:00:00 0000", b""]
)
def test_a_date_that_is_none(line: bytes) -> None:
    assert date_of(line) is None


def test_notes_of_mail_programs_become_flags() -> None:
    head = (
        b"Subject: x\nStatus: RO\nX-Status: AF\nX-Keywords: $Forwarded  NonJunk\n  Work (bad\nX-UID: 7\n"
        b"X-IMAPbase: 1 2\nX-Mozilla-Status: 1001\nX-Mozilla-Keys: tag1            \nX: y\n\n"
    )
    left, flags, expunged = take_notes(head)
    assert left == b"Subject: x\nX: y\n\n"
    keywords = {"$Forwarded", "NonJunk", "Work", "tag1"}
    assert flags == {"\\Seen", "\\Answered", "\\Flagged", *keywords}
    assert not expunged
    assert take_notes(b"X-Mozilla-Status: 0009\n")[2]


def test_notes_in_the_text_are_text() -> None:
    assert texts(FROM + b"A: b\n\nStatus: RO\n\n") == [b"A: b\n\nStatus: RO\n"]


@pytest.mark.parametrize("data", [b"Subject: x\n\n", b"Fromage\n", b"From me\n\n", b"\x7fELF"])
def test_other_files(data: bytes) -> None:
    with pytest.raises(NotMbox):
        list(split(data))


def test_an_empty_file() -> None:
    assert texts(b"") == []
    assert texts(b"\n") == []


@hypothesis_settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.text("From >\n:a ", max_size=60).map(str.encode),
            st.sets(st.sampled_from(["\\Seen", "\\Flagged", "\\Draft", "$Junk", "Work"])),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_again(messages: list[tuple[bytes, set[str]]]) -> None:
    """mboxrd loses nothing; a text without a line end gets one."""
    data = b"".join(written(b"Subject: x\n\n" + body, b"a@b", 1e9, flags) for body, flags in messages)
    found = list(split(data))
    assert [one.flags for one in found] == [frozenset(flags) for _, flags in messages]
    expected = [body + b"\n" if body and not body.endswith(b"\n") else body for body, _ in messages]
    assert [one.text for one in found] == [b"Subject: x\n\n" + body for body in expected]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_big_file_is_read_at_a_good_pace(end: bytes) -> None:
    """Linear in its size: no message is looked for to the end of the file (measured: 0.15 s)."""
    one = FROM + b"Subject: x\n\n" + b"From: not a separator\n" * 50 + b"\n"
    data = one.replace(b"\n", end) * 10_000
    with cheaper_than(1.0):
        assert sum(1 for _ in split(data)) == 10_000
