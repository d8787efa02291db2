"""Date fields: the day that is written, and the moment that is meant."""

from __future__ import annotations

import calendar
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.message.dates import EPOCH, sent


def utc(*parts: int) -> int:
    return calendar.timegm((*parts, 0, 0, 0)[:6])


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (b"31 Dec 2000 16:01:33 -0800", utc(2001, 1, 1, 0, 1, 33)),  # RFC 5256, 2.2
        (b"Mon, 7 Feb 1994 21:52:25 -0800 (PST)", utc(1994, 2, 8, 5, 52, 25)),
        (b"7 Feb 1994 21:52 GMT", utc(1994, 2, 7, 21, 52)),
        (b"7 Feb 1994 21:52 EDT", utc(1994, 2, 8, 1, 52)),
        (b"7 Feb 1994 21:52 A", utc(1994, 2, 7, 21, 52)),  # RFC 5322, 4.3
        (b"7 Feb 1994 21:52 +9999", utc(1994, 2, 7, 21, 52)),  # no zone: UTC
        (b"7 Feb 1994 21:52 +0160", utc(1994, 2, 7, 21, 52)),
        (b"7 Feb 1994 21:52", utc(1994, 2, 7, 21, 52)),
        (b"7 Feb 1994 25:00 +0100", utc(1994, 2, 7)),  # no time: midnight
        (b"7 Feb 1994", utc(1994, 2, 7)),
        (b"30 Jun 1997 23:59:60 +0000", utc(1997, 7, 1)),
        (b"1 Jan 50 00:00 +0000", utc(1950, 1, 1)),
        (b"Thu, 1 Jan 1970 00:00:00 +0100", -3600),
        (b"yesterday", None),
        (b"", None),
    ],
)
def test_moments(value: bytes, moment: int | None) -> None:
    found = sent(value)
    assert (found and found.seconds) == moment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Mon, 7 Feb 1994 21:52:25 -0800 (PST)", date(1994, 2, 7)),
        (b"1 Jan 00 10:00", date(2000, 1, 1)),
        (b"31 Dec 99", date(1999, 12, 31)),
        (b"1 January 100 0:0", date(2000, 1, 1)),
        (b"(c) 3 (x) Mar 2020", date(2020, 3, 3)),
        (b"31 Feb 2000", None),
        (b"1 Foo 2000", None),
    ],
)
def test_days(value: bytes, expected: date | None) -> None:
    found = sent(value)
    assert (found and date.fromordinal(found.day + EPOCH)) == expected


@given(st.binary(max_size=60))
def test_nothing_makes_it_fail(value: bytes) -> None:
    sent(value)
    sent(b"1 Jan 2000 " + value)
