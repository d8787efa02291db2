"""What another process need not know at once: gathered for a moment, and told in few pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOMENT = 0.5  # seconds
SOME = 100  # accounts in one piece

Mail = dict[str, tuple[int, int]]
"""By account: how many messages came, and how many went."""


class Collected:
    """Mail that came and went. `tell` gets up to `SOME` accounts at a time. In the reactor thread only."""

    def __init__(self, reactor: Any, tell: Callable[[Mail], object]) -> None:
        self._reactor = reactor
        self._tell = tell
        self._mail: Mail = {}
        self._timer: Any = None

    def add(self, user: str, added: int, removed: int) -> None:
        before = self._mail.get(user, (0, 0))
        self._mail[user] = (before[0] + added, before[1] + removed)
        if self._timer is None:
            self._timer = self._reactor.callLater(MOMENT, self._out)

    def _out(self) -> None:
        self._timer = None
        items, self._mail = list(self._mail.items()), {}
        for begin in range(0, len(items), SOME):
            self._tell(dict(items[begin : begin + SOME]))

    def stop(self) -> None:
        """What was not told yet is not told any more: all accounts are looked at after a start."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
