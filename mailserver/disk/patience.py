"""How long somebody waits for a disk that does not answer.

Such a disk holds the thread that writes, and all that was handed to it (CASES F15). After a while those who
wait are told so, as a temporary failure. What was not begun by then is never done; what was may come to its
end when the disk is back, and is then there though its sender was told to come again: twice perhaps, but
never lost, and nobody was told a success before it was one. There are no more threads than before.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from mailserver.errors import DiskStuck

SECONDS = 30.0


class Promise:
    """What comes of something, told in the reactor thread.

    given_up: it was told already that nothing may come of it; threads look at this.
    """

    __slots__ = ("deferred", "error", "given_up", "result", "settled")

    def __init__(self) -> None:
        self.deferred: Deferred[Any] = Deferred()
        self.result: Any = None
        self.error: Exception | None = None
        self.settled = False
        self.given_up = False

    def fire(self) -> None:
        if self.settled:
            return
        self.settled = True
        if self.error is not None:
            self.deferred.errback(self.error)
        else:
            self.deferred.callback(self.result)

    def hopeless(self) -> bool:
        """The time is over: is there nothing to wait for? Else it begins anew."""
        return True

    def give_up(self) -> None:
        self.given_up = True
        self.error = DiskStuck(cause="the disk does not answer")
        self.fire()


class Patience:
    """For promises that are kept about in the order in which they are watched. In the reactor thread."""

    def __init__(self, reactor: Any, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._reactor = reactor
        self._watched: deque[tuple[float, Promise]] = deque()
        self._timer: IDelayedCall | None = None

    def watch(self, promise: Promise) -> None:
        self._watched.append((self._reactor.seconds() + self.seconds, promise))
        if self._timer is None:
            self._timer = self._reactor.callLater(self.seconds, self._look)

    def trim(self) -> None:
        """Some were kept: they are forgotten."""
        while self._watched and self._watched[0][1].settled:
            self._watched.popleft()

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._watched and (self._watched[0][1].settled or self._watched[0][0] <= now):
            _, promise = self._watched.popleft()
            if promise.settled:
                continue
            if promise.hopeless():
                promise.give_up()
            else:
                self._watched.append((now + self.seconds, promise))
        if self._watched:
            self._timer = self._reactor.callLater(max(0.0, self._watched[0][0] - now), self._look)
