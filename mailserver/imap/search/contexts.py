"""Searches whose results a client is kept informed of (RFC 5267, 4.3), and what it is told.

A context holds the results as the client has them. Messages that are expunged leave it at once, before their
EXPUNGE while their numbers still hold; new ones and those whose flags changed are looked at again between
commands (`handlers.contexts`). Results of SEARCH have no position (0), those of SORT do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, evolve

from mailserver.imap.search.results import set_pieces
from mailserver.imap.values import (
    SearchAnd,
    SearchKey,
    SearchNot,
    SearchOr,
    SearchSet,
    SearchWithin,
    SequenceSet,
    SortKey,
    search_leaves,
)

MAX_CONTEXTS = 10  # of a session


@define(eq=False)
class Context:
    """tag: of the command; uid: results are told as UIDs; correlators: as in `results.response`
    key:      with the message numbers that it named as UIDs (RFC 5267, 4.3)
    criteria: of SORT, None for SEARCH
    results:  UIDs; those of SORT also in their `order`
    last:     the greatest UID that was looked at
    """

    tag: bytes
    uid: bool
    key: SearchKey
    criteria: tuple[SortKey, ...] | None
    results: set[int]
    order: list[int]
    last: int
    correlators: bytes = b""

    @property
    def moves(self) -> bool:
        """May a message come in or go out that itself did not change: by age, or because it is not the last
        (`*`) any more?"""
        return any(
            isinstance(leaf, SearchWithin)
            or (isinstance(leaf, SearchSet) and any(None in pair for pair in leaf.numbers.ranges))
            for leaf in search_leaves(self.key)
        )

    def change(
        self,
        going: set[int],
        coming: set[int],
        number_of: Callable[[int], int],
        order: list[int] | None = None,
    ) -> bytes:
        """Some of the results leave, others come in: what the client is told, empty for nothing. order: of
        all results of SORT afterwards; where none comes in the others keep theirs."""
        number = (lambda uid: uid) if self.uid else number_of
        items = b""
        if going:
            items += _item(b"REMOVEFROM", self._removals(going, number))
        if order is None:
            order = [uid for uid in self.order if uid not in going]
        if coming:
            items += _item(b"ADDTO", self._additions(order, coming, number))
        self.results -= going
        self.results |= coming
        self.order = order
        if not items:
            return b""
        uid = b" UID" if self.uid else b""
        return b'* ESEARCH (TAG "%b"%b)%b%b\r\n' % (self.tag, self.correlators, uid, items)

    def _removals(self, going: set[int], number: Callable[[int], int]) -> Iterator[tuple[int, list[int]]]:
        """From the end, so that no position moves before it is used (RFC 5267, 4.3.4)."""
        if self.criteria is None:
            yield 0, [number(uid) for uid in sorted(going)]
            return
        run: list[int] = []
        for place in range(len(self.order) - 1, -2, -1):
            if place >= 0 and self.order[place] in going:
                run.append(number(self.order[place]))
            elif run:
                yield place + 2, run[::-1]
                run = []

    def _additions(
        self, order: Sequence[int], coming: set[int], number: Callable[[int], int]
    ) -> Iterator[tuple[int, list[int]]]:
        """From the beginning: each comes to where it stays (RFC 5267, 4.3.3)."""
        if self.criteria is None:
            yield 0, [number(uid) for uid in sorted(coming)]
            return
        run: list[int] = []
        for place, uid in enumerate([*order, -1]):
            if uid in coming:
                run.append(number(uid))
            elif run:
                yield place - len(run) + 1, run
                run = []


def _item(name: bytes, pairs: Iterable[tuple[int, Sequence[int]]]) -> bytes:
    texts = [b"%d %b" % (position, b"".join(set_pieces(numbers))) for position, numbers in pairs]
    return b" %b (%b)" % (name, b" ".join(texts))


class Contexts:
    """Those of a selected mailbox. `changed`: UIDs whose flags changed since they were looked at."""

    def __init__(self) -> None:
        self._by_tag: dict[bytes, Context] = {}
        self._starting = 0
        self._gone: set[int] = set()
        self.changed: set[int] = set()

    def __iter__(self) -> Iterator[Context]:
        return iter(list(self._by_tag.values()))

    def __contains__(self, tag: bytes) -> bool:
        return tag in self._by_tag

    @property
    def full(self) -> bool:
        return len(self._by_tag) >= MAX_CONTEXTS

    # --- their life -------------------------------------------------------------------------------

    def starting(self) -> None:
        """A search is about to begin whose results will be a context: from now on changes count."""
        self._starting += 1

    def started(self, context: Context | None) -> None:
        """It has ended; None where it failed."""
        self._starting -= 1
        if context is not None:
            self._by_tag[context.tag] = context
        self._forget()

    def cancel(self, tag: bytes) -> None:
        self._by_tag.pop(tag, None)
        self._forget()

    def _forget(self) -> None:
        if not (self._by_tag or self._starting):
            self.changed.clear()
            self._gone.clear()

    # --- what happens -----------------------------------------------------------------------------

    def flags_changed(self, uids: Iterable[int]) -> None:
        if self._by_tag or self._starting:
            self.changed.update(uids)

    def messages_removed(self, uids: Iterable[int]) -> None:
        if self._by_tag or self._starting:
            self._gone.update(uids)

    def due(self, last: int) -> bool:
        """Is there something to look at? `last`: the greatest UID that the client knows."""
        return bool(self._by_tag) and (
            bool(self.changed or self._gone) or any(context.last < last for context in self._by_tag.values())
        )

    def removed(self, uids: Iterable[int], number_of: Callable[[int], int]) -> list[bytes]:
        """What the client is told before it is told of the EXPUNGE of these messages (RFC 5267, 4.3.4)."""
        gone = set(uids)
        self.changed -= gone
        self._gone -= gone
        for context in self:
            if gone and context.moves:
                context.last = 0  # another may be the last now
        return [
            told for context in self if (told := context.change(context.results & gone, set(), number_of))
        ]

    def take_removed(self, number_of: Callable[[int], int]) -> list[bytes]:
        """The same for messages whose EXPUNGE may not be told yet: they still have their numbers."""
        return self.removed(self._gone, number_of)


def pinned(key: SearchKey, numbers: Callable[[SearchSet], SequenceSet]) -> SearchKey:
    """The key with its message numbers and `$` as UIDs: they are evaluated when the command comes, and never
    again (RFC 5267, 4.3)."""
    if isinstance(key, SearchAnd):
        return evolve(key, keys=tuple([pinned(inner, numbers) for inner in key.keys]))
    if isinstance(key, SearchOr):
        return SearchOr(pinned(key.left, numbers), pinned(key.right, numbers))
    if isinstance(key, SearchNot):
        return SearchNot(pinned(key.key, numbers))
    if isinstance(key, SearchSet) and (key.numbers.saved or not key.uid):
        return SearchSet(numbers(key), uid=True)
    return key
