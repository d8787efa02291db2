"""Content transfer encodings undone slice by slice, and put on where text cannot carry a part (RFC 2045, 6).

Decoders take a part in slices of any size and give the same octets whatever the slices are, but for lines of
quoted-printable that are cut by a bare CR. They never fail: what is no base64 is passed over, what is no
quoted-printable stays as it is.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Protocol

from mailserver.message.parameters import without_comments
from mailserver.message.structure import Part, scan

NOT_BASE64 = bytes(c for c in range(256) if not (chr(c).isalnum() and c < 128) and c not in b"+/")
_ENCODING = re.compile(rb"^content-transfer-encoding[ \t]*:[^\n]*+\n(?:[ \t][^\n]*+\n)*+", re.I | re.M)
_LINE = 57  # octets: 76 characters of base64


class UnknownEncoding(Exception):
    """A content transfer encoding that nobody here can undo."""


class Decoder(Protocol):
    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes:
        """What was held back."""


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Base64:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        text = self._rest + data.translate(None, NOT_BASE64)
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        return binascii.a2b_base64(text[:whole])

    def finish(self) -> bytes:
        text, self._rest = self._rest, b""
        if len(text) < 2:
            return b""
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


class _QuotedPrintable:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Up to the last line end; in a line without end, up to an escape that may be unfinished."""
        text = self._rest + data
        cut = text.rfind(b"\n") + 1
        if not cut:
            equals = text.find(b"=", max(0, len(text) - 2))
            cut = equals if equals >= 0 else len(text)
        self._rest = text[cut:]
        return binascii.a2b_qp(text[:cut])

    def finish(self) -> bytes:
        text, self._rest = self._rest, b""
        return binascii.a2b_qp(text)


_DECODERS: dict[bytes, type[_Identity] | type[_Base64] | type[_QuotedPrintable]] = {
    b"": _Identity,
    b"7bit": _Identity,
    b"8bit": _Identity,
    b"binary": _Identity,
    b"base64": _Base64,
    b"quoted-printable": _QuotedPrintable,
}


def encoding_of(part: Part) -> bytes:
    """In lower case. Messages and multiparts have none (RFC 2045, 6.4)."""
    if part.is_multipart or part.is_message:
        return b""
    return without_comments(part.fields.get(b"content-transfer-encoding", b"")).strip(b" \t\r\n").lower()


def decoder(encoding: bytes) -> Decoder:
    """Raises UnknownEncoding."""
    made = _DECODERS.get(encoding)
    if made is None:
        raise UnknownEncoding
    return made()


def decode(encoding: bytes, data: bytes) -> bytes:
    """All of a part. Raises UnknownEncoding."""
    one = decoder(encoding)
    return one.feed(data) + one.finish()


# --- binary content on its way in (RFC 3516, 4.4) -------------------------------------------------


def storable(message: bytes) -> Iterator[bytes]:
    """The message in pieces without NUL, and with line ends only where lines end: parts that are binary
    become base64, the rest stays as it is. Raises UnknownEncoding where something would be lost."""
    at = 0
    root = scan(message)
    for part in _binary_leaves(message, root):
        yield _without_nul(message[at : part.start])
        yield _without_nul(with_encoding(message[part.start : part.body], b"base64", whole=part is root))
        yield base64_lines(decode(encoding_of(part), message[part.body : part.end]))
        at = part.end
    yield _without_nul(message[at:])


def _binary_leaves(message: bytes, root: Part) -> Iterator[Part]:
    """Leaves, in order, whose octets are no lines of text."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.parts:
            waiting.extend(reversed(part.parts))
            continue
        if message.find(b"\0", part.body, part.end) >= 0 or (
            encoding_of(part) == b"binary"
            and message.count(b"\n", part.body, part.end) != message.count(b"\r\n", part.body, part.end)
        ):
            yield part


def _without_nul(text: bytes) -> bytes:
    """Raises UnknownEncoding: a NUL outside the leaves cannot be kept."""
    if b"\0" in text:
        raise UnknownEncoding
    return text


def with_encoding(header: bytes, encoding: bytes, *, whole: bool) -> bytes:
    """The header of a part (CRLF) with another content transfer encoding. whole: it is that of the message,
    which says that it is MIME."""
    header = _ENCODING.sub(b"", header)
    blank = header.rfind(b"\n", 0, max(0, len(header) - 1)) + 1
    version = b"" if not whole or b"mime-version" in header.lower() else b"MIME-Version: 1.0\r\n"
    label = b"Content-Transfer-Encoding: " + encoding
    return b"%b%b%b\r\n%b" % (header[:blank], version, label, header[blank:] or b"\r\n")


def base64_lines(data: bytes) -> bytes:
    """Lines of base64, the last one without its end: that belongs to what follows."""
    lines = [binascii.b2a_base64(data[at : at + _LINE], newline=False) for at in range(0, len(data), _LINE)]
    return b"\r\n".join(lines)
