"""What a searching command found, as ESEARCH tells it and as `$` keeps it (RFC 4466, 2.6.2; RFC 4731;
RFC 5182; RFC 9394).

`found` are the results in the order of the command: of the mailbox for SEARCH, as asked for for SORT. MIN is
the first of them and MAX the last (RFC 5267, 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from mailserver.imap.values import Returning

PIECE = 8192  # numbers rendered in one go: about 1 ms


def set_pieces(numbers: Sequence[int]) -> Iterator[bytes]:
    """A sequence set of these numbers in their order, in pieces that follow one another. Only numbers that
    ascend by one become a range (RFC 5267, 3.2)."""
    for start in range(0, len(numbers), PIECE):
        text = _set_text(numbers[start : start + PIECE])
        yield b"," + text if start else text


def _set_text(numbers: Sequence[int]) -> bytes:
    parts: list[str] = []
    start = numbers[0]
    for number, following in pairwise([*numbers, 0]):
        if following == number + 1:
            continue
        if start == number:
            parts.append(str(number))
        elif start + 1 == number:
            parts.append(f"{start},{number}")
        else:
            parts.append(f"{start}:{number}")
        start = following
    return ",".join(parts).encode("ascii")


def response(
    tag: bytes,
    uid: bool,
    found: Sequence[int],
    returning: Returning,
    correlators: bytes = b"",
    *,
    modseq: int = 0,
) -> Iterator[bytes]:
    """`* ESEARCH (TAG …) …` in pieces. `found`: sequence numbers, or UIDs where `uid`; `correlators`: what
    else the search is known by, with a space before it (RFC 7377, 2.1); `modseq`: the greatest of what is
    returned, where MODSEQ was searched for and something found (RFC 4731, 3.2)."""
    options = returning.options
    line = [b'* ESEARCH (TAG "%b"%b)' % (tag, correlators)]
    if uid:
        line.append(b" UID")
    if found and "MIN" in options:
        line.append(b" MIN %d" % found[0])
    if found and "MAX" in options:
        line.append(b" MAX %d" % found[-1])
    if "COUNT" in options:
        line.append(b" COUNT %d" % len(found))
    yield b"".join(line)
    if found and "ALL" in options:
        yield b" ALL "
        yield from set_pieces(found)
    if returning.partial is not None:
        first, last = returning.partial.bounds(len(found))
        yield b" PARTIAL (%b " % bytes(returning.partial)
        yield from set_pieces(found[first:last]) if first < last else (b"NIL",)
        yield b")"
    yield b" MODSEQ %d\r\n" % modseq if modseq else b"\r\n"


def is_told(returning: Returning) -> bool:
    """SAVE alone suppresses the response (RFC 5182, 1)."""
    return returning.options != {"SAVE"}


def to_save(found: Sequence[int], returning: Returning) -> Sequence[int]:
    """What `$` stands for afterwards (RFC 5182, 2.4; RFC 9394, 3.2)."""
    options = returning.options
    if not found or options & {"ALL", "COUNT"} or not options & {"MIN", "MAX", "PARTIAL"}:
        return found
    kept: set[int] = set()
    if "MIN" in options:
        kept.add(found[0])
    if "MAX" in options:
        kept.add(found[-1])
    if returning.partial is not None:
        first, last = returning.partial.bounds(len(found))
        kept.update(found[first:last])
    return list(kept)
