"""Work that connections have put off to a later turn of the reactor: in order, and only some of it in each.

A connection with much to do (a long FETCH, pipelined commands) does some of it and lets others have their
turn. When many do so, all of theirs together must not make one long turn either.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

TURN = 0.010  # seconds of such work before other events of the reactor get their turn


class Turns:
    """clock: seconds that pass while a call runs."""

    def __init__(self, reactor: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()

    def later(self, call: Callable[[], None]) -> None:
        """`call` in a later turn. It must not raise."""
        if not self._waiting:
            self._reactor.callLater(0, self._run)
        self._waiting.append(call)

    def _run(self) -> None:
        """What waited when the turn began, as far as the time goes."""
        limit = self._clock() + TURN
        for _ in range(len(self._waiting)):
            call = self._waiting[0]
            try:
                call()
            finally:
                self._waiting.popleft()  # after the call: what that puts off does not wake the reactor again
            if self._clock() >= limit:
                break
        if self._waiting:
            self._reactor.callLater(0, self._run)
