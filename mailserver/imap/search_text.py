"""SEARCH keys that look at whole messages: TEXT and BODY, transfer encodings and charsets undone."""

from __future__ import annotations

from mailserver.imap.search_source import REST, Rows, Source
from mailserver.imap.values import SearchText
from mailserver.message.headers import unfold_block
from mailserver.message.text import body_texts, fold, header_text


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


async def by_text(key: SearchText, rows: Rows, source: Source) -> Rows:
    wanted = fold(key.text)
    found: Rows = []
    octets = 0
    for row in rows:
        wire = await source.message(row)
        if wire is None:
            continue
        fits = not wanted or _plain_match(wire, wanted, key.header)
        octets += len(wire)
        if fits is None:
            fits = await _match(wire, wanted, key.header, source)
        if fits:
            found.append(row)
        if octets >= REST:
            await source.rest(octets)
            octets = 0
    await source.rest(octets)
    return found


def _plain_match(wire: bytes, wanted: str, header: bool) -> bool | None:
    """The answer for a message of plain ASCII text without any encoding; None where it takes more."""
    if len(wire) > REST or not wire.isascii():
        return None
    text = wire.lower()
    if b"=?" in text or b"\ncontent-t" in text or text.startswith(b"content-t"):
        return None
    if not wanted.isascii():
        return False
    head, blank, body = text.partition(b"\r\n\r\n")
    needle = wanted.encode("ascii")
    if needle in (text[2:] if text.startswith(b"\r\n") else body if blank else b""):
        return True
    return header and not text.startswith(b"\r\n") and needle in unfold_block(head)


async def _match(wire: bytes, wanted: str, header: bool, source: Source) -> bool:
    root = await source.scan(wire)
    if header and wanted in fold(header_text(wire[: root.body])):
        return True
    finder = Finder(wanted)
    octets = 0
    for fresh, piece in body_texts(wire, root, header):
        if finder.feed(fresh, piece):
            return True
        octets += len(piece)
        if octets >= REST:
            await source.rest(octets)
            octets = 0
    return False
