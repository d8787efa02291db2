"""Transparency of the dot (RFC 5321, 4.5.2; RFC 1939, 3): `CRLF . CRLF` ends a text, other leading dots
are doubled. Both directions work on segments of any size, with searches and `replace` only.

Nothing but `CRLF . CRLF` is an end: a text with a bare CR or LF is read to its real end and marked, so
that no other server can take the same bytes for two messages (SMTP smuggling, CVE-2023-51764 and kin).
"""

from __future__ import annotations

from mailserver.wire.lines import ends_in_pairs

_END = b"\r\n.\r\n"


class DotReader:
    """Takes a dot-terminated text apart. Starts at the beginning of a line.

    finished:  the end was seen
    rest:      octets after the end, set when finished
    bare:      a CR or LF stood alone somewhere
    """

    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self.bare = False
        self._tail = b"\r\n"  # what may be the beginning of the end; at first the line end before the text
        self._skip = 2  # that line end is not part of the text

    def feed(self, data: bytes) -> bytes:
        """The next piece of the text, CRLF line ends, dots unstuffed. No piece ends inside a CRLF.

        Must not be called again once `finished`.
        """
        work = self._tail + data
        dotted = b"." in work and work.rfind(b"\r\n.") >= 0  # the quickest search for two octets or more
        end = work.find(_END) if dotted else -1
        if end >= 0:
            self.finished = True
            self.rest = work[end + 5 :]
            return self._clean(work[: end + 2], dotted)
        held = _held(work)
        self._tail = work[len(work) - held :]
        return self._clean(work[: len(work) - held], dotted)

    def _clean(self, piece: bytes, dotted: bool) -> bytes:
        if not ends_in_pairs(piece):
            self.bare = True
        if dotted:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if self._skip and piece:
            piece = piece[self._skip :]
            self._skip = 0
        return piece


def _held(work: bytes) -> int:
    """Length of the longest end of `work` that may begin `CRLF . CRLF`."""
    for length in (4, 3, 2, 1):
        if work.endswith(_END[:length]):
            return length
    return 0


class DotStuffer:
    """Doubles leading dots and ends the text.

    normalise: the text may have any line ends (LF of the disk, strays of other programs); all become CRLF.
    Without it the text must already be in wire form.
    """

    def __init__(self, *, normalise: bool = False) -> None:
        self._normalise = normalise
        self._line_start = True
        self._cr = False  # normalising: a CR at the end of the last piece waits for its LF

    def feed(self, data: bytes) -> bytes:
        """The wire form of the next piece."""
        if self._normalise:
            data = self._to_crlf(data)
        if not data:
            return b""
        stuffed = data.replace(b"\n.", b"\n..")
        if self._line_start and data[0] == 0x2E:
            stuffed = b"." + stuffed
        self._line_start = data[-1] == 0x0A
        return stuffed

    def finish(self) -> bytes:
        """What closes the text: a missing line end, and the dot."""
        tail = b""
        if self._cr:
            self._cr = False
            tail = b"\r\n"
        elif not self._line_start:
            tail = b"\r\n"
        self._line_start = True
        return tail + b".\r\n"

    def _to_crlf(self, data: bytes) -> bytes:
        if self._cr:
            data = b"\r" + data
            self._cr = False
        if b"\r" in data:
            if data[-1] == 0x0D:
                self._cr = True
                data = data[:-1]
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data.replace(b"\n", b"\r\n")
