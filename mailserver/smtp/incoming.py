"""A message on its way in, as the engine sees it: size, stray line ends, over-long lines.

What breaks a rule is read to its real end all the same and refused there, so that no part of a message is
ever taken for a command (CASES A1 to A4).
"""

from __future__ import annotations

from mailserver.errors import MailError, MessageTooLarge
from mailserver.wire.buffer import LineBuffer
from mailserver.wire.dots import DotReader

MAX_BODY_LINE = 16_384  # RFC 5321, 4.5.3.1.6 says 1000; real mail has longer lines


class IncomingBody:
    """The state of one message. `dropped`: it has failed and that was told."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.reader = DotReader()
        self.size = 0
        self.dropped = False
        self._column = 0  # octets since the last line end
        self._long = False

    def take(self, buffer: LineBuffer) -> bytes:
        """The next piece of the text out of all that is in the buffer; what follows the end stays there."""
        piece = self.reader.feed(buffer.take(len(buffer)))
        if self.reader.finished:
            buffer.unread(self.reader.rest)
        self.size += len(piece)
        self._measure(piece)
        return piece

    def _measure(self, piece: bytes) -> None:
        """Look for a line longer than the limit: one `rfind` for each limit's worth of octets."""
        start, end = -self._column, len(piece)
        while end - start > MAX_BODY_LINE:
            newline = piece.rfind(b"\n", max(start, 0), start + MAX_BODY_LINE + 1)
            if newline < 0:
                self._long = True
                break
            start = newline + 1
        newline = piece.rfind(b"\n", max(start, 0))
        self._column = end - newline - 1 if newline >= 0 else end - start

    @property
    def failed(self) -> bool:
        return self.size > self.max_size or self.reader.bare or self._long

    def error(self) -> MailError | None:
        """What the whole message is refused for."""
        if self.size > self.max_size:
            return MessageTooLarge()
        if self.reader.bare:
            return MailError("Bare CR or LF in message text (RFC 5321, 2.3.8)", code=550, enhanced="5.5.2")
        if self._long:
            return MailError("Line too long in message text", code=554, enhanced="5.6.0")
        return None
