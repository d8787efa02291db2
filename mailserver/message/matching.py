"""Does a message have a text in it: SEARCH TEXT and BODY (RFC 3501, 6.4.4), encodings undone, in any case.

Never raises; linear in the message, of which `text.MAX_TEXT` octets are looked at. What this finds is what an
index of `words` finds.
"""

from __future__ import annotations

from mailserver.message.headers import unfold_block
from mailserver.message.structure import scan
from mailserver.message.text import body_texts, fold, header_text

_PLAIN = 256 * 1024  # octets of a message that is looked at in one piece
_fold_ascii = bytes.upper if fold("a") == "A" else bytes.lower  # what `fold` does
_CONTENT_T = fold("content-t").encode("ascii")  # Content-Type, Content-Transfer-Encoding


class Finder:
    """Looks for a folded text in texts that come in pieces; holds only as much of the last piece as the
    beginning of a match could be."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._tail = ""

    def feed(self, fresh: bool, piece: str) -> bool:
        """True where the text is found; `fresh`: the piece begins another text."""
        text = fold(piece) if fresh else self._tail + fold(piece)
        if self._wanted in text:
            return True
        keep = len(self._wanted) - 1
        self._tail = text[-keep:] if keep else ""
        return False


class Matcher:
    """One text to look for. header: in the header and the body (TEXT), else in the body only (BODY)."""

    def __init__(self, text: str, header: bool) -> None:
        self._wanted = fold(text)
        self._ascii = self._wanted.encode("ascii") if self._wanted.isascii() else None
        self._header = header

    def fits(self, wire: bytes) -> bool:
        """wire: a message with CRLF line ends."""
        if not self._wanted:
            return True
        plain = self._plain(wire)
        return self._decoded(wire) if plain is None else plain

    def _plain(self, wire: bytes) -> bool | None:
        """The answer for a message of plain ASCII text without any encoding; None where it takes more."""
        if len(wire) > _PLAIN or not wire.isascii():
            return None
        text = _fold_ascii(wire)
        if b"=?" in text or b"\n" + _CONTENT_T in text or text.startswith(_CONTENT_T):
            return None
        if self._ascii is None:
            return False
        head, blank, body = text.partition(b"\r\n\r\n")
        if self._ascii in (text[2:] if text.startswith(b"\r\n") else body if blank else b""):
            return True
        return self._header and not text.startswith(b"\r\n") and self._ascii in unfold_block(head)

    def _decoded(self, wire: bytes) -> bool:
        root = scan(wire)
        if self._header and self._wanted in fold(header_text(wire[: root.body])):
            return True
        finder = Finder(self._wanted)
        return any(finder.feed(fresh, piece) for fresh, piece in body_texts(wire, root, self._header))
