"""What the arguments of IMAP commands are: sequence sets, FETCH items, the tree of SEARCH keys.

Everything here is a frozen value made by `grammar` and read by the handlers; nothing refers to a mailbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from attrs import frozen

# --- sequence sets (RFC 3501, 9: sequence-set) -----------------------------------------------------


@frozen
class SequenceSet:
    """Message sequence numbers or UIDs as the client wrote them; None stands for `*`.

    A set is only ever handled as ranges: `1:4294967295` costs what `1` costs (CASES H3).

    saved: `$`, what the last SEARCH with SAVE found (RFC 5182, 3); then `ranges` is empty, and only the view
    knows the messages (`Selected.ranges`)
    """

    ranges: tuple[tuple[int | None, int | None], ...]
    saved: bool = False

    def resolve(self, largest: int) -> list[tuple[int, int]]:
        """Ascending, disjoint (first, last) ranges with `*` as `largest`, the greatest number in use
        (0 for an empty mailbox). O(n log n). Numbers above `largest` are kept: the caller clips.

        `4:2` is `2:4`, and `559:*` holds `*` even where 559 is greater (RFC 3501, 9).
        """
        pairs = []
        for first, last in self.ranges:
            low = largest if first is None else first
            high = largest if last is None else last
            pairs.append((low, high) if low <= high else (high, low))
        if len(pairs) == 1:
            low, high = pairs[0]
            return [(max(low, 1), high)] if high > 0 else []
        return _merged(pairs)

    def __bytes__(self) -> bytes:
        if self.saved:
            return b"$"
        return ",".join(_range_text(first, last) for first, last in self.ranges).encode()


def _merged(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    pairs.sort()
    merged: list[tuple[int, int]] = []
    start, end = 0, -1
    for low, high in pairs:
        if low <= end + 1 and end > 0:
            end = max(end, high)
        else:
            if end > 0:
                merged.append((max(start, 1), end))
            start, end = low, high
    if end > 0:
        merged.append((max(start, 1), end))
    return merged


def _range_text(first: int | None, last: int | None) -> str:
    low = "*" if first is None else str(first)
    high = "*" if last is None else str(last)
    return low if low == high else f"{low}:{high}"


@frozen
class PartialRange:
    """Which of several results are wanted (RFC 9394, 4: partial-range), as the client wrote it: counted from
    the first, which is 1, or where both are negative from the last, which is -1."""

    first: int
    last: int

    def bounds(self, count: int) -> tuple[int, int]:
        """(start, stop) indices among `count` results."""
        low, high = sorted((self.first, self.last))
        if low < 0:
            return max(count + low, 0), max(count + high + 1, 0)
        return min(low - 1, count), min(high, count)

    def __bytes__(self) -> bytes:
        return b"%d:%d" % (self.first, self.last)


# --- QRESYNC (RFC 7162, 3.2.5) ---------------------------------------------------------------------


@frozen
class Sample:
    """Messages that the client knows both numbers of: the first pair, and how many follow one another."""

    number: int
    uid: int
    count: int


@frozen
class QuickResync:
    """What a client remembers of a mailbox. `known`: the UIDs it is interested in, None for all; `samples` in
    ascending order."""

    uidvalidity: int
    modseq: int
    known: SequenceSet | None = None
    samples: tuple[Sample, ...] = ()


# --- FETCH (RFC 3501, 6.4.5) -----------------------------------------------------------------------


@frozen
class Section:
    """What stands between the brackets of BODY[…].

    numbers: of the part, () for the message itself
    text:    "" for all of it, or HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME
    fields:  the names after HEADER.FIELDS(.NOT), as the client wrote them
    """

    numbers: tuple[int, ...] = ()
    text: str = ""
    fields: tuple[bytes, ...] = ()


@frozen(cache_hash=True)
class FetchItem:
    """One data item; the macros ALL, FAST, FULL come as what they stand for.

    name:    ENVELOPE FLAGS INTERNALDATE RFC822 RFC822.HEADER RFC822.SIZE RFC822.TEXT BODYSTRUCTURE UID
             EMAILID THREADID MODSEQ SAVEDATE PREVIEW, BODY (the structure without extension data), or
             BODY[], BINARY[], BINARY.SIZE[] (with `section`)
    partial: (first octet, number of octets) of BODY[…]<…>, None for everything
    lazy:    of PREVIEW: only where it is made already (RFC 8970, 4.1)
    peek:    True where \\Seen is not set (BODY.PEEK[…], RFC822.HEADER and what is no text)
    """

    name: str
    section: Section | None = None
    partial: tuple[int, int] | None = None
    peek: bool = True
    lazy: bool = False


# --- NOTIFY (RFC 5465, 8) --------------------------------------------------------------------------


@frozen
class EventGroup:
    """Mailboxes, and what the client wants to be told of them.

    which:  SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES
    names:  of SUBTREE and MAILBOXES
    events: in capitals; none of them is the client's NONE
    items:  what FETCH tells of new messages of the selected mailbox
    """

    which: str
    names: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()
    items: tuple[FetchItem, ...] = ()


# --- SEARCH (RFC 3501, 6.4.4) ----------------------------------------------------------------------


@frozen
class SearchAll:
    """ALL"""


@frozen
class SearchAnd:
    """All of `keys`: several keys in a row, or in parentheses. NEW comes as RECENT UNSEEN."""

    keys: tuple[SearchKey, ...]


@frozen
class SearchOr:
    left: SearchKey
    right: SearchKey


@frozen
class SearchNot:
    key: SearchKey


@frozen
class SearchSet:
    """Sequence numbers, or UIDs after the UID key."""

    numbers: SequenceSet
    uid: bool


@frozen
class SearchEdge:
    """UIDAFTER and UIDBEFORE: messages with a greater UID than this, or a smaller one (RFC 9738, 3.2)."""

    uid: int
    after: bool


@frozen
class SearchFlag:
    """\\Answered \\Deleted \\Draft \\Flagged \\Seen \\Recent or a keyword; UNSEEN, OLD …: not `wanted`."""

    flag: str
    wanted: bool = True


@frozen
class SearchDate:
    """BEFORE ON SINCE, and SENTBEFORE SENTON SENTSINCE (`sent`: by the Date field).

    relation: "BEFORE", "ON" or "SINCE"; time and zone are disregarded.
    """

    relation: str
    day: date
    sent: bool = False


@frozen
class SearchWithin:
    """OLDER (`older`) or YOUNGER than so many seconds, by the internal date (RFC 5032)."""

    seconds: int
    older: bool


@frozen
class SearchSize:
    """LARGER (`larger`) or SMALLER than so many octets, both strict."""

    octets: int
    larger: bool


@frozen
class SearchHeader:
    """FROM, TO, CC, BCC, SUBJECT and HEADER: the field (upper case) holds `text`, in any case; an empty
    text matches every message that has the field."""

    field: str
    text: str


@frozen
class SearchText:
    """BODY, or with `header` TEXT, which looks at header and body."""

    text: str
    header: bool


@frozen
class SearchSaved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE: as `SearchDate`, by the save date; SAVEDATESUPPORTED, with no day
    (RFC 8514, 4.3)."""

    relation: str
    day: date | None = None


@frozen
class SearchObject:
    """EMAILID and THREADID (`item`): messages that have exactly this id (RFC 8474, 6)."""

    item: str
    identity: str


@frozen
class SearchModseq:
    """MODSEQ: messages whose mod-sequence is `least` or greater (RFC 7162, 3.1.5). One mod-sequence is kept
    for all of a message, so the entry name and type that may stand before it change nothing."""

    least: int


SearchKey = (
    SearchAll
    | SearchAnd
    | SearchOr
    | SearchNot
    | SearchSet
    | SearchEdge
    | SearchFlag
    | SearchDate
    | SearchWithin
    | SearchSize
    | SearchHeader
    | SearchText
    | SearchObject
    | SearchModseq
    | SearchSaved
)


@frozen
class MailboxSet:
    """One source of ESEARCH (RFC 7377, 2.2): SELECTED INBOXES PERSONAL SUBSCRIBED, or with names SUBTREE
    SUBTREE-ONE MAILBOXES."""

    which: str
    names: tuple[str, ...] = ()


@frozen
class SortKey:
    """One criterion: ARRIVAL CC DATE FROM SIZE SUBJECT TO (RFC 5256, 3), DISPLAYFROM DISPLAYTO (RFC 5957)."""

    name: str
    reverse: bool = False


@frozen
class Returning:
    """What a searching command is to return (RFC 4466, 2.6.1): ESEARCH instead of SEARCH.

    options: MIN MAX ALL COUNT (RFC 4731), SAVE (RFC 5182), UPDATE CONTEXT (RFC 5267), and PARTIAL, whose
             range is `partial` (RFC 9394)
    """

    options: frozenset[str]
    partial: PartialRange | None = None


def search_leaves(key: SearchKey) -> Iterator[SearchKey]:
    """The keys of a tree that hold no other keys."""
    if isinstance(key, SearchAnd):
        for inner in key.keys:
            yield from search_leaves(inner)
    elif isinstance(key, SearchOr):
        yield from search_leaves(key.left)
        yield from search_leaves(key.right)
    elif isinstance(key, SearchNot):
        yield from search_leaves(key.key)
    else:
        yield key
