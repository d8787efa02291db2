"""A message on its way in, as the engine sees it: size, stray line ends, over-long lines.

What breaks a rule is read to its real end all the same and refused there, so that no part of a message is
ever taken for a command (CASES A1 to A4).
"""

from __future__ import annotations

from mailserver.errors import MailError, MessageTooLarge
from mailserver.wire.buffer import LineBuffer
from mailserver.wire.dots import DotReader
from mailserver.wire.lines import ends_in_pairs

MAX_BODY_LINE = 16_384  # RFC 5321, 4.5.3.1.6 says 1000; real mail has longer lines


class IncomingBody:
    """One message by DATA.

    size:    octets as far as it has come, dots unstuffed
    dropped: it has failed and that was told
    finished: no more octets are expected for now; `last`: nor any after these
    """

    last = True

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.size = 0
        self.dropped = False
        self._reader = DotReader()
        self._bare = False  # a CR or LF stood alone somewhere
        self._column = 0  # octets since the last line end
        self._long = False

    @property
    def finished(self) -> bool:
        return self._reader.finished

    def take(self, buffer: LineBuffer) -> bytes:
        """The next piece of the text out of all that is in the buffer; what follows the end stays there."""
        reader = self._reader
        piece = reader.feed(buffer.take(len(buffer)))
        if reader.finished:
            buffer.unread(reader.rest)
        self._bare = reader.bare
        self._count(piece)
        return piece

    def _count(self, piece: bytes) -> None:
        """Look for a line longer than the limit: one `rfind` for each limit's worth of octets."""
        self.size += len(piece)
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
        return self.size > self.max_size or self._bare or self._long

    def error(self) -> MailError | None:
        """What the whole message is refused for."""
        if self.size > self.max_size:
            return MessageTooLarge()
        if self._bare:
            return MailError("Bare CR or LF in message text (RFC 5321, 2.3.8)", code=550, enhanced="5.5.2")
        if self._long:
            return MailError("Line too long in message text", code=554, enhanced="5.6.0")
        return None


class ChunkedBody(IncomingBody):
    """One message by BDAT (RFC 3030): chunks of counted octets, in which a dot is a dot.

    last:    the chunk that `begin` announced is the last one
    refusal: why it is not wanted, where its octets are only read to be thrown away
    binary:  any octets will do, and are kept as they are (BODY=BINARYMIME)
    """

    def __init__(self, max_size: int, refusal: MailError | None = None, *, binary: bool = False) -> None:
        super().__init__(max_size)
        self.last = False
        self._refusal = refusal
        self._binary = binary
        self._left = 0
        self._cr = b""  # a CR that waits for what follows it

    def begin(self, size: int, last: bool) -> None:
        self._left, self.last = size, last
        self._bare = self._bare or (last and not size and bool(self._cr))

    @property
    def finished(self) -> bool:
        return self._left == 0

    def take(self, buffer: LineBuffer) -> bytes:
        taken = buffer.take(self._left)
        self._left -= len(taken)
        if self._binary:
            self.size += len(taken)
            return taken
        piece, self._cr = self._cr + taken, b""
        if piece.endswith(b"\r") and not (self.last and not self._left):
            piece, self._cr = piece[:-1], b"\r"
        self._bare = self._bare or not ends_in_pairs(piece)
        self._count(piece)
        return piece

    @property
    def failed(self) -> bool:
        return self._refusal is not None or super().failed

    def error(self) -> MailError | None:
        return self._refusal or super().error()
