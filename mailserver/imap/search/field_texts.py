"""One header field of many messages as few large strings: one `str.find` of SEARCH goes through thousands."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

BLOCK = 4096  # messages in one string


class Block(NamedTuple):
    """The texts of some messages, one after the other, each with LF before it; nothing for a message without
    the field. starts: where each begins, and the end."""

    text: str
    starts: array[int]

    def values(self, first: int, last: int) -> list[str | None]:
        text, starts = self
        return [
            text[start + 1 : stop] if start < stop else None
            for start, stop in zip(starts[first:last], starts[first + 1 : last + 1], strict=True)
        ]

    def find(self, wanted: str, row: int) -> list[int]:
        """Messages that hold the text, counted from `row`; with an empty text all that have the field."""
        text, starts = self
        if not wanted:
            return [row + n for n in range(len(starts) - 1) if starts[n] < starts[n + 1]]
        found: list[int] = []
        at = text.find(wanted)
        while at >= 0:
            number = bisect_right(starts, at) - 1
            found.append(row + number)
            at = text.find(wanted, starts[number + 1])
        return found


def _block(values: Sequence[str | None], before: Block | None = None) -> Block:
    texts = ["" if value is None else "\n" + value for value in values]
    if before is None:
        return Block("".join(texts), array("L", accumulate(map(len, texts), initial=0)))
    starts = before.starts[:]
    starts.pop()
    starts.extend(accumulate(map(len, texts), initial=len(before.text)))
    return Block(before.text + "".join(texts), starts)


class Texts:
    """A column of `columns.Columns`. None: the message does not have the field."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, values: Sequence[str | None]) -> None:
        """More messages. At most a block is copied for each call."""
        self._count += len(values)
        if self._blocks and len(self._blocks[-1].starts) + len(values) <= BLOCK:
            self._blocks[-1] = _block(values, self._blocks[-1])
        elif values:
            self._blocks.append(_block(values))

    def find(self, wanted: str) -> Iterator[list[int]]:
        """Rows whose field holds the text (folded), ascending, a block at a time."""
        row = 0
        for block in list(self._blocks):
            yield [] if "\n" in wanted else block.find(wanted, row)
            row += len(block.starts) - 1

    def keep(self, runs: Iterable[tuple[int, int]]) -> None:
        """Only the messages in these ascending ranges stay. Blocks that lose none are as they were."""
        runs = iter(runs)
        start, stop = next(runs, (0, 0))
        blocks: list[Block] = []
        row = 0
        for block in self._blocks:
            end = row + len(block.starts) - 1
            if start <= row and end <= stop:
                blocks.append(block)
            else:
                values: list[str | None] = []
                while start < end:
                    values += block.values(max(start, row) - row, min(stop, end) - row)
                    if stop > end:
                        break
                    start, stop = next(runs, (end, end))
                if values:
                    blocks.append(_block(values))
            row = end
        self._blocks = blocks
        self._count = sum(len(block.starts) - 1 for block in blocks)
