"""A surrogate for clients without UTF-8: the header of an internationalized message in ASCII.

RFC 6856, 2.1 forbids to send such a header as it is to a client that did not ask for UTF-8. In the manner of
RFC 6858: names and subject become encoded words (RFC 2047), an address that has no ASCII form is replaced by
one that cannot be answered, what has no other form is left out. The body stays as it is; so does a header
that is 8-bit but not UTF-8, which no rule of these covers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from mailserver.message.addresses import GROUP_END, Address, parse_addresses

NO_ADDRESS = b"invalid@internationalized-address.invalid"
_ADDRESSES = frozenset(
    prefix + name
    for prefix in (b"", b"resent-")
    for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
)
_TEXT = frozenset((b"subject", b"comments", b"keywords", b"content-description", b"list-id", b"organization"))
_PARAMETERS = frozenset((b"content-type", b"content-disposition"))
_PARAMETER = re.compile(rb';[ \t\r\n]*+[^;"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"?+[^;"]*+)*+', re.DOTALL)
_FIELD = re.compile(rb"[^\n]++(?:\n[ \t][^\n]*+)*+\n?+")
_UNFOLD = re.compile(rb"\r?\n(?=[ \t])")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_WORD = 39  # octets of an encoded word's text: 52 in base64, 64 in all (RFC 2047, 2: at most 75)
_LINE = 62  # octets of a name and address that stand on one line
_GAP = b"\r\n\r\n"


def surrogate(message: bytes) -> bytes:
    """The message, or its beginning with all of the header, for a client without UTF-8 (wire form)."""
    if message.isascii() or message.startswith(b"\r\n"):
        return message
    end = message.find(_GAP) + 2
    if end < 2:
        end = len(message)
    header = message[:end]
    if header.isascii() or not _is_utf8(header):
        return message
    return b"".join(_fields(header)) + message[end:]


def _is_utf8(header: bytes) -> bool:
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _fields(header: bytes) -> Iterator[bytes]:
    for match in _FIELD.finditer(header):
        field = match[0]
        if field.isascii():
            yield field
            continue
        name, colon, value = field.partition(b":")
        if not colon or not name.isascii():
            continue
        kind = name.strip(b" \t").lower()
        if kind in _ADDRESSES:
            yield name + b": " + b",\r\n ".join(_addresses(_unfold(value))) + b"\r\n"
        elif kind in _TEXT:
            yield name + b": " + _words(_unfold(value)) + b"\r\n"
        elif kind in _PARAMETERS:
            yield name + b":" + _without_parameters(value)


def _unfold(value: bytes) -> bytes:
    return _CONTROL.sub(b" ", _UNFOLD.sub(b"", value)).strip(b" ")


def _words(text: bytes) -> bytes:
    """Encoded words of whole characters, one a line (RFC 2047, 5)."""
    words: list[bytes] = []
    at = 0
    while at < len(text):
        end = at + _WORD
        while end < len(text) and text[end] & 0xC0 == 0x80:
            end -= 1
        words.append(b"=?utf-8?B?" + base64.b64encode(text[at:end]) + b"?=")
        at = end
    return b"\r\n ".join(words)


def _addresses(value: bytes) -> Iterator[bytes]:
    """Addresses of a list. A group (RFC 5322, 3.4) gives up its frame: its members stay."""
    empty = True
    for address in parse_addresses(value):
        if address is GROUP_END or address.host is None:
            continue
        empty = False
        yield _address(address)
    if empty:
        yield b"undisclosed-recipients:;"


def _address(address: Address) -> bytes:
    plain = (address.mailbox or b"") + b"@" + (address.host or b"")
    name = address.name or b""
    if not plain.isascii():
        name = name or plain
        plain = NO_ADDRESS
    if name and name.isascii():
        escaped = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return b'"' + escaped + b'" <' + plain + b">"
    if not name:
        return plain
    words = _words(name)
    return words + (b" <" if len(words) + len(plain) < _LINE else b"\r\n <") + plain + b">"


def _without_parameters(value: bytes) -> bytes:
    """A MIME field without the parameters that are not ASCII."""
    kept = _PARAMETER.sub(lambda match: match[0] if match[0].isascii() else b"", value).rstrip(b"\r\n")
    return (kept if kept.isascii() else b" application/octet-stream") + b"\r\n"
