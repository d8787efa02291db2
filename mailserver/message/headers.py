"""The header block of a message as bytes: where it ends, its fields with their offsets, unfolded values.

Everything up to the first empty line is header here, also lines that are no fields: what another program
might take for a field is never overlooked. Works on LF line ends (CRLF is understood), never raises, and
takes time linear in the block, whatever it holds (RFC 5322, 2.2; CASES C16).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"\r?\n")


@frozen
class Field:
    """One field. `name` is lower case, b"" for a line that is no field. `start` and `end` are offsets in the
    data that was scanned, line ends included; the value begins at `value`."""

    name: bytes
    start: int
    value: int
    end: int


def header_end(data: bytes) -> int:
    """Offset behind the last header line: of the empty line, or the length of `data` where there is none."""
    if data[:1] == b"\n" or data[:2] == b"\r\n":
        return 0
    lf = data.find(b"\n\n")
    crlf = data.find(b"\n\r\n", 0, lf + 1 if lf >= 0 else len(data))
    if crlf >= 0:
        return crlf + 1
    return lf + 1 if lf >= 0 else len(data)


def begins_with_field(data: bytes) -> bool:
    """Does the first line look like a header field, or is the block empty? Else the message has no header."""
    if not data or data[:1] == b"\n" or data[:2] == b"\r\n":
        return True
    return _NAME.match(data) is not None


def fields(data: bytes, end: int | None = None) -> Iterator[Field]:
    """The fields of `data[:end]` in order; `end` is as `header_end` gives it, by default just that."""
    stop = header_end(data) if end is None else end
    at = 0
    while at < stop:
        after = _line_end(data, at, stop)
        while after < stop and data[after] in b" \t":
            after = _line_end(data, after, stop)
        match = _NAME.match(data, at, after)
        if match is None:
            yield Field(b"", at, at, after)
        else:
            yield Field(match[1].lower(), at, match.end(), after)
        at = after


def _line_end(data: bytes, at: int, stop: int) -> int:
    newline = data.find(b"\n", at, stop)
    return stop if newline < 0 else newline + 1


def unfold(value: bytes) -> bytes:
    """A field's value on one line, blanks around it removed (RFC 5322, 2.2.3)."""
    return _FOLD.sub(b"", value).strip(b" \t\r")


def unfold_block(block: bytes) -> bytes:
    """A header block with each field on one line, ended by LF."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    return block.replace(b"\n ", b" ").replace(b"\n\t", b"\t")


_SPELLED: dict[bytes, bytes] = {}  # names as they were written lately, and what they mean
_SPELLINGS = 2000


def _spelling(written: bytes) -> bytes:
    """In lower case; "Subject : x" is obsolete but allowed (RFC 5322, 4.5)."""
    name = written.lower().rstrip()
    if len(_SPELLED) >= _SPELLINGS:
        _SPELLED.clear()
    if len(written) <= 40:
        _SPELLED[written] = name
    return name


def values_by_name(
    block: bytes, names: frozenset[bytes], joined: frozenset[bytes] = frozenset()
) -> dict[bytes, bytes]:
    """Unfolded values of the fields of these (lower-case) names: of each the first; of those in `joined`
    all, with a comma between. The way to many fields at once: a few microseconds a block."""
    found: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    spelled = _SPELLED.get
    for line in unfold_block(block).split(b"\n"):
        written, colon, value = line.partition(b":")
        name = spelled(written)
        if name is None:
            name = _spelling(written)
        if name not in names or not colon:
            continue
        if name not in found:
            found[name] = value.strip()
        elif name in joined:
            more.setdefault(name, [found[name]]).append(value.strip())
    for name, values in more.items():
        found[name] = b", ".join(values)
    return found


class Headers:
    """The header block of a message, for questions about single fields.

    end: offset of the empty line (or of the end); `body` begins behind it.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = header_end(data)

    def find(self, *names: bytes) -> list[Field]:
        """The fields of these (lower-case) names in order, found without a look at the others."""
        pattern = rb"(?im)^(?:" + b"|".join(re.escape(name) for name in names) + rb")[ \t]*:"
        found = []
        for match in re.finditer(pattern, self.data[: self.end]):
            after = _line_end(self.data, match.end(), self.end)
            while after < self.end and self.data[after] in b" \t":
                after = _line_end(self.data, after, self.end)
            name = match[0][:-1].strip(b" \t").lower()
            found.append(Field(name, match.start(), match.end(), after))
        return found

    def value(self, field: Field) -> bytes:
        """The unfolded value of a field."""
        return unfold(self.data[field.value : field.end])

    def get(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field of this name, None where there is none."""
        found = self.find(name)
        return self.value(found[0]) if found else None

    def get_all(self, name: bytes) -> list[bytes]:
        return [self.value(field) for field in self.find(name)]

    def count(self, name: bytes) -> int:
        """How many fields of this name: one pass of `bytes.count`."""
        block = self.data[: self.end].lower()
        needle = name + b":"
        return block.count(b"\n" + needle) + block.startswith(needle)

    def without(self, *names: bytes) -> bytes:
        """All of the data but these fields."""
        pieces, at = [], 0
        for field in self.find(*names):
            pieces.append(self.data[at : field.start])
            at = field.end
        pieces.append(self.data[at:])
        return b"".join(pieces)
