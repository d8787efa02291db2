"""Structured header values of MIME: `type/subtype; name=value …` (RFC 2045, 5.1; RFC 2183, 2).

Never raises. Comments are dropped, quoting is undone; values that RFC 2231 has cut in pieces are `joined` for
BODYSTRUCTURE. Linear in the length of the value, and at most `MAX_PARAMETERS` parameters are kept.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_PARAMETERS = 200
_SHORT = 100  # octets of a value that is worth being remembered

Parameters = tuple[tuple[bytes, bytes], ...]

_PARAMETER = re.compile(
    rb"""[ \t\r\n]*+;[ \t\r\n;]*+              # one or more semicolons
         ([^\x00-\x20=;"()]++)[ \t\r\n]*+=[ \t\r\n]*+
         (?:"([^"\\]*+(?:\\.[^"\\]*+)*+)("?)  # a quoted value, perhaps not closed
           |([^;"]*+))""",
    re.VERBOSE | re.DOTALL,
)
_SEPARATORS = re.compile(rb"[ \t\r\n;]*+")
_NEXT = re.compile(rb';|"(?:[^"\\]++|\\.)*+"?+', re.DOTALL)
_TOKEN = re.compile(rb"[^\x00-\x20()<>@,;:\\\"/\[\]?=]++")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def unquote(text: bytes) -> bytes:
    """The inside of a quoted string without its backslashes (RFC 5322, 3.2.4)."""
    return _QUOTED_PAIR.sub(rb"\1", text) if b"\\" in text else text


def without_comments(value: bytes) -> bytes:
    """The value with each comment (RFC 5322, 3.2.2) replaced by a space; quoted strings are kept."""
    if b"(" not in value:
        return value
    kept: list[bytes] = []
    depth = 0
    for piece in _COMMENT_PIECES.findall(value):
        if piece == b"(":
            depth += 1
            if depth == 1:
                kept.append(b" ")
        elif piece == b")" and depth:
            depth -= 1
        elif not depth:
            kept.append(piece)
        elif piece[:1] == b'"' and len(piece) > 1:
            # Inside a comment a quote is an ordinary character: look at what it seemed to hold.
            depth = max(0, depth + piece.count(b"(") - piece.count(b")"))
    return b"".join(kept)


_COMMENT_PIECES = re.compile(rb'[^()"\\]++|\\.|"(?:[^"\\]++|\\.)*+"|.', re.DOTALL)


def parse(value: bytes) -> tuple[bytes, Parameters]:
    """`(first word, parameters)` of a value such as Content-Disposition's; the word may be empty."""
    return _parsed_lately(value) if len(value) <= _SHORT else _parsed(value)


def _parsed(value: bytes) -> tuple[bytes, Parameters]:
    value = without_comments(value)
    head, semicolon, _ = value.partition(b";")
    word = head.strip()
    if not semicolon:
        return word, ()
    found: list[tuple[bytes, bytes]] = []
    at = len(head)
    while at < len(value) and len(found) < MAX_PARAMETERS:
        match = _PARAMETER.match(value, at)
        if match is None:
            at = _next_semicolon(value, _SEPARATORS.match(value, at).end())  # type: ignore[union-attr]
            if at < 0:
                break
            continue
        name, quoted, _, plain = match.groups()
        found.append((name, plain.rstrip() if quoted is None else unquote(quoted)))
        at = match.end()
        if not value.startswith(b";", at):
            at = _next_semicolon(value, at)
            if at < 0:
                break
    return word, tuple(found)


_parsed_lately = lru_cache(maxsize=1000)(_parsed)  # most messages say one of a few things


def _next_semicolon(value: bytes, at: int) -> int:
    """The next `;` outside of quotes, or -1."""
    for match in _NEXT.finditer(value, at):
        if match[0] == b";":
            return match.start()
    return -1


def parse_content_type(value: bytes) -> tuple[bytes, bytes, Parameters] | None:
    """(type, subtype, parameters), or None where the value is no media type (RFC 2045, 5.2: then it is
    to be taken for text/plain)."""
    word, parameters = parse(value)
    main, _, sub = word.partition(b"/")
    main, sub = main.strip(), sub.strip()
    if _TOKEN.fullmatch(main) is None:
        return None
    token = _TOKEN.match(sub)
    if token is None:
        return None
    return main, token[0], parameters


def get(parameters: Parameters, name: bytes) -> bytes | None:
    """The value of a parameter by its lower-case name. RFC 2231 pieces are not joined."""
    for key, value in parameters:
        if key.lower() == name:
            return value
    return None


# --- continuations (RFC 2231, 3, 4.1) -------------------------------------------------------------

_PIECE = re.compile(rb"([^*]+)\*(0|[1-9][0-9]{0,2})(\*?)")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")


def joined(parameters: Parameters) -> Parameters:
    """Values that were cut in pieces as one, where the first piece stands: `name*0`, `name*1` become `name`;
    with a piece in percent-encoding `name*`, all of it encoded. Pieces without a beginning stay."""
    pieces: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in parameters:
        match = _PIECE.fullmatch(name)
        if match is not None:
            pieces.setdefault(match[1].lower(), {}).setdefault(int(match[2]), (value, bool(match[3])))
    if not pieces:
        return parameters
    made: list[tuple[bytes, bytes]] = []
    told: set[bytes] = set()
    for name, value in parameters:
        match = _PIECE.fullmatch(name)
        found = {} if match is None else pieces[match[1].lower()]
        if match is None or 0 not in found:
            made.append((name, value))
        elif int(match[2]) == 0 and match[1].lower() not in told:
            told.add(match[1].lower())
            made.append(_join(match[1], found))
        elif int(match[2]) >= _run(found):
            made.append((name, value))
    return tuple(made)


def _run(pieces: dict[int, tuple[bytes, bool]]) -> int:
    """How many pieces follow one another from the first."""
    return next(number for number in range(len(pieces) + 1) if number not in pieces)


def _join(name: bytes, pieces: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    values = [pieces[number] for number in range(_run(pieces))]
    if not any(encoded for _, encoded in values):
        return name, b"".join([value for value, _ in values])
    text = [value if encoded else _percent(value) for value, encoded in values]
    charset = b"" if values[0][1] else b"''"  # none was told
    return name + b"*", charset + b"".join(text)


def _percent(value: bytes) -> bytes:
    return b"".join([bytes((octet,)) if octet in _PLAIN else b"%%%02X" % octet for octet in value])
