"""SORT: rows in the order of some criteria (RFC 5256, 3; RFC 5957).

Sorting is stable, so that the order of the mailbox is the last criterion, and goes in slices: short runs are
sorted, then runs are merged, which the list's own sort does in one linear pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.imap.search.columns import Columns, Rest
from mailserver.imap.values import SortKey
from mailserver.interfaces import IMailbox

RUN = 8192  # rows sorted in one go: some ms
COST = 32  # octets that a row counts as when others may get their turn
FEW = 64  # rows that are put into an order one by one

# What each criterion compares: a field of `message.digest`.
FIELDS = {
    "CC": "cc_mailbox",
    "DATE": "sent",
    "DISPLAYFROM": "from_name",
    "DISPLAYTO": "to_name",
    "FROM": "from_mailbox",
    "SUBJECT": "base",
    "TO": "to_mailbox",
}
ARRAYS = ("ARRIVAL", "SIZE")

Criteria = tuple[SortKey, ...]
Key = tuple[Sequence[Any], bool]  # what rows compare by, and whether in reverse


def fields_of(criteria: Criteria) -> list[str]:
    """The fields of digests that these criteria need."""
    return list(dict.fromkeys(FIELDS[key.name] for key in criteria if key.name in FIELDS))


def keys_of(
    criteria: Criteria, fields: dict[str, list[Any]], dates: Sequence[int], sizes: Sequence[int]
) -> list[Key]:
    """All parallel. Where there is no sent date the internal date stands in (RFC 5256, 2.2)."""
    arrays = {"ARRIVAL": dates, "SIZE": sizes}
    found: list[Key] = []
    for key in criteria:
        values = arrays.get(key.name)
        if values is None:
            values = fields[FIELDS[key.name]]
            if key.name == "DATE":
                values = sent_dates(values, dates)
        found.append((values, key.reverse))
    return found


def sent_dates(sent: Sequence[int | None], dates: Sequence[int]) -> list[int]:
    return [date if moment is None else moment for moment, date in zip(sent, dates, strict=False)]


async def sort_rows(rows: Sequence[int], keys: Sequence[Key], rest: Rest) -> list[int]:
    """`rows`, ascending, by these keys; O(n log n)."""
    result = list(rows)
    for values, reverse in reversed(keys):
        result = await _sort(result, values, reverse, rest)
    return result


async def _sort(rows: list[int], values: Sequence[Any], reverse: bool, rest: Rest) -> list[int]:
    value_of = values.__getitem__
    runs = [rows[start : start + RUN] for start in range(0, len(rows), RUN)] or [[]]
    for run in runs:
        run.sort(key=value_of, reverse=reverse)
        await rest(COST * len(run))
    while len(runs) > 1:
        merged: list[list[int]] = []
        for first in range(0, len(runs), 2):
            run = [row for part in runs[first : first + 2] for row in part]
            run.sort(key=value_of, reverse=reverse)
            merged.append(run)
            await rest(COST * len(run))
        runs = merged
    return runs[0]


async def whole_order(
    columns: Columns, mailbox: IMailbox, criteria: Criteria, rest: Rest
) -> tuple[Sequence[int], list[int]]:
    """All messages in this order: the array of UIDs that the rows refer to, and the rows. Kept, and brought
    up to date where messages came or went."""
    fields = fields_of(criteria)
    if fields:
        await columns.load(fields, rest)
    columns.follow()
    uids, count = columns.uids, len(columns.uids)
    known = columns.order(criteria)
    if known is not None and len(known) == count:
        return uids, known
    loaded = {name: columns.values(name) for name in fields}
    keys = keys_of(criteria, loaded, mailbox.dates, mailbox.sizes)
    fresh = range(count if known is None else len(known), count)
    if known is None:
        order = await sort_rows(range(count), keys, rest)
    elif len(fresh) <= FEW:
        order = known[:]
        for row in fresh:
            order.insert(_place(order, keys, row), row)
    elif len(keys) == 1:
        order = await _sort([*known, *fresh], *keys[0], rest)
    else:
        order = await sort_rows(range(count), keys, rest)
    columns.follow()
    if columns.uids is uids and all(key.name != "SIZE" for key in criteria):  # sizes may be corrected
        columns.keep_order(criteria, order)
    return uids, order


def _place(order: Sequence[int], keys: Sequence[Key], row: int) -> int:
    """Where a row that is greater than all in `order` belongs."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if _before(keys, row, order[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def _before(keys: Sequence[Key], row: int, other: int) -> bool:
    for values, reverse in keys:
        if values[row] != values[other]:
            return bool(values[row] < values[other]) is not reverse
    return False
