"""Does a message have a text in it: SEARCH TEXT and BODY (RFC 3501, 6.4.4), encodings undone, in any case.

Never raises; linear in the message, of which `text.MAX_TEXT` octets are looked at. What this finds is what an
index of `words` finds.
"""

from __future__ import annotations

import re

from mailserver.message.headers import unfold_block
from mailserver.message.structure import scan
from mailserver.message.text import body_texts, fold, header_text

_PLAIN = 256 * 1024  # octets of a message that is looked at in one piece
_fold_ascii = bytes.upper if fold("a") == "A" else bytes.lower  # what `fold` does
_CONTENT_T = fold("content-t").encode("ascii")  # Content-Type, Content-Transfer-Encoding

_HTML = fold("html").encode("ascii")


def _folded(pattern: str) -> re.Pattern[bytes]:
    return re.compile(re.sub(r"[a-z]+", lambda word: fold(word[0]), pattern).encode("ascii"))


# What tells how to decode, and where it tells that ASCII stays what it is.
_CHARSET = fold("charset").encode("ascii")
_LIKE_ASCII = _folded('charset="?(?:utf-8|us-ascii|iso-8859-[0-9]+|windows-125[0-9])["; \t\r\n]')
_ENCODING = fold("content-transfer-encoding").encode("ascii")
_IDENTITY = _folded('content-transfer-encoding:[ \t]*"?(?:7bit|8bit|binary)"?[ \t]*\r\n')
_BASE64 = _folded("\ncontent-transfer-encoding:[ \t]*base64[ \t]*\r\n")
_TYPE = fold("content-type").encode("ascii")
_NO_TEXT = _folded("\ncontent-type:[ \t]*(?:application|image|audio|video)/[a-z0-9.+-]+[; \t\r]")


def _attachments(text: bytes) -> int:
    """How many base64 encodings are those of parts that have no text, beyond doubt: both fields stand in one
    block without an empty line or a delimiter between them, and no other type does."""
    count = 0
    for found in _BASE64.finditer(text):
        start = text.rfind(b"\r\n\r\n", 0, found.start() + 1) + 1
        end = text.find(b"\r\n\r\n", found.end() - 2)
        block = text[start : end if end >= 0 else len(text)]
        kind = _NO_TEXT.search(block)
        if kind is None or block.count(_TYPE) != 1 or block.count(_ENCODING) != 1:
            continue
        at = found.start() - start
        low, high = min(at, kind.start()), max(at, kind.start())
        count += b"\n--" not in block[low + 1 : high + 1]
    return count


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
        self._spaced = any(blank in self._wanted for blank in " \t\r\n")
        self._header = header

    def fits(self, wire: bytes) -> bool:
        """wire: a message with CRLF line ends."""
        if not self._wanted:
            return True
        plain = self._plain(wire)
        return self._decoded(wire) if plain is None else plain

    def _plain(self, wire: bytes) -> bool | None:
        """The answer for a message of ASCII text without any encoding; None where it takes more."""
        if len(wire) > _PLAIN or not wire.isascii():
            return None
        text = _fold_ascii(wire)
        if b"=?" in text:
            return None
        if b"\n" + _CONTENT_T in text or text.startswith(_CONTENT_T):
            return False if self._absent(text) else None
        if self._ascii is None:
            return False
        head, blank, body = text.partition(b"\r\n\r\n")
        if self._ascii in (text[2:] if text.startswith(b"\r\n") else body if blank else b""):
            return True
        return self._header and not text.startswith(b"\r\n") and self._ascii in unfold_block(head)

    def _absent(self, text: bytes) -> bool:
        """The text is nowhere in a message (folded, ASCII) whose parts are what they look like: nothing that
        could become another text by being decoded. What only looks like a field is taken for one."""
        if b"&" in text and _HTML in text:  # character references
            return False
        if text.count(_CHARSET) != len(_LIKE_ASCII.findall(text)):
            return False
        encodings = text.count(_ENCODING)
        if encodings and encodings != len(_IDENTITY.findall(text)) + _attachments(text):
            return False
        if self._ascii is None:
            return True
        # In headers lines are unfolded, in bodies they are not.
        return self._ascii not in text and not (self._spaced and self._ascii in unfold_block(text))

    def _decoded(self, wire: bytes) -> bool:
        root = scan(wire)
        if self._header and self._wanted in fold(header_text(wire[: root.body])):
            return True
        finder = Finder(self._wanted)
        return any(finder.feed(fresh, piece) for fresh, piece in body_texts(wire, root, self._header))
