"""INPROGRESS: what takes long is told of every 12 seconds (RFC 9585)."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

INTERVAL = 12.0  # seconds; 10 to 15 are recommended (RFC 9585, 4)
_LARGEST = 2**32 - 1


class Progress:
    """Around work during which nothing else is sent, for a response may stand between two others only.

    tag:        of the command; b"" where it is not known
    send:       sends a response; None where the client is to be told nothing
    call_later: `call_later(seconds, function)`, which can be cancelled
    done, goal: messages, while it is known how many there are; else the client is told that it goes on
    """

    def __init__(
        self,
        tag: bytes,
        send: Callable[[bytes], None] | None,
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.done = 0
        self.goal = 0
        self._tag = tag
        self._send = send
        self._call_later = call_later
        self._call: Any = None

    def __enter__(self) -> Progress:
        if self._send is not None:
            self._call = self._call_later(INTERVAL, self._tell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def begin(self, goal: int) -> None:
        """So many messages are to be gone through, beginning with the first."""
        self.done, self.goal = 0, goal

    def reach(self, done: int, goal: int) -> None:
        """[any thread] So many of so many are done."""
        self.done, self.goal = done, goal

    def _tell(self) -> None:
        assert self._send is not None
        self._call = self._call_later(INTERVAL, self._tell)
        self._send(response(self._tag, self.done, self.goal))


def response(tag: bytes, done: int, goal: int) -> bytes:
    """A goal is greater than what was reached (RFC 9585, 4)."""
    name = b"NIL" if not tag or b"]" in tag else b'"%b"' % tag
    if not 0 <= done < goal <= _LARGEST:
        return b"* OK [INPROGRESS (%b NIL NIL)] Still working on it\r\n" % name
    return b"* OK [INPROGRESS (%b %d %d)] Processed %d%% of the messages\r\n" % (
        name,
        done,
        goal,
        100 * done // goal,
    )
