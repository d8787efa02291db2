"""Names for messages: short, unique, sortable by time; they stand in the log, in Received and in replies.

Fourteen characters: eleven for the microsecond, three that tell processes apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # 32 digits in ASCII order, without i, l, o, u
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


def base32(number: int, width: int) -> str:
    """`number` with exactly `width` digits that sort as the numbers do."""
    text = ""
    while len(text) < width:
        text = _PAIRS[number & 1023] + text
        number >>= 10
    return text[-width:]


class MessageIds:
    """Ids of one process. A clock that is set back gives ids that go on from the last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0
        self._process = base32(secrets.randbits(15), 3)

    def new(self) -> str:
        self._last = max(self._last + 1, int(self._clock() * 1_000_000))
        return base32(self._last, 11) + self._process
