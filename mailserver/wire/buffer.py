"""Input of a line protocol: CRLF-terminated lines and counted octets out of segments, bounded.

Only CRLF ends a line (RFC 5321, 2.3.8; RFC 1939, 3). A line longer than the limit is reported once and
thrown away as it comes, so that a client without a line end costs no memory; what follows its real end is
read normally. The same bytes give the same lines and errors, however they are cut into segments.
"""

from __future__ import annotations


class LineError(ValueError):
    """A line that is not taken; the rest of it up to its CRLF is dropped."""


class LineTooLong(LineError):
    """More octets than the limit, line end included."""


class BareLineFeed(LineError):
    """A line feed without a carriage return before it, inside or at the end of a line."""


class LineBuffer:
    """Bytes that came and were not taken yet.

    limit:      octets of a line with its CRLF (RFC 5321, 4.5.3.1.4); may be changed between lines
    strict_lf:  report a bare LF as `BareLineFeed`; else it stays inside the line that is returned
    """

    def __init__(self, limit: int, *, strict_lf: bool = False) -> None:
        self.limit = limit
        self._strict_lf = strict_lf
        self._data = bytearray()
        self._searched = 0  # no CRLF starts before this offset
        self._draining = False

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Append what came from the network."""
        self._data += data

    def line(self) -> bytes | None:
        """The next line without its CRLF, or None where more bytes are needed.

        Raises LineTooLong or BareLineFeed, once for each such line.
        """
        data = self._data
        if not data:
            return None
        end = data.find(b"\r\n", self._searched)
        if self._draining:
            return self._drain(end)
        if end < 0:
            self._unfinished()
            return None
        line = bytes(data[:end])
        del data[: end + 2]
        self._searched = 0
        if self._strict_lf and 0 <= line.find(b"\n") < self.limit:
            raise BareLineFeed
        if end + 2 > self.limit:
            raise LineTooLong
        return line

    def _unfinished(self) -> None:
        """No line end yet: is the line already wrong?"""
        data = self._data
        if self._strict_lf:
            feed = data.find(b"\n", max(0, self._searched - 1))
            if 0 <= feed < self.limit:
                self._start_draining()
                raise BareLineFeed
        if len(data) >= self.limit:
            self._start_draining()
            raise LineTooLong
        self._searched = max(0, len(data) - 1)

    def _start_draining(self) -> None:
        self._draining = True
        self._forget_all_but_cr()

    def _drain(self, end: int) -> bytes | None:
        if end < 0:
            self._forget_all_but_cr()
            return None
        del self._data[: end + 2]
        self._searched = 0
        self._draining = False
        return self.line()

    def _forget_all_but_cr(self) -> None:
        """A CR at the end may be the first half of the line end."""
        keep = self._data[-1:] == b"\r"
        self._data.clear()
        self._searched = 0
        if keep:
            self._data += b"\r"

    def startswith(self, prefix: bytes) -> bool:
        """Do the octets that wait begin with `prefix`?"""
        return self._data.startswith(prefix)

    def take(self, count: int) -> bytes:
        """Up to `count` octets, whatever they are."""
        self._searched = 0
        return cut(self._data, count)

    def unread(self, data: bytes) -> None:
        """Put octets back in front."""
        if data:
            self._data[:0] = data
            self._searched = 0

    def clear(self) -> None:
        """Forget everything, also the line in progress (RFC 3207, 4.2: at STARTTLS)."""
        self._data.clear()
        self._searched = 0
        self._draining = False


def cut(data: bytearray, count: int) -> bytes:
    """Up to `count` octets, taken away from the front."""
    if count >= len(data):
        taken = bytes(data)
        data.clear()
    else:
        taken = bytes(data[:count])
        del data[:count]
    return taken
