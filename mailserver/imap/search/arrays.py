"""SEARCH keys that are answered from arrays in memory, in one pass: sets, flags, sizes, dates."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from mailserver.imap.search.source import Rows, Source
from mailserver.imap.values import (
    SearchAll,
    SearchDate,
    SearchEdge,
    SearchFlag,
    SearchModseq,
    SearchSaved,
    SearchSet,
    SearchSize,
    SearchWithin,
)

EPOCH = date(1970, 1, 1)
DAY = 86400


def by_all(key: SearchAll, rows: Rows, source: Source) -> Rows:
    return rows


def by_flag(key: SearchFlag, rows: Rows, source: Source) -> Rows:
    if key.flag.upper() == "\\RECENT":
        uids, recent = source.uids, source.recent
        return [row for row in rows if (uids[row] in recent) is key.wanted]
    bit, flags = source.mask(key.flag), source.flags
    if key.wanted:
        return [row for row in rows if flags[row] & bit] if bit else []
    return [row for row in rows if not flags[row] & bit] if bit else rows


def by_set(key: SearchSet, rows: Rows, source: Source) -> Rows:
    return within(source.in_set(key), rows)


def by_edge(key: SearchEdge, rows: Rows, source: Source) -> Rows:
    uids = source.uids
    if key.after:
        return rows[bisect_right(rows, key.uid, key=uids.__getitem__) :]
    return rows[: bisect_left(rows, key.uid, key=uids.__getitem__)]


def within(ranges: Iterable[tuple[int, int]], rows: Rows) -> Rows:
    """The rows in ascending index ranges. O(ranges * log rows) and what is found."""
    found: Rows = []
    at = 0
    for start, stop in ranges:
        first = bisect_left(rows, start, at)
        at = bisect_left(rows, stop, first)
        found += rows[first:at]
    return found


def by_size(key: SearchSize, rows: Rows, source: Source) -> Rows:
    sizes, octets = source.sizes, key.octets
    if key.larger:
        return [row for row in rows if sizes[row] > octets]
    return [row for row in rows if sizes[row] < octets]


def by_internal_date(key: SearchDate, rows: Rows, source: Source) -> Rows:
    """By the day that INTERNALDATE shows, whose zone is UTC."""
    return _by_day(key.relation, key.day, rows, source.dates)


def by_save_date(key: SearchSaved, rows: Rows, source: Source) -> Rows:
    """By the day that SAVEDATE shows, which every mailbox has (RFC 8514, 4.3)."""
    return rows if key.day is None else _by_day(key.relation, key.day, rows, source.saved)


def _by_day(relation: str, day: date, rows: Rows, dates: Sequence[int]) -> Rows:
    start = (day - EPOCH).days * DAY
    end = start + DAY
    if relation == "BEFORE":
        return [row for row in rows if dates[row] < start]
    if relation == "SINCE":
        return [row for row in rows if dates[row] >= start]
    return [row for row in rows if start <= dates[row] < end]


def by_age(key: SearchWithin, rows: Rows, source: Source) -> Rows:
    """RFC 5032, 2: both hold the very second."""
    dates, then = source.dates, source.now - key.seconds
    if key.older:
        return [row for row in rows if dates[row] <= then]
    return [row for row in rows if dates[row] >= then]


def by_modseq(key: SearchModseq, rows: Rows, source: Source) -> Rows:
    modseqs, least = source.modseqs, key.least
    return [row for row in rows if modseqs[row] >= least]


TABLE: dict[type, Callable[[Any, Rows, Source], Rows]] = {
    SearchAll: by_all,
    SearchFlag: by_flag,
    SearchSaved: by_save_date,
    SearchSet: by_set,
    SearchEdge: by_edge,
    SearchSize: by_size,
    SearchWithin: by_age,
    SearchModseq: by_modseq,
}
