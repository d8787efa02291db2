"""SEARCH keys that look at header fields, encoded words undone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from mailserver.imap.search_source import REST, SLICE, Rows, Source
from mailserver.imap.values import SearchDate, SearchHeader
from mailserver.message.parameters import without_comments
from mailserver.message.text import decode_words, fold

Test = Callable[[bytes], bool]


def _values_of(field: bytes) -> Callable[[bytes], list[bytes]]:
    """A function from a header block to the raw values of a field."""
    name = re.escape(field)
    find = re.compile(rb"\n%b[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)" % name, re.IGNORECASE).findall
    return lambda header: find(b"\n" + header)


def header_test(key: SearchHeader) -> Test:
    """Does a header block have the field, with the text in it?"""
    values = _values_of(key.field.encode("utf-8", "replace"))
    wanted = fold(key.text)
    if not wanted:
        return lambda header: bool(values(header))

    def test(header: bytes) -> bool:
        for value in values(header):
            if wanted in fold(decode_words(value.replace(b"\r\n", b"").strip())):
                return True
        return False

    return test


_DATE = re.compile(rb"(?<!\d)(\d{1,2})[ \t-]+([A-Za-z]{3})[a-z]*[ \t-]+(\d{2,4})(?!\d)")
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}


def sent_day(value: bytes) -> date | None:
    """The day of a Date field as it is written there; time and zone are disregarded (RFC 3501, 6.4.4)."""
    match = _DATE.search(without_comments(value[:1000].replace(b"\r\n", b"")))
    if match is None:
        return None
    month = _MONTHS.get(match[2].lower())
    year = int(match[3])
    if year < 50:  # RFC 5322, 4.3
        year += 2000
    elif year < 1000:
        year += 1900
    try:
        return date(year, month or 0, int(match[1]))
    except ValueError:
        return None


def sent_test(key: SearchDate) -> Test:
    values = _values_of(b"date")
    wanted, relation = key.day, key.relation

    def test(header: bytes) -> bool:
        found = values(header)
        day = sent_day(found[0]) if found else None
        if day is None:
            return False
        if relation == "BEFORE":
            return day < wanted
        return day >= wanted if relation == "SINCE" else day == wanted

    return test


async def by_header(test: Test, rows: Rows, source: Source) -> Rows:
    found: Rows = []
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE]
        octets = 0
        for row, header in zip(part, await source.headers(part), strict=True):
            if header is None:
                continue
            if test(header):
                found.append(row)
            octets += len(header)
            if octets >= REST:
                await source.rest(octets)
                octets = 0
        await source.rest(octets)
    return found
