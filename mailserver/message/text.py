"""The readable text of a message: encoded words, transfer encodings and charsets undone (for SEARCH).

Never raises; linear; what it gives for one message is bounded by `MAX_TEXT` octets before decoding.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator

from mailserver.message.casemap import fold
from mailserver.message.charsets import decode
from mailserver.message.headers import unfold_block
from mailserver.message.parameters import get
from mailserver.message.structure import MAX_HEADER, Part
from mailserver.message.transfer import NOT_BASE64

__all__ = ["base64_bytes", "body_texts", "decode_words", "fold", "header_text"]

MAX_TEXT = 16 * 1024 * 1024
PIECE = 128 * 1024

_WORD = re.compile(rb"=\?([^?\x00-\x20]{1,80})\?([bBqQ])\?([^?\x00-\x20]*+)\?=")
# Not `?+` at the end: Python before 3.11.5 keeps the spaces there although no word follows them.
_WORDS = re.compile(rb"(=\?[^?\x00-\x20]{1,80}\?[bBqQ]\?[^?\x00-\x20]*+\?=)(?:[ \t\r\n]++(?==\?))?")


def base64_bytes(data: bytes) -> bytes:
    """What can be decoded of base64 text, whatever else stands in it (RFC 2045, 6.8)."""
    data = data.translate(None, NOT_BASE64)
    if len(data) % 4 == 1:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


def decode_words(value: bytes) -> str:
    """An unfolded header value with its encoded words decoded (RFC 2047). Neighbours in one charset are
    joined before decoding, since some software cuts characters in two."""
    if b"=?" not in value:
        return decode(value, None)
    out: list[str] = []
    pending: list[bytes] = []
    charset = b""
    at = 0
    for match in _WORDS.finditer(value):
        word = _WORD.fullmatch(match[1])
        if word is None:
            continue
        if match.start() > at or word[1].lower() != charset:
            out.append(_decoded(pending, charset))
            pending = []
            out.append(decode(value[at : match.start()], None))
            charset = word[1].lower()
        pending.append(_word_bytes(word[2], word[3]))
        at = match.end()
    out.append(_decoded(pending, charset))
    out.append(decode(value[at:], None))
    return "".join(out)


def _decoded(pieces: list[bytes], charset: bytes) -> str:
    # RFC 2231, 5: "charset*language"
    return decode(b"".join(pieces), charset.partition(b"*")[0].decode("latin-1")) if pieces else ""


def _word_bytes(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        return base64_bytes(text)
    return binascii.a2b_qp(text, header=True)


def header_text(block: bytes) -> str:
    """A whole header block, each field on one line, encoded words decoded."""
    return decode_words(unfold_block(block[:MAX_HEADER]))


def body_texts(data: bytes, root: Part, headers: bool = False) -> Iterator[tuple[bool, str]]:
    """The text of each part in order: bodies of text parts, headers of messages within; with `headers` those
    of all parts, file names and the like.

    Comes in pieces of about `PIECE` octets, so that a caller can rest between them; each with True where it
    begins a new text, False where it goes on with the last. data: what was scanned. Other media (images,
    archives) have no text.
    """
    for _, fresh, text in texts_below(data, root, headers):
        yield fresh, text


def texts_below(data: bytes, root: Part, headers: bool) -> Iterator[tuple[bool, bool, str]]:
    """As `body_texts`; each piece with True in front where it is of the body: the header of a part is not,
    that of a message within is (RFC 3501, 6.4.4: BODY and TEXT)."""
    budget = MAX_TEXT
    waiting: list[tuple[Part, bool]] = [(root, False)]
    while waiting and budget > 0:
        part, of_message = waiting.pop()
        if of_message or (headers and part is not root):
            yield of_message, True, header_text(data[part.start : part.body])
        if part.parts:
            waiting.extend((inner, part.is_message) for inner in reversed(part.parts))
        elif part.main.lower() in (b"text", b"message"):
            end = min(part.end, part.body + budget)
            budget -= end - part.body
            for fresh, text in part_texts(data, part, end):
                yield True, fresh, text


def part_texts(data: bytes, part: Part, end: int) -> Iterator[tuple[bool, str]]:
    """The text of a leaf's body up to `end`."""
    encoding = part.fields.get(b"content-transfer-encoding", b"").strip().lower()
    charset = get(part.parameters, b"charset")
    name = charset.decode("latin-1") if charset else None
    is_html = part.sub.lower() == b"html"
    at = part.body
    rest = b""
    fresh = True
    while at < end:
        cut = min(end, at + PIECE)
        if cut < end:  # at the end of a line, where there is one
            cut = data.rfind(b"\n", at, cut) + 1 or cut
        content = data[at:cut]
        if encoding == b"base64":
            content = rest + content.translate(None, NOT_BASE64)
            whole = len(content) // 4 * 4 if cut < end else len(content)
            content, rest = base64_bytes(content[:whole]), content[whole:]
        elif encoding == b"quoted-printable":
            content = binascii.a2b_qp(content)
        text = decode(content, name)
        yield fresh, html.unescape(text) if is_html and "&" in text else text
        at, fresh = cut, False
