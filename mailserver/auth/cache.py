"""Successful log-ins of the last minutes, so that a client's next connection need not pay for a hash.

An entry is a keyed hash over everything that made the log-in a success, the stored hash of the user
included: a changed password voids the entries made with the old one, without anybody telling (CASES D13).
The key is random and never leaves the process; neither a password nor anything to guess one by is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

MAX_ENTRIES = 20_000  # of 16 octets


class SuccessCache:
    """clock: monotonic seconds. seconds: how long an entry lives, asked each time (0: none is kept)."""

    def __init__(
        self, clock: Callable[[], float], seconds: Callable[[], float], limit: int = MAX_ENTRIES
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        self._key = os.urandom(32)
        self._entries: dict[bytes, float] = {}  # tag -> when it was made; oldest first

    def tag(self, *parts: bytes) -> bytes:
        """The name of an entry; different for different parts, however they are cut."""
        sizes = b"".join(len(part).to_bytes(4, "big") for part in parts)
        return hashlib.blake2b(sizes + b"".join(parts), digest_size=16, key=self._key).digest()

    def __contains__(self, tag: bytes) -> bool:
        made = self._entries.get(tag)
        return made is not None and self._clock() - made < self._seconds()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, tag: bytes) -> None:
        """Remember a success from now on."""
        seconds = self._seconds()
        if seconds <= 0:
            return
        now = self._clock()
        self._entries.pop(tag, None)
        self._entries[tag] = now
        while len(self._entries) > 1:
            oldest = next(iter(self._entries))
            if len(self._entries) <= self._limit and now - self._entries[oldest] < seconds:
                break
            del self._entries[oldest]
