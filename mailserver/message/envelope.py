"""ENVELOPE, BODY and BODYSTRUCTURE as FETCH sends them (RFC 3501, 7.4.2).

Strings are quoted where they are short ASCII and literals else; NUL, which neither may hold
(RFC 3501, 9: CHAR8), is left out. Sizes and line counts are those of the CRLF form, from a scan of
either form.
"""

from __future__ import annotations

import re

from mailserver.message.addresses import Address, parse_addresses
from mailserver.message.parameters import Parameters, joined, parse, without_comments
from mailserver.message.structure import Part

MAX_QUOTED = 4096
_NOT_PLAIN = re.compile(rb'[\x00\r\n\x80-\xff"\\]')
_NEEDS_ESCAPE = re.compile(rb'["\\]')
_NEEDS_LITERAL = re.compile(rb"[\x00\r\n\x80-\xff]")

_EXTENSION_FIELDS = (b"content-disposition", b"content-language", b"content-location")


def string(value: bytes) -> bytes:
    """A `string` (RFC 3501, 9)."""
    if _NOT_PLAIN.search(value) is None and len(value) <= MAX_QUOTED:
        return b'"%b"' % value
    if _NEEDS_LITERAL.search(value) is not None or len(value) > MAX_QUOTED:
        value = value.replace(b"\0", b"")
        if value.isascii() and len(value) <= MAX_QUOTED and _NEEDS_LITERAL.search(value) is None:
            return string(value)
        return b"{%d}\r\n%b" % (len(value), value)
    return b'"%b"' % _NEEDS_ESCAPE.sub(rb"\\\g<0>", value)


def nstring(value: bytes | None) -> bytes:
    """A `string`, or NIL for None."""
    return b"NIL" if value is None else string(value)


def _address(address: Address) -> bytes:
    return b"(%b %b %b %b)" % (
        nstring(address.name),
        nstring(address.route),
        nstring(address.mailbox),
        nstring(address.host),
    )


def _addresses(value: bytes | None) -> bytes:
    if not value:
        return b"NIL"
    found = parse_addresses(value)
    return b"(%b)" % b"".join([_address(a) for a in found]) if found else b"NIL"


def envelope(fields: dict[bytes, bytes]) -> bytes:
    """The ENVELOPE of a message with these header fields. Sender and Reply-To stand in for From."""
    get = fields.get
    sender = _addresses(get(b"from"))
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(get(b"date")),
        nstring(get(b"subject")),
        sender,
        _or(_addresses(get(b"sender")), sender),
        _or(_addresses(get(b"reply-to")), sender),
        _addresses(get(b"to")),
        _addresses(get(b"cc")),
        _addresses(get(b"bcc")),
        nstring(get(b"in-reply-to")),
        nstring(get(b"message-id")),
    )


def _or(value: bytes, default: bytes) -> bytes:
    return default if value == b"NIL" else value


class BodyWriter:
    """Writes BODY and BODYSTRUCTURE of the parts of one message, both in one go.

    data: the bytes that were scanned; `bare`: they have LF line ends, so each line is one octet longer
    on the wire.
    """

    def __init__(self, data: bytes, bare: bool) -> None:
        self._data = data
        self._bare = bare
        self._lines: dict[int, int] = {}  # part start -> lines of its body

    def write(self, part: Part) -> tuple[bytes, bytes]:
        """(BODY, BODYSTRUCTURE)"""
        if not part.is_multipart:
            return self._single(part)
        written = [self.write(inner) for inner in part.parts]
        sub = string(part.sub)
        return (
            b"(%b %b)" % (b"".join([body for body, _ in written]), sub),
            b"(%b %b %b%b)"
            % (
                b"".join([structure for _, structure in written]),
                sub,
                _parameters(part.parameters),
                _extension(part.fields),
            ),
        )

    def _single(self, part: Part) -> tuple[bytes, bytes]:
        """body-type-1part: text has lines, message/rfc822 envelope, structure and lines as well."""
        get = part.fields.get
        lines = self._lines_of(part)
        start = b"(%b %b %b %b %b %b %d" % (
            string(part.main),
            string(part.sub),
            _parameters(part.parameters),
            nstring(get(b"content-id")),
            nstring(get(b"content-description")),
            _encoding(get(b"content-transfer-encoding")),
            part.end - part.body + (lines if self._bare else 0),
        )
        end = b" %b%b)" % (nstring(get(b"content-md5")), _extension(part.fields))
        if part.is_message:
            inner = part.parts[0]
            body, structure = self.write(inner)
            start += b" " + envelope(inner.fields)
            return b"%b %b %d)" % (start, body, lines), b"%b %b %d%b" % (start, structure, lines, end)
        if part.main.lower() == b"text":
            start += b" %d" % lines
        return start + b")", start + end

    def _lines_of(self, part: Part) -> int:
        """LF in the body; inside nested messages each octet is counted once, not once a level."""
        lines = self._lines.get(part.start)
        if lines is None:
            if part.is_message:
                inner = part.parts[0]
                count = self._data.count
                within = self._lines_of(inner) if not inner.is_multipart else None
                if within is None:
                    lines = count(b"\n", part.body, part.end)
                else:
                    lines = count(b"\n", part.body, inner.body) + within
                    lines += count(b"\n", inner.end, part.end)
            else:
                lines = self._data.count(b"\n", part.body, part.end)
            self._lines[part.start] = lines
        return lines


def _encoding(value: bytes | None) -> bytes:
    if not value:
        return b'"7bit"'
    word = without_comments(value).strip()
    return string(word) if word else b'"7bit"'


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join(
        [b"%b %b" % (string(name), string(value)) for name, value in joined(parameters)]
    )


def _extension(fields: dict[bytes, bytes]) -> bytes:
    """Disposition, language, location, each with a space before it."""
    if fields.keys().isdisjoint(_EXTENSION_FIELDS):
        return b" NIL NIL NIL"
    value = fields.get(b"content-disposition")
    disposition = b"NIL"
    if value:
        word, parameters = parse(value)
        if word:
            disposition = b"(%b %b)" % (string(word), _parameters(parameters))
    language = b"NIL"
    value = fields.get(b"content-language")
    if value:
        tags = [tag.strip() for tag in without_comments(value).split(b",")]
        tags = [tag for tag in tags if tag]
        if len(tags) == 1:
            language = string(tags[0])
        elif tags:
            language = b"(%b)" % b" ".join([string(tag) for tag in tags])
    return b" %b %b %b" % (disposition, language, nstring(fields.get(b"content-location")))
