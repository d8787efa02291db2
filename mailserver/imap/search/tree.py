"""SEARCH: which messages of a view fit a tree of keys (RFC 3501, 6.4.4).

Works on sorted lists of indices of the view. Of several keys the cheap ones go first and each looks only at
what is left: sets and flags and sizes come from arrays in one pass (`arrays`), then header fields
(`header`), then whole messages (`text`). What costs more than memory is reached through
`Source`, whose methods wait, and which is given the word between slices (`rest`).

A new key is a value of its own (`values`), its grammar (`grammar.search`), and a function in `ARRAYS`, or in
`WAITING` with what it costs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mailserver.imap.search import arrays
from mailserver.imap.search.header import by_field, by_sent_date
from mailserver.imap.search.object_ids import by_object
from mailserver.imap.search.source import Rows, Source
from mailserver.imap.search.text import by_text
from mailserver.imap.values import (
    SearchAnd,
    SearchDate,
    SearchHeader,
    SearchKey,
    SearchNot,
    SearchObject,
    SearchOr,
    SearchText,
)

__all__ = ["Rows", "Source", "cost", "search"]


async def _by_date(key: SearchDate, rows: Rows, source: Source) -> Rows:
    if key.sent:
        return await by_sent_date(key, rows, source)
    return arrays.by_internal_date(key, rows, source)


ARRAYS = arrays.TABLE
WAITING: dict[type, Callable[[Any, Rows, Source], Awaitable[Rows]]] = {
    SearchDate: _by_date,
    SearchHeader: by_field,
    SearchObject: by_object,
    SearchText: by_text,
}


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
    waiting = WAITING.get(type(key))
    if waiting is not None:
        return await waiting(key, rows, source)
    return ARRAYS[type(key)](key, rows, source)


def cost(key: SearchKey) -> int:
    """What a message costs: arrays 0, header 1, whole message 2."""
    if isinstance(key, SearchText):
        return 2
    if isinstance(key, SearchHeader | SearchObject) or (isinstance(key, SearchDate) and key.sent):
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
