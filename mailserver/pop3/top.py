"""The beginning of a message: its header block and some lines of its body (RFC 1939, 7: TOP).

Works on slices of the wire form, with `find` and `count` only.
"""

from __future__ import annotations

_GAP = b"\r\n\r\n"


class TopCutter:
    """`cut` gives of each slice what belongs to the answer.

    finished: nothing more is wanted
    """

    def __init__(self, lines: int) -> None:
        self.finished = False
        self._lines = lines  # of the body, still to come
        self._tail = b"\r\n"  # a message may begin with the empty line: then it has no header
        self._in_header = True

    def cut(self, data: bytes) -> bytes:
        """The part of the next slice that is wanted."""
        start = 0
        if self._in_header:
            work = self._tail + data
            gap = work.find(_GAP)
            if gap < 0:
                self._tail = work[-3:]
                return data
            self._in_header = False
            start = gap + 4 - len(self._tail)
        return data[: self._body(data, start)]

    def _body(self, data: bytes, start: int) -> int:
        """Where the wanted part ends; `start` is where the body begins or goes on."""
        have = data.count(b"\n", start)
        if have < self._lines:
            self._lines -= have
            return len(data)
        self.finished = True
        return _after_lines(data, start, self._lines)


def _after_lines(data: bytes, start: int, lines: int) -> int:
    """Offset after so many line ends, which are there: by halving, so that a slice of nothing but line ends
    costs no more than one of text."""
    end = len(data)
    while lines:
        if lines < 64:
            start = data.find(b"\n", start) + 1
            lines -= 1
            continue
        middle = (start + end) // 2
        before = data.count(b"\n", start, middle)
        if before < lines:
            start, lines = middle, lines - before
        else:
            end = middle
    return start
