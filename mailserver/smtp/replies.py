"""Replies as bytes (RFC 5321, 4.2; enhanced codes RFC 2034, RFC 3463).

Whatever text a reply is made of (a client's name, a policy's words, another server's reply), it cannot
break out: it is cut into lines, every line carries the code, and what is not printable is replaced.
"""

from __future__ import annotations

import re

from mailserver.errors import MailError

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_WIDTH = 480  # RFC 5321, 4.5.3.1.5: 512 octets with code and CRLF
_MAX_LINES = 100


def encode(code: int, enhanced: str, text: str) -> bytes:
    """A reply of one or more lines. `enhanced` is "" where RFC 2034, 3 wants none (greeting, EHLO, 3yz)."""
    if text.isprintable() and text.isascii() and len(text) <= _WIDTH:
        separator = " " if enhanced else ""
        return f"{code} {enhanced}{separator}{text}\r\n".encode("ascii")
    prefix = f"{enhanced} " if enhanced else ""
    return lines(code, [prefix + line for line in _printable_lines(text)])


def lines(code: int, texts: list[str]) -> bytes:
    """A multi-line reply from lines that are printable ASCII already."""
    last = len(texts) - 1
    return "".join(
        f"{code}{' ' if number == last else '-'}{line}\r\n" for number, line in enumerate(texts)
    ).encode("ascii")


def _printable_lines(text: str) -> list[str]:
    made: list[str] = []
    for line in _LINE_ENDS.split(text):
        clean = _NOT_PRINTABLE.sub("?", line)
        made += [clean[at : at + _WIDTH] for at in range(0, len(clean), _WIDTH)] or [""]
        if len(made) >= _MAX_LINES:
            break
    return made[:_MAX_LINES]


def error(problem: MailError) -> bytes:
    """The reply for an error."""
    return encode(problem.code, problem.enhanced, problem.text)


OK = encode(250, "2.0.0", "Ok")
SENDER_OK = encode(250, "2.1.0", "Sender ok")
RECIPIENT_OK = encode(250, "2.1.5", "Recipient ok")
START_DATA = encode(354, "", "End data with <CR><LF>.<CR><LF>")
READY_FOR_TLS = encode(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = encode(235, "2.7.0", "Authentication successful")
CANNOT_VERIFY = encode(252, "2.5.2", "Cannot verify, but will take mail for users who exist here")
