"""What failures cost: each is answered late, and more and more so (CASES D3).

Counted per address, IPv6 per /64. Until a failure has been answered, further attempts from there wait, right
or wrong: else a guesser would try on in parallel and hang up on every answer that does not come at once.
The first five failures cost `auth.failure_delay` each, then it doubles up to `auth.max_delay`. Ten minutes
without a failure, and the address is forgotten; each success halves the count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define

from mailserver.net.factory import network_of

FREE_OF_GROWTH = 5
FORGET_SECONDS = 600.0
MAX_NETWORKS = 10_000


@define
class _Entry:
    failures: int = 0
    until: float = 0.0  # when the last answer is due
    last: float = 0.0  # when the last failure was


class Penalties:
    """clock: monotonic seconds. settings: `.now.auth` tells the delays."""

    def __init__(self, settings: Any, clock: Callable[[], float], limit: int = MAX_NETWORKS) -> None:
        self._settings = settings
        self._clock = clock
        self._limit = limit
        self._entries: dict[str, _Entry] = {}  # least recently failed first
        self.told: Callable[[str, float], None] = lambda network, seconds: None  # other processes

    def __len__(self) -> int:
        return len(self._entries)

    def wait(self, ip: str) -> float:
        """Seconds an attempt from there has to wait before it is looked at; 0 mostly."""
        if not self._entries:
            return 0.0
        entry = self._entries.get(network_of(ip))
        return max(0.0, entry.until - self._clock()) if entry is not None else 0.0

    def failed(self, ip: str, started: float) -> float:
        """Count a failure of an attempt that was begun at `started`; seconds until it may be answered.

        The answer comes at a time that depends on the beginning, not on how long the check took (D1).
        """
        now = self._clock()
        network = network_of(ip)
        entry = self._count(network, now)
        entry.until = max(entry.until, started + self._delay(entry.failures))
        self._shrink(now)
        seconds = max(0.0, entry.until - now)
        self.told(network, seconds)
        return seconds

    def failed_elsewhere(self, network: str, seconds: float) -> None:
        """Another process has counted a failure, which it answers in `seconds`."""
        now = self._clock()
        entry = self._count(network, now)
        entry.until = max(entry.until, now + seconds)
        self._shrink(now)

    def _count(self, network: str, now: float) -> _Entry:
        entry = self._entries.pop(network, None)
        if entry is None or now - entry.last > FORGET_SECONDS:
            entry = _Entry()
        self._entries[network] = entry
        entry.failures += 1
        entry.last = now
        return entry

    def succeeded(self, ip: str) -> None:
        """A log-in from there was right."""
        if not self._entries:
            return
        network = network_of(ip)
        entry = self._entries.get(network)
        if entry is not None:
            entry.failures //= 2
            if not entry.failures and entry.until <= self._clock():
                del self._entries[network]

    def _delay(self, failures: int) -> float:
        auth = self._settings.now.auth
        doublings = min(max(0, failures - FREE_OF_GROWTH), 32)
        return float(min(auth.failure_delay * 2.0**doublings, max(auth.max_delay, auth.failure_delay)))

    def _shrink(self, now: float) -> None:
        while self._entries:
            network = next(iter(self._entries))
            if len(self._entries) <= self._limit and now - self._entries[network].last <= FORGET_SECONDS:
                return
            del self._entries[network]
