"""Binary messages (RFC 3030, 3) as text, for mailboxes and for servers that take nothing else. Pure.

Leaves whose octets are no lines of text become base64, those that only claim to be binary get a modest
label, and all other octets stay as they are: no octet of a content is lost, and no encoding is put on another
(RFC 3030, 3). What was signed must not be touched (RFC 1847, 2.1), and of composite types the content cannot
be encoded (RFC 2046, 5.1, 5.2): where that would be needed there is no text form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailserver.message.parameters import without_comments
from mailserver.message.structure import Part, scan
from mailserver.message.transfer import UnknownEncoding, base64_lines, decode, encoding_of, with_encoding
from mailserver.wire.lines import ends_in_pairs

MAX_LINE = 998  # octets without the line end (RFC 2045, 2.8)
Place = tuple[int, int]
Edits = dict[Place, bytes]  # what stands at a place instead
_COMPOSITE = (b"multipart/", b"message/")
_LONG = re.compile(rb"[^\n]{%d}" % (MAX_LINE + 2))


class NotConvertible(Exception):
    """There is no way to say this in lines of text; the reason is for people."""


def as_text(message: bytes, *, eight_bit: bool = True) -> bytes:
    """The message (CRLF where lines end, any octets in its binary parts) with LF line ends. eight_bit: text
    outside ASCII may stay as it is. Raises NotConvertible."""
    return _Conversion(message, eight_bit).run()


def is_text(data: bytes) -> bool:
    """Nothing but lines that end in CRLF, of a bearable length, without NUL."""
    return ends_in_pairs(data) and b"\0" not in data and _LONG.search(data) is None


class _Conversion:
    def __init__(self, message: bytes, eight_bit: bool) -> None:
        self._message = message
        self._eight_bit = eight_bit
        self._root = scan(message)

    def run(self) -> bytes:
        edits = dict(self._encoded_leaves())
        label = b"7bit" if all(piece.isascii() for piece in self._kept(edits)) else b"8bit"
        text = self._applied(edits | dict(self._relabelled(label, edits)))
        if b"\0" in text or not ends_in_pairs(text):
            raise NotConvertible("octets that are no text stand outside the parts of the message")
        return text.replace(b"\r\n", b"\n")

    def _kept(self, edits: Edits) -> Iterator[bytes]:
        """What no edit touches."""
        at = 0
        for start, end in sorted(edits):
            yield self._message[at:start]
            at = end
        yield self._message[at:]

    def _applied(self, edits: Edits) -> bytes:
        pieces = [piece for pair in zip(self._kept(edits), self._new(edits), strict=True) for piece in pair]
        return b"".join(pieces)

    def _new(self, edits: Edits) -> Iterator[bytes]:
        for place in sorted(edits):
            yield edits[place]
        yield b""

    def _parts(self) -> Iterator[tuple[Part, bool]]:
        """All parts, in order, and whether a signature covers them."""
        waiting = [(self._root, False)]
        while waiting:
            part, signed = waiting.pop()
            yield part, signed
            signs = part.main.lower() == b"multipart" and part.sub.lower() == b"signed"
            waiting += [
                (child, signed or (signs and number == 0))
                for number, child in reversed(list(enumerate(part.parts)))
            ]

    def _encoded_leaves(self) -> Iterator[tuple[Place, bytes]]:
        for part, signed in self._parts():
            if part.parts or self._may_stay(part):
                continue
            if signed:
                raise NotConvertible("a part that is signed would have to be changed")
            if part.fields.get(b"content-type", b"").lower().startswith(_COMPOSITE):
                raise NotConvertible("a part of a composite type has binary content")
            try:
                content = decode(encoding_of(part), self._message[part.body : part.end])
            except UnknownEncoding:
                raise NotConvertible("a part has an encoding that is not known here") from None
            header = self._header(part, b"base64")
            last = b"\r\n" if part.end == len(self._message) else b""
            yield (part.start, part.end), header + base64_lines(content) + last

    def _may_stay(self, part: Part) -> bool:
        data = self._message[part.body : part.end]
        if part is self._root and data and not data.endswith(b"\r\n"):
            return False  # on its way as lines of text it would get a line end more
        return is_text(data) and (self._eight_bit or data.isascii())

    def _relabelled(self, label: bytes, encoded: Edits) -> Iterator[tuple[Place, bytes]]:
        """New labels for what says it were binary and is not, or not any more. A label that is signed stays:
        it says too much and nothing wrong (RFC 2045, 6.2)."""
        for part, signed in self._parts():
            if signed or (part.start, part.end) in encoded:
                continue
            field = part.fields.get(b"content-transfer-encoding", b"")
            named = without_comments(field).strip(b" \t\r\n").lower()
            if named == b"binary" or (named == b"8bit" and not self._eight_bit):
                yield (part.start, part.body), self._header(part, label)

    def _header(self, part: Part, encoding: bytes) -> bytes:
        header = self._message[part.start : part.body]
        return with_encoding(header, encoding, whole=part is self._root)
