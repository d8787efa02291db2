"""How far long work came, on a terminal: one line that is written over, and nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

EVERY = 0.1  # seconds
WIDTH = 24


class Progress:
    """`tell` as often as you like. clock: monotonic."""

    def __init__(self, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._clock = clock
        self._begun = clock()
        self._next = 0.0
        self._length = 0

    def tell(self, what: str, done: int, whole: int, messages: int) -> None:
        """`done` of `whole` in any unit; `messages` so far, in all."""
        if not self._shown or self._clock() < self._next:
            return
        now = self._clock()
        self._next = now + EVERY
        share = min(1.0, done / whole) if whole else 0.0
        bar = "#" * round(share * WIDTH)
        rate = messages / max(now - self._begun, 0.001)
        line = f"[{bar:<{WIDTH}}] {share:4.0%}  {messages} messages, {rate:.0f}/s  {what}"[:100]
        sys.stderr.write("\r" + line.ljust(self._length))
        sys.stderr.flush()
        self._length = len(line)

    def end(self) -> None:
        """Leave an empty line to whoever writes next."""
        if self._length:
            sys.stderr.write("\r" + " " * self._length + "\r")
            sys.stderr.flush()
            self._length = 0
