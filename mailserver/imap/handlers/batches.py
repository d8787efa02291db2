"""Messages of a command, in batches that a reactor turn can bear, with where their data lies.

A batch is made from the view and the mailbox's arrays in one reactor turn and stays right whatever
happens later: it refers to the arrays as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from attrs import frozen

from mailserver.imap.selected import Selected
from mailserver.imap.values import PartialRange

T = TypeVar("T")


@frozen
class Batch:
    """Parallel: indices in the view (sequence number - 1), UIDs, indices in the mailbox's arrays.

    `gone` messages of the range asked for are expunged already and left out.
    """

    numbers: Sequence[int]
    uids: Sequence[int]
    rows: Sequence[int]
    gone: int = 0


def take(values: Sequence[T], rows: Sequence[int]) -> Sequence[T]:
    """The values at these indices; a slice where they are in a row."""
    if isinstance(rows, range):
        return values[rows.start : rows.stop]
    return [values[row] for row in rows]


def pieces(ranges: Sequence[tuple[int, int]], size: int) -> Iterator[Sequence[int]]:
    """Index ranges as sequences of at most `size` indices: small ranges together, large ones cut."""
    if len(ranges) == 1:
        start, stop = ranges[0]
        for first in range(start, stop, size):
            yield range(first, min(first + size, stop))
        return
    collected: list[int] = []
    for start, stop in ranges:
        first = start
        while first < stop:
            last = min(stop, first + size - len(collected))
            if not collected and last - first == size:
                yield range(first, last)
            else:
                collected.extend(range(first, last))
                if len(collected) == size:
                    yield collected
                    collected = []
            first = last
    if collected:
        yield collected


def batch(view: Selected, numbers: Sequence[int]) -> Batch:
    """The messages at these indices of the view."""
    if view.current:
        return Batch(numbers, take(view.uids, numbers), numbers)
    uids = take(view.uids, numbers)
    found = [(n, uid, view.mailbox.index_of(uid)) for n, uid in zip(numbers, uids, strict=True)]
    there = [row for row in found if row[2] >= 0]
    return Batch(
        [row[0] for row in there],
        [row[1] for row in there],
        [row[2] for row in there],
        len(found) - len(there),
    )


def part_of(ranges: Sequence[tuple[int, int]], partial: PartialRange | None) -> Sequence[tuple[int, int]]:
    """Of the messages in these ranges those that `partial` asks for (RFC 9394, 3.3)."""
    if partial is None:
        return ranges
    first, last = partial.bounds(sum(stop - start for start, stop in ranges))
    found: list[tuple[int, int]] = []
    at = 0  # messages in the ranges before
    for start, stop in ranges:
        low, high = max(start, start + first - at), min(stop, start + last - at)
        if low < high:
            found.append((low, high))
        at += stop - start
    return found


def uids_of(view: Selected, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """All UIDs in these index ranges of the view."""
    if len(ranges) == 1:
        return list(view.uids[ranges[0][0] : ranges[0][1]])
    return [uid for start, stop in ranges for uid in view.uids[start:stop]]
