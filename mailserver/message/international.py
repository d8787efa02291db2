"""Which messages only a server with SMTPUTF8 may be given (RFC 6531, 3.2; RFC 6532)."""

from __future__ import annotations

from mailserver.message.structure import Part, scan


def is_internationalized(head: bytes, whole: bytes | None) -> bool:
    """True where a header field of the message or of one of its parts has octets outside ASCII; also where
    `whole` is not in memory and nobody can tell. `head` has all of the message's header. LF line ends."""
    block, found, _ = head.partition(b"\n\n")
    if not block.isascii() or not found or whole is None:
        return True
    if whole.isascii():
        return False
    waiting: list[Part] = [scan(whole)]
    while waiting:
        part = waiting.pop()
        if not whole[part.start : part.body].isascii():
            return True
        waiting += part.parts
    return False
