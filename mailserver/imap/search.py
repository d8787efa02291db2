"""SEARCH: which messages of a view fit a tree of keys (RFC 3501, 6.4.4).

Works on sorted lists of indices of the view. Of several keys the cheap ones go first and each looks only at
what is left: sets and flags and sizes come from arrays in one pass, then header fields from the cached
header blocks, then whole messages. What costs more than memory is reached through `Source`, whose methods
wait, and which is given the word between slices (`rest`). Texts are compared without regard to case, after
all encodings are undone.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Protocol

from mailserver.imap.values import (
    SearchAnd,
    SearchDate,
    SearchFlag,
    SearchHeader,
    SearchKey,
    SearchNot,
    SearchOr,
    SearchSet,
    SearchSize,
    SearchText,
)
from mailserver.message.headers import unfold_block
from mailserver.message.parameters import without_comments
from mailserver.message.structure import Part
from mailserver.message.text import body_texts, decode_words, fold, header_text

SLICE = 1000  # messages whose headers are looked at between rests
EPOCH = date(1970, 1, 1)
DAY = 86400

Rows = list[int]


class Source(Protocol):
    """What a search reads from. The arrays are parallel to the view's indices and do not change."""

    uids: Sequence[int]
    flags: Sequence[int]
    sizes: Sequence[int]
    dates: Sequence[int]
    recent: set[int]

    def mask(self, flag: str) -> int:
        """The bit of a flag, 0 where no message has it."""

    def in_set(self, key: SearchSet) -> Sequence[tuple[int, int]]:
        """Ascending index ranges of a set."""

    async def headers(self, rows: Sequence[int]) -> Sequence[bytes | None]:
        """Header blocks (CRLF, with the empty line) of at most `SLICE` messages; None where one is gone."""

    async def message(self, row: int) -> bytes | None:
        """The message (CRLF), None where it is gone."""

    async def scan(self, wire: bytes) -> Part:
        """The part tree of a message; in a thread where it is large."""

    async def rest(self, octets: int) -> None:
        """So much was looked at: others may get their turn."""


async def search(key: SearchKey, rows: Rows, source: Source) -> Rows:
    """Those of `rows` (ascending) that `key` fits."""
    if not rows:
        return rows
    if isinstance(key, SearchAnd):
        for inner in sorted(key.keys, key=cost):
            rows = await search(inner, rows, source)
        return rows
    if isinstance(key, SearchOr):
        left, right = sorted((key.left, key.right), key=cost)
        found = await search(left, rows, source)
        more = await search(right, _without(rows, found), source)
        return sorted(found + more) if more else found
    if isinstance(key, SearchNot):
        return _without(rows, await search(key.key, rows, source))
    if isinstance(key, SearchHeader):
        return await _by_header(header_test(key), rows, source)
    if isinstance(key, SearchText):
        return await _by_text(key, rows, source)
    if isinstance(key, SearchDate) and key.sent:
        return await _by_header(_sent_test(key), rows, source)
    return _by_arrays(key, rows, source)


def cost(key: SearchKey) -> int:
    """What a message costs: arrays 0, header 1, whole message 2."""
    if isinstance(key, SearchText):
        return 2
    if isinstance(key, SearchHeader) or (isinstance(key, SearchDate) and key.sent):
        return 1
    if isinstance(key, SearchAnd):
        return max(map(cost, key.keys))
    if isinstance(key, SearchOr):
        return max(cost(key.left), cost(key.right))
    return cost(key.key) if isinstance(key, SearchNot) else 0


def _without(rows: Rows, found: Rows) -> Rows:
    if not found:
        return rows
    if len(found) == len(rows):
        return []
    gone = set(found)
    return [row for row in rows if row not in gone]


# --- arrays ---------------------------------------------------------------------------------------


def _by_arrays(key: SearchKey, rows: Rows, source: Source) -> Rows:
    if isinstance(key, SearchFlag):
        return _by_flag(key, rows, source)
    if isinstance(key, SearchSet):
        return _by_set(source.in_set(key), rows)
    if isinstance(key, SearchSize):
        sizes, octets = source.sizes, key.octets
        if key.larger:
            return [row for row in rows if sizes[row] > octets]
        return [row for row in rows if sizes[row] < octets]
    if isinstance(key, SearchDate):
        return _by_internal_date(key, rows, source.dates)
    return rows  # ALL


def _by_flag(key: SearchFlag, rows: Rows, source: Source) -> Rows:
    if key.flag.upper() == "\\RECENT":
        uids, recent = source.uids, source.recent
        return [row for row in rows if (uids[row] in recent) is key.wanted]
    bit, flags = source.mask(key.flag), source.flags
    if key.wanted:
        return [row for row in rows if flags[row] & bit] if bit else []
    return [row for row in rows if not flags[row] & bit] if bit else rows


def _by_set(ranges: Iterable[tuple[int, int]], rows: Rows) -> Rows:
    found: Rows = []
    at = 0
    for start, stop in ranges:
        first = bisect_left(rows, start, at)
        at = bisect_left(rows, stop, first)
        found += rows[first:at]
    return found


def _by_internal_date(key: SearchDate, rows: Rows, dates: Sequence[int]) -> Rows:
    """By the day that INTERNALDATE shows, whose zone is UTC."""
    start = (key.day - EPOCH).days * DAY
    end = start + DAY
    if key.relation == "BEFORE":
        return [row for row in rows if dates[row] < start]
    if key.relation == "SINCE":
        return [row for row in rows if dates[row] >= start]
    return [row for row in rows if start <= dates[row] < end]


# --- header fields --------------------------------------------------------------------------------

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


def _sent_test(key: SearchDate) -> Test:
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


async def _by_header(test: Test, rows: Rows, source: Source) -> Rows:
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


# --- whole messages -------------------------------------------------------------------------------

REST = 256 * 1024  # octets looked at between rests: some ms


class Finder:
    """Looks for a folded text in texts that come in pieces; holds only as much of the last piece as the
    beginning of a match could be."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._tail = ""

    def feed(self, fresh: bool, piece: str) -> bool:
        """True where the text is found; `fresh`: the piece begins another text."""
        text = fold(piece) if fresh else self._tail + fold(piece)
        if self._wanted in text:
            return True
        keep = len(self._wanted) - 1
        self._tail = text[-keep:] if keep else ""
        return False


async def _by_text(key: SearchText, rows: Rows, source: Source) -> Rows:
    wanted = fold(key.text)
    found: Rows = []
    octets = 0
    for row in rows:
        wire = await source.message(row)
        if wire is None:
            continue
        fits = not wanted or _plain_match(wire, wanted, key.header)
        octets += len(wire)
        if fits is None:
            fits = await _match(wire, wanted, key.header, source)
        if fits:
            found.append(row)
        if octets >= REST:
            await source.rest(octets)
            octets = 0
    await source.rest(octets)
    return found


def _plain_match(wire: bytes, wanted: str, header: bool) -> bool | None:
    """The answer for a message of plain ASCII text without any encoding; None where it takes more."""
    if len(wire) > REST or not wire.isascii():
        return None
    text = wire.lower()
    if b"=?" in text or b"\ncontent-t" in text or text.startswith(b"content-t"):
        return None
    if not wanted.isascii():
        return False
    head, blank, body = text.partition(b"\r\n\r\n")
    needle = wanted.encode("ascii")
    if needle in (text[2:] if text.startswith(b"\r\n") else body if blank else b""):
        return True
    return header and not text.startswith(b"\r\n") and needle in unfold_block(head)


async def _match(wire: bytes, wanted: str, header: bool, source: Source) -> bool:
    root = await source.scan(wire)
    if header and wanted in fold(header_text(wire[: root.body])):
        return True
    finder = Finder(wanted)
    octets = 0
    for fresh, piece in body_texts(wire, root, header):
        if finder.feed(fresh, piece):
            return True
        octets += len(piece)
        if octets >= REST:
            await source.rest(octets)
            octets = 0
    return False
