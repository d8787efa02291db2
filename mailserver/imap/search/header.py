"""SEARCH keys that look at header fields, encoded words undone.

The fields that clients ask for are answered from columns (`Source.by_field`, `Source.sent_days`); others are
looked for in header blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailserver.imap.search.source import REST, SLICE, Rows, Source
from mailserver.imap.values import SearchDate, SearchHeader
from mailserver.message.dates import EPOCH
from mailserver.message.text import decode_words, fold

COLUMNS = frozenset(("SUBJECT", "FROM", "TO", "CC", "BCC"))


async def by_field(key: SearchHeader, rows: Rows, source: Source) -> Rows:
    if key.field in COLUMNS:
        return await source.by_field(key.field, fold(key.text), rows)
    return await by_header(header_test(key), rows, source)


async def by_sent_date(key: SearchDate, rows: Rows, source: Source) -> Rows:
    """By the day that is written in the Date field, time and zone disregarded (RFC 3501, 6.4.4)."""
    wanted = key.day.toordinal() - EPOCH
    days = zip(rows, await source.sent_days(rows), strict=True)
    if key.relation == "BEFORE":
        return [row for row, day in days if day is not None and day < wanted]
    if key.relation == "SINCE":
        return [row for row, day in days if day is not None and day >= wanted]
    return [row for row, day in days if day == wanted]


# --- header blocks ---------------------------------------------------------------------------------

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
