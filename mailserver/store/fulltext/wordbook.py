"""Which of some hundred messages have a text: their words, each kept once.

A message has two lists of words, of its header and of its body (`message.words`); list number 2n is the
header's and 2n+1 the body's of message n. Words that stand in the same lists are a group: they follow one
another between line feeds, and the lists are told once for the group. Most words stand in one list only, so
a book is little more than the text of its different words, and to look something up is to look for it in
that text with `find`:

    text       for each group its words, as `message.words` joins them
    lists      32-bit integers: the number of groups, the end of each group in `text`, the end of its lists;
               then the lists of all groups, 16-bit integers

Pure, but for the time it takes: some 30 ms to make one, so threads make them.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence

from attrs import frozen

MESSAGES = 512  # in one book; 2 * MESSAGES lists have 16-bit numbers


class BookDamaged(ValueError):
    """The parts of a book do not fit together."""


@frozen
class Book:
    text: bytes
    lists: bytes


def make(lists: Sequence[tuple[bytes, bytes]]) -> Book:
    """Of the words of header and body of at most `MESSAGES` messages."""
    where: dict[bytes, bytes] = {}
    number = 0
    for both in lists:
        for words in both:
            mark = number.to_bytes(2, sys.byteorder)
            for word in words.split():
                where[word] = where.get(word, b"") + mark
            number += 1
    groups: dict[bytes, list[bytes]] = {}
    for word, places in where.items():
        groups.setdefault(places, []).append(word)
    texts = [b"\n%b\n" % b"\n".join(words) for words in groups.values()]
    ends, stops = array("I"), array("I")
    end = stop = 0
    for text, places in zip(texts, groups, strict=True):
        end += len(text)
        stop += len(places) // 2
        ends.append(end)
        stops.append(stop)
    head = array("I", (len(groups),)) + ends + stops
    return Book(b"".join(texts), head.tobytes() + b"".join(groups))


class Lists:
    """What `lists` of a book says."""

    def __init__(self, data: bytes, length: int) -> None:
        """length: of the book's text. Raises BookDamaged."""
        try:
            count = int.from_bytes(data[:4], sys.byteorder)
            self.ends = _integers("I", data[4 : 4 + 4 * count])
            self.stops = _integers("I", data[4 + 4 * count : 4 + 8 * count])
            self.places = _integers("H", data[4 + 8 * count :])
        except ValueError as error:
            raise BookDamaged(str(error)) from error
        last = self.ends[-1] if self.ends else 0
        fits = len(self.stops) == count and last == length
        if not fits or (self.stops[-1] if self.stops else 0) != len(self.places):
            raise BookDamaged("the lists do not fit the text")

    def of(self, group: int) -> array[int]:
        return self.places[self.stops[group - 1] if group else 0 : self.stops[group]]

    def finding(self, text: bytes, wanted: bytes) -> set[int]:
        """Lists with `wanted` in them."""
        found: set[int] = set()
        ends = self.ends
        at = text.find(wanted)
        while at >= 0:
            group = bisect_right(ends, at)
            found.update(self.of(group))
            at = text.find(wanted, ends[group])  # the rest of the group stands in the same lists
        return found


def _integers(code: str, data: bytes) -> array[int]:
    values = array(code)
    values.frombytes(data)
    return values


def lists_of(book: Book, messages: int) -> list[tuple[bytes, bytes]]:
    """What a book was made of: words of header and body of each message. Raises BookDamaged."""
    lists = Lists(book.lists, len(book.text))
    words: list[list[bytes]] = [[] for _ in range(2 * messages)]
    start = 0
    try:
        for group, end in enumerate(lists.ends):
            for place in lists.of(group):
                words[place].append(book.text[start + 1 : end])
            start = end
    except IndexError as error:
        raise BookDamaged(str(error)) from error
    joined = [b"\n" + b"".join(parts) if parts else b"" for parts in words]
    return list(zip(joined[::2], joined[1::2], strict=True))
