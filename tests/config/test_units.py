"""Sizes and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.config.units import format_size, format_time, parse_rate, parse_size, parse_time


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        (0, 0),
        ("0", 0),
        ("50 MiB", 50 * 1024 * 1024),
        ("50MiB", 50 * 1024 * 1024),
        ("5 gib", 5 * 1024**3),
        ("1.5 GB", 1_500_000_000),
        ("200 kB", 200_000),
        ("12", 12),
        ("12 B", 12),
        (99, 99),
    ],
)
def test_sizes(written: object, octets: int) -> None:
    assert parse_size(written) == octets


@pytest.mark.parametrize(
    "written",
    ["", "MiB", "5 XB", "-1", -1, True, 1.5, "1e9", "5 MiB extra", "٥", [], 2**63, "9999999999 TiB", "5M"],
)
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match=r"size|range"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("4h", 14400),
        ("5d", 432000),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        ("0", 0),
    ],
)
def test_times(written: object, seconds: float) -> None:
    assert parse_time(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "s", "5 years", "5y", "-5s", -5, True, [], "1e400", float("nan"), float("inf"), "5h x"]
)
def test_what_is_no_time(written: object) -> None:
    with pytest.raises(ValueError, match=r"time|range"):
        parse_time(written)


@given(st.integers(0, 2**50))
def test_a_formatted_size_reads_back(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets


@given(st.integers(0, 10**8))
def test_a_formatted_time_reads_back(seconds: int) -> None:
    assert parse_time(format_time(float(seconds))) == seconds


@settings(max_examples=200)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary()))
def test_nothing_but_ValueError_escapes(value: object) -> None:
    for parse in (parse_size, parse_time):
        try:
            parse(value)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("written", "rate"), [("30/1m", 0.5), ("10/s", 10.0), (" 7200 / 1h ", 2.0), ("1/90s", 1 / 90)]
)
def test_rates(written: str, rate: float) -> None:
    assert parse_rate(written) == pytest.approx(rate)


@pytest.mark.parametrize("written", ["", "10", "0/1s", "1/0s", "-1/s", "1/1x", "1/", "/s", 5, None, "1//s"])
def test_what_is_no_rate(written: object) -> None:
    with pytest.raises(ValueError):
        parse_rate(written)
