"""The words of a message, for an index that answers what a search for any text would find.

A word is a run of letters, digits and other characters between the marks and blanks (`_MARKS`) of a text
that was folded as a search folds it. So a text without marks is found in a message if and only if it is part
of one of its words; and a text with marks can only be found where its first piece ends a word, its last
piece begins one, and those between are words (`pieces`). Words are UTF-8 here, for which the same holds.

Nothing may change what is a word but `EDITION`: an index that was made by other rules is made anew.
"""

from __future__ import annotations

import re
import unicodedata

from mailserver.message.structure import scan
from mailserver.message.text import fold, header_text, texts_below

MAX_WORDS = 2 << 20  # octets of one message; real ones have some thousand
EDITION = f"2 {unicodedata.unidata_version}"

_ASCII_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())
_TO_BLANK = bytes.maketrans(_ASCII_MARKS, b" " * len(_ASCII_MARKS))
# Without these every sentence of Chinese or Japanese were one word.
_MARKS = re.compile("[\u00a0\u00ab\u00bb\u2000-\u206f\u3000-\u303f\uff01-\uff0f\uff1a-\uff20]+")


def _blanked(text: str) -> bytes:
    """Folded text as UTF-8 with a blank for each mark."""
    if not text.isascii():
        text = _MARKS.sub(" ", text)
    return text.encode("utf-8", "surrogatepass").translate(_TO_BLANK)


class _Words:
    """Collects the different words of texts that come in pieces."""

    def __init__(self) -> None:
        self.words: set[bytes] = set()
        self.octets = 0  # of the words, more or less
        self._open = b""  # the beginning of a word that the next piece may go on with

    def feed(self, fresh: bool, piece: str) -> None:
        """`fresh`: the piece begins another text."""
        if fresh:
            self.end()
        text = self._open + _blanked(fold(piece))
        whole, _, self._open = text.rpartition(b" ")
        new = set(whole.split()) - self.words
        self.words |= new
        self.octets += sum(map(len, new)) + len(self._open)

    def end(self) -> None:
        if self._open:
            self.words.add(self._open)
            self._open = b""

    def joined(self) -> bytes:
        """Words between line feeds, each with one on both sides."""
        self.end()
        return b"\n%b\n" % b"\n".join(self.words) if self.words else b""


def words_of(wire: bytes) -> tuple[bytes, bytes] | None:
    """Different words of the header (with those of parts) and of the body of a message with CRLF line ends,
    between line feeds (`pieces`): SEARCH TEXT looks in both, BODY in the second (RFC 3501, 6.4.4). None for a
    message that says too much."""
    root = scan(wire)
    header, body = _Words(), _Words()
    header.feed(True, header_text(wire[: root.body]))
    for in_body, fresh, piece in texts_below(wire, root, True):
        (body if in_body else header).feed(fresh, piece)
        if header.octets + body.octets > MAX_WORDS:
            return None
    return header.joined(), body.joined()


def pieces(text: str) -> tuple[list[bytes], bool]:
    """What to look for among words as `words_of` gives them, for a text that is searched for;
    and whether a message that has it certainly has the text. No pieces: words tell nothing of it."""
    blanked = _blanked(fold(text))
    words = blanked.split()
    if not words:
        return [], False
    opened, closed = blanked[:1] == b" ", blanked[-1:] == b" "
    last = len(words) - 1
    found = [
        (b"\n" if number or opened else b"") + word + (b"\n" if number < last or closed else b"")
        for number, word in enumerate(words)
    ]
    return found, not last and not opened and not closed
