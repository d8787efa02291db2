"""Replies as bytes (RFC 1939, 3; RFC 2449, 3 and 8; RFC 3206).

No text can break out of its line: line ends and other control characters are replaced, and what begins with
"[" without being a response code gets a blank in front (RFC 2449, 8).
"""

from __future__ import annotations

from collections.abc import Sequence

from mailserver import __version__
from mailserver.errors import MailError
from mailserver.pop3.events import Options
from mailserver.wire.dots import DotStuffer
from mailserver.wire.sasl import encode_base64

_WIDTH = 480  # octets of text; RFC 2449, 3: 512 with status, response code and CRLF
_END = b".\r\n"
_CAPABILITIES = (
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",  # RFC 3206
    "PIPELINING",
    "EXPIRE NEVER",
    "UTF8 USER",
    "LANG",
)


def ok(text: str) -> bytes:
    return b"+OK " + _line(text) + b"\r\n"


def err(text: str, code: str | None = None) -> bytes:
    """-ERR, with a response code (RFC 2449, 8) where one is given."""
    return b"-ERR " + (f"[{code}] ".encode("ascii") if code else b"") + _line(text) + b"\r\n"


def error(problem: MailError, text: str) -> bytes:
    """-ERR for an error; `text` is its text in the client's language."""
    return err(text, problem.pop3)


def challenge(data: bytes) -> bytes:
    """A server challenge (RFC 5034, 4)."""
    return b"+ " + encode_base64(data) + b"\r\n"


def multi_line(text: str, lines: Sequence[str]) -> bytes:
    """A short multi-line reply (RFC 1939, 3)."""
    body = "".join(f".{line}\r\n" if line.startswith(".") else f"{line}\r\n" for line in lines)
    return ok(text) + body.encode("utf-8") + _END


def message(text: str, data: bytes) -> bytes:
    """A message in wire form as a multi-line reply, dots stuffed (RFC 1939, 3)."""
    if b"\n." not in data and data[-2:] == b"\r\n" and data[0] != 0x2E:  # nearly all of them
        return b"".join((b"+OK ", text.encode("utf-8"), b"\r\n", data, _END))
    stuffer = DotStuffer()
    return ok(text) + stuffer.feed(data) + stuffer.finish()


def capabilities(options: Options, logged_in: bool) -> list[str]:
    """The lines of CAPA. What can be used before log-in is announced after it as well (RFC 2449, 5); the
    version is told to users only (6.9)."""
    lines = list(_CAPABILITIES)
    if options.starttls and not options.secure:
        lines.append("STLS")
    if "PLAIN" in options.mechanisms:
        lines.append("USER")
    if options.mechanisms:
        lines.append("SASL " + " ".join(options.mechanisms))
    if logged_in:
        lines.append(f"IMPLEMENTATION mailserver-{__version__}")
    return lines


def _line(text: str) -> bytes:
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if text.startswith("["):
        text = " " + text
    line = text.encode("utf-8", "replace")
    return line if len(line) <= _WIDTH else line[:_WIDTH].decode("utf-8", "ignore").encode("utf-8")
