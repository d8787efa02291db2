"""Sequence sets: written and read again they are the same; resolved they are what counting gives."""

from __future__ import annotations

from mailserver.imap.grammar.cursor import BadSyntax, Cursor

TOKENS = [b"1:*", b"*:1", b"4294967295", b"4294967296", b"0", b"$", b",", b":", b"*", b"1,2,3", b"10:5"]
LARGEST = (0, 1, 7, 300, 4294967295)


def check(data: bytes) -> None:
    cursor = Cursor((data,))
    try:
        numbers = cursor.sequence_set()
    except BadSyntax:
        return
    written = bytes(numbers)
    again = Cursor((written,)).sequence_set()
    assert bytes(again) == written
    for largest in LARGEST:
        ranges = numbers.resolve(largest)
        assert again.resolve(largest) == ranges
        end = 0
        for low, high in ranges:
            assert end < low <= high, "ascending and disjoint"
            end = high
        if 0 < largest <= 300 and not numbers.saved:
            _counted(data[: cursor.pos], ranges, largest)


def _counted(text: bytes, ranges: list[tuple[int, int]], largest: int) -> None:
    wanted = set()
    for item in text.split(b","):
        ends = [largest if end == b"*" else int(end) for end in item.split(b":")]
        wanted.update(range(min(ends), min(max(ends), 400) + 1))
    wanted = {number for number in wanted if number <= 400}
    assert {number for low, high in ranges for number in range(low, min(high, 400) + 1)} == wanted
