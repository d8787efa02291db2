"""Commands cut out of the stream before any grammar: lines, literals, limits (RFC 3501, 4.3; RFC 7888).

A command is a line that may announce a literal at its end (`{5}`, `{5+}`), the literal, the rest of the line,
and so on. What is cut here is a whole command or nothing, so that whatever the grammar thinks of a command,
its literals are never read as commands (CASES H22). However the bytes come, the fragments are the same.

Nothing is buffered without limit: a literal is only taken when the owner says so, a longer line is reported
as soon as it is longer, and a literal that is refused is thrown away as it comes.
"""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

from mailserver.wire.buffer import cut

_LITERAL = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
HUGE = 1 << 63  # what a size that no number64 can hold counts as


@frozen
class FragmentLimits:
    """Octets: of one line with its CRLF, of one literal in memory, of a command in all."""

    line: int
    literal: int
    total: int


BEFORE_LOGIN = FragmentLimits(line=8192, literal=4096, total=8192)  # CASES H1, H6


def after_login(line: int) -> FragmentLimits:
    """`line`: limits.line. Sets of UIDs are long, and so may be what SEARCH looks for."""
    return FragmentLimits(line=line, literal=line, total=4 * line)


@frozen
class CommandRead:
    """A whole command: text, literal, text, literal, … text."""

    parts: tuple[bytes, ...]


@frozen
class LiteralAnnounced:
    """The command so far ends in `{size}`. Answer `take`, `stream`, `skip` or `forget`."""

    parts: tuple[bytes, ...]
    size: int
    synchronizing: bool


@frozen
class StreamChunk:
    """Octets of a literal after `stream`, as they come."""

    data: bytes


@frozen
class CommandSkipped:
    """The end of a command whose literal was skipped."""


@frozen
class LineOverlong:
    """A line, or a command in all, over its limit: the stream cannot be followed any more."""


Fragment = CommandRead | LiteralAnnounced | StreamChunk | CommandSkipped | LineOverlong


class _Reading(Enum):
    LINE = 1
    ANNOUNCED = 2  # waits for the owner's answer
    LITERAL = 3
    STREAM = 4
    BROKEN = 5


class Fragments:
    """`feed` bytes, then ask for the `next` fragment until it is None."""

    def __init__(self, limits: FragmentLimits) -> None:
        self.limits = limits
        self._data = bytearray()
        self._searched = 0  # no CRLF starts before this offset
        self._parts: list[bytes] = []
        self._total = 0
        self._reading = _Reading.LINE
        self._left = 0  # octets of the literal still to come
        self._skipping = False

    def __len__(self) -> int:
        """Octets that wait here."""
        return len(self._data) + self._total

    @property
    def held(self) -> int:
        """Octets of the command in progress, streamed ones aside."""
        return self._total

    def feed(self, data: bytes) -> None:
        if self._reading is not _Reading.BROKEN:
            self._data += data

    def clear(self) -> None:
        """Forget everything, also the fragment in progress (RFC 3501, 6.2.1: at STARTTLS)."""
        self._data.clear()
        self._restart()

    def take_waiting(self) -> bytes:
        """What was fed and is no part of a command yet. Between commands only."""
        waiting = bytes(self._data)
        self.clear()
        return waiting

    def _restart(self) -> None:
        self._searched = 0
        self._parts.clear()
        self._total = 0
        self._left = 0
        self._reading = _Reading.LINE
        self._skipping = False

    def next(self) -> Fragment | None:
        """The next fragment, or None where more bytes (or an answer) are needed."""
        if self._reading is _Reading.LITERAL and not self._fill_literal():
            return None
        if self._reading is _Reading.STREAM:
            chunk = self._cut(min(self._left, len(self._data)))
            self._left -= len(chunk)
            if not self._left:
                self._reading = _Reading.LINE
            if chunk:
                return StreamChunk(chunk)
        if self._reading is _Reading.LINE:
            return self._next_line()
        return None

    def line(self) -> bytes | LineOverlong | None:
        """One line that is no command: DONE, or a SASL response (RFC 3501, 7.5)."""
        return self._read_line()

    # --- answers to LiteralAnnounced --------------------------------------------------------------

    def take(self) -> None:
        """Keep the literal in memory as a part of the command."""
        self._reading = _Reading.LITERAL

    def stream(self) -> None:
        """Give the literal in chunks. The parts of the command that came before it are forgotten."""
        self._parts.clear()
        self._reading = _Reading.STREAM if self._left else _Reading.LINE

    def skip(self) -> None:
        """Throw away the literal and what is left of its command; CommandSkipped tells the end."""
        self._skipping = True
        self._parts.clear()
        self._total = 0
        self._reading = _Reading.LITERAL

    def forget(self) -> None:
        """The command ends here: the client does not send a synchronizing literal that was refused."""
        self._restart()

    # --- cutting ----------------------------------------------------------------------------------

    def _cut(self, count: int) -> bytes:
        self._searched = 0
        return cut(self._data, count)

    def _fill_literal(self) -> bool:
        """True once the literal is complete (or skipped)."""
        if self._skipping:
            self._left -= len(self._cut(min(self._left, len(self._data))))
            if self._left:
                return False
        else:
            if len(self._data) < self._left:
                return False
            self._keep(self._cut(self._left))
            self._left = 0
        self._reading = _Reading.LINE
        return True

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._total += len(part)

    def _read_line(self) -> bytes | LineOverlong | None:
        data = self._data
        end = data.find(b"\r\n", self._searched)
        room = min(self.limits.line, self.limits.total - self._total)
        if end < 0:
            self._searched = max(0, len(data) - 1)
            return self._break() if len(data) >= room else None
        if end + 2 > room:
            return self._break()
        line = bytes(data[:end])
        del data[: end + 2]
        self._searched = 0
        return line

    def _break(self) -> LineOverlong:
        self.clear()
        self._reading = _Reading.BROKEN
        return LineOverlong()

    def _next_line(self) -> Fragment | None:
        line = self._read_line()
        if line is None or isinstance(line, LineOverlong):
            return line
        literal = _LITERAL.search(line) if line.endswith(b"}") else None
        if literal is None:
            return self._complete(line)
        digits = literal[1].lstrip(b"0") or b"0"
        size = int(digits) if len(digits) < 20 else HUGE
        synchronizing = not literal[2]
        if self._skipping:
            return self._skip_more(size, synchronizing)
        self._keep(line[: literal.start()])
        self._left = size
        self._reading = _Reading.ANNOUNCED
        return LiteralAnnounced(tuple(self._parts), size, synchronizing)

    def _complete(self, line: bytes) -> Fragment:
        if self._skipping:
            self._restart()
            return CommandSkipped()
        parts = (*self._parts, line) if self._parts else (line,)
        self._parts.clear()
        self._total = 0
        return CommandRead(parts)

    def _skip_more(self, size: int, synchronizing: bool) -> Fragment | None:
        """A further literal of a command that is refused already: the client has been told, so it does
        not send one that waits for our word."""
        if synchronizing:
            self._restart()
            return CommandSkipped()
        self._left = size
        self._reading = _Reading.ANNOUNCED
        return LiteralAnnounced((), size, False)
