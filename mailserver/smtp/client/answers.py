"""Replies of a server, as a client reads them (RFC 5321, 4.2): bounded, whatever the server sends.

A reply that breaks the grammar or a limit raises `BadReply` and poisons the parser: what follows can not
be matched with commands any more, so the session is over.
"""

from __future__ import annotations

import re
from typing import NoReturn

from attrs import frozen

MAX_LINE = 4096  # RFC 5321, 4.5.3.1.5 says 512; real servers send links and policies
MAX_LINES = 128
MAX_REPLY = 64 * 1024

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|$)")
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "?")


class BadReply(Exception):
    """Not a reply, or one without end."""


@frozen
class Reply:
    """One reply. `lines` are the texts without code and enhanced code, free of control characters.

    enhanced: the enhanced code (RFC 2034) of the first line, "" where there is none or its class does not
    fit the reply code. local: made by this client, not received.
    """

    code: int
    lines: tuple[str, ...] = ()
    enhanced: str = ""
    local: bool = False

    @property
    def text(self) -> str:
        return " ".join(line for line in self.lines if line)

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600

    @property
    def status(self) -> str:
        """The enhanced code, or what RFC 3463 gives for the class alone."""
        return self.enhanced or f"{self.code // 100}.0.0"

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def local_reply(code: int, enhanced: str, text: str) -> Reply:
    """A reply that the client makes up where the server gave none."""
    return Reply(code, (text.translate(_CONTROLS),), enhanced, local=True)


class ReplyParser:
    """Bytes to replies. `feed`, then `next` until it answers None."""

    def __init__(self) -> None:
        self._data = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._code = b""
        self._broken = ""

    def clear(self) -> None:
        """Forget everything received so far (RFC 3207, 4.2)."""
        self._data = b""
        self._lines = []
        self._size = 0
        self._code = b""

    def feed(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data

    def next(self) -> Reply | None:
        """The next whole reply. Raises BadReply, then and ever after."""
        if self._broken:
            raise BadReply(self._broken)
        while True:
            end = self._data.find(b"\n")
            if end > MAX_LINE or (end < 0 and len(self._data) > MAX_LINE):
                self._break("a reply line longer than 4096 octets")
            if end < 0:
                return None
            line = self._data[:end]
            self._data = self._data[end + 1 :]
            # Some servers end lines with a bare LF; reading them so is harmless on this side.
            if self._add(line[:-1] if line.endswith(b"\r") else line):
                return self._finish()

    def _add(self, line: bytes) -> bool:
        """Take one line; True where the reply is whole."""
        match = _LINE.fullmatch(line)
        if match is None:
            self._break(f"not a reply: {line[:60]!r}")
        code, separator, text = match.groups()
        if self._code and code != self._code:
            self._break("reply codes differ within one reply")
        self._code = code
        self._lines.append(text or b"")
        self._size += len(line)
        if len(self._lines) > MAX_LINES or self._size > MAX_REPLY:
            self._break("a reply of too many lines")
        return separator != b"-"

    def _finish(self) -> Reply:
        code = int(self._code)
        texts = [line.decode("utf-8", "replace").translate(_CONTROLS).strip() for line in self._lines]
        self._lines, self._size, self._code = [], 0, b""
        first = _ENHANCED.match(texts[0])
        if first is None or first[1] != str(code)[0]:
            return Reply(code, tuple(texts))
        # RFC 2034, 4: the enhanced code stands in every line.
        lines = tuple(text[found.end() :] if (found := _ENHANCED.match(text)) else text for text in texts)
        return Reply(code, lines, f"{first[1]}.{int(first[2])}.{int(first[3])}")

    def _break(self, why: str) -> NoReturn:
        self._broken = why
        self.clear()
        raise BadReply(why)
