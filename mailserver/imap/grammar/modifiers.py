"""What may stand in parentheses in SELECT and STORE (RFC 4466, 2.1, 2.5; RFC 7162, 7), each once at most."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from mailserver.imap.grammar.cursor import MAX_MODSEQ, BadSyntax, Cursor
from mailserver.imap.values import QuickResync, Sample, SequenceSet


@frozen
class SelectParameters:
    condstore: bool
    qresync: QuickResync | None


def select_parameters(cursor: Cursor) -> SelectParameters:
    """SP select-params"""
    cursor.space()
    resync: list[QuickResync] = []
    known = {"CONDSTORE": lambda: None, "QRESYNC": lambda: resync.append(_qresync(cursor))}
    found = _list(cursor, known)
    return SelectParameters("CONDSTORE" in found, resync[0] if resync else None)


def store_modifiers(cursor: Cursor) -> int | None:
    """store-modifiers SP: the mod-sequence of UNCHANGEDSINCE, which may be 0."""
    since: list[int] = []
    _list(cursor, {"UNCHANGEDSINCE": lambda: since.append(_modseq(cursor))})
    cursor.space()
    return since[0] if since else None


def _modseq(cursor: Cursor) -> int:
    cursor.space()
    return cursor.number(MAX_MODSEQ)


def _qresync(cursor: Cursor) -> QuickResync:
    """SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")" """
    cursor.expect(b" (")
    uidvalidity, modseq = cursor.number(), _modseq(cursor)
    known: SequenceSet | None = None
    samples: tuple[Sample, ...] = ()
    if not uidvalidity or not modseq:
        raise BadSyntax("Expected a number above 0")
    more = cursor.skip(b" ")
    if more and cursor.peek() != b"(":
        known = SequenceSet(tuple(_numbers(cursor)))
        more = cursor.skip(b" ")
    if more:
        samples = _samples(cursor)
    cursor.expect(b")")
    return QuickResync(uidvalidity, modseq, known, samples)


def _samples(cursor: Cursor) -> tuple[Sample, ...]:
    """ "(" known-sequence-set SP known-uid-set ")": both ascend and have as many members."""
    cursor.expect(b"(")
    numbers = _ascending(_numbers(cursor))
    cursor.space()
    uids = _ascending(_numbers(cursor))
    cursor.expect(b")")
    found: list[Sample] = []
    while numbers and uids:
        (number, last_number), (uid, last_uid) = numbers.pop(), uids.pop()
        count = 1 + min(last_number - number, last_uid - uid)
        found.append(Sample(number, uid, count))
        if number + count <= last_number:
            numbers.append((number + count, last_number))
        if uid + count <= last_uid:
            uids.append((uid + count, last_uid))
    if numbers or uids:
        raise BadSyntax("As many UIDs as numbers are needed")
    return tuple(found)


def _ascending(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The last first."""
    last = 0
    for first, end in ranges:
        if not last < first <= end:
            raise BadSyntax("Not in ascending order")
        last = end
    return ranges[::-1]


def _numbers(cursor: Cursor) -> list[tuple[int, int]]:
    """A sequence set in which `*` and `$` are not allowed."""
    numbers = cursor.sequence_set()
    found = [(low, high) for low, high in numbers.ranges if low is not None and high is not None]
    if numbers.saved or len(found) < len(numbers.ranges):
        raise BadSyntax("Expected numbers")
    return found


def _list(cursor: Cursor, known: dict[str, Callable[[], None]]) -> set[str]:
    """ "(" name [arguments] *(SP name [arguments]) ")" with the arguments taken by `known`; the names."""
    found: set[str] = set()
    for _ in cursor.members():
        name = cursor.word()
        take = known.get(name)
        if take is None or name in found:
            raise BadSyntax("Unknown or repeated parameter")
        found.add(name)
        take()
    return found
