"""What failures cost: each is answered late, and more and more so (CASES D3).

Counted per address, IPv6 per /64. Until a failure has been answered, further attempts from there wait, right
or wrong: else a guesser would try on in parallel and hang up on every answer that does not come at once.
The first five failures cost `auth.failure_delay` each, then it doubles up to `auth.max_delay`. Ten minutes
without a failure, and the address is forgotten; each success halves the count.

Who guesses at one name from many addresses meets the count of the name: its first `auth.user_failures` cost
nothing more, then the same delays begin, for the name's owner as well. So nobody can be locked out: what an
attempt waits is `auth.max_delay` at the most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define

from mailserver.net.factory import network_of

FREE_OF_GROWTH = 5
FORGET_SECONDS = 600.0
MAX_NETWORKS = 10_000  # and names
MAX_NAME = 256
_NAME = "user "


@define
class _Entry:
    failures: int = 0
    until: float = 0.0  # when the last answer is due
    last: float = 0.0  # when the last failure was


_Entries = dict[str, _Entry]  # least recently failed first


class Penalties:
    """clock: monotonic seconds. settings: `.now.auth` tells the delays."""

    def __init__(self, settings: Any, clock: Callable[[], float], limit: int = MAX_NETWORKS) -> None:
        self._settings = settings
        self._clock = clock
        self._limit = limit
        self._networks: _Entries = {}
        self._names: _Entries = {}
        self.told: Callable[[str, float], None] = lambda network, seconds: None  # other processes

    def __len__(self) -> int:
        return max(len(self._networks), len(self._names))

    def wait(self, ip: str, name: str = "") -> float:
        """Seconds an attempt from there, with this name, has to wait before it is looked at; 0 mostly."""
        if not self._networks and not self._names:
            return 0.0
        found = (self._networks.get(network_of(ip)), self._names.get(_key(name)))
        now = self._clock()
        return max(0.0, max((entry.until - now for entry in found if entry is not None), default=0.0))

    def failed(self, ip: str, started: float, name: str = "") -> float:
        """Count a failure of an attempt that was begun at `started`; seconds until it may be answered.

        The answer comes at a time that depends on the beginning, not on how long the check took (D1).
        """
        network = network_of(ip)
        seconds = self._failed(self._networks, network, started, 0)
        if name:
            free = self._settings.now.auth.user_failures
            seconds = max(seconds, self._failed(self._names, _key(name), started, free))
        return seconds

    def _failed(self, entries: _Entries, key: str, started: float, free: int) -> float:
        now = self._clock()
        entry = self._count(entries, key, now)
        if entry.failures > free:
            entry.until = max(entry.until, started + self._delay(entry.failures - free))
        self._shrink(entries, now)
        seconds = max(0.0, entry.until - now)
        self.told(key, seconds)
        return seconds

    def failed_elsewhere(self, key: str, seconds: float) -> None:
        """Another process has counted a failure, which it answers in `seconds`."""
        now = self._clock()
        entries = self._names if key.startswith(_NAME) else self._networks
        entry = self._count(entries, key, now)
        entry.until = max(entry.until, now + seconds)
        self._shrink(entries, now)

    def _count(self, entries: _Entries, key: str, now: float) -> _Entry:
        entry = entries.pop(key, None)
        if entry is None or now - entry.last > FORGET_SECONDS:
            entry = _Entry()
        entries[key] = entry
        entry.failures += 1
        entry.last = now
        return entry

    def succeeded(self, ip: str) -> None:
        """A log-in from there was right. The count of the name stays: others may be guessing at it."""
        if not self._networks:
            return
        network = network_of(ip)
        entry = self._networks.get(network)
        if entry is not None:
            entry.failures //= 2
            if not entry.failures and entry.until <= self._clock():
                del self._networks[network]

    def _delay(self, failures: int) -> float:
        auth = self._settings.now.auth
        doublings = min(max(0, failures - FREE_OF_GROWTH), 32)
        return float(min(auth.failure_delay * 2.0**doublings, max(auth.max_delay, auth.failure_delay)))

    def _shrink(self, entries: _Entries, now: float) -> None:
        while entries:
            oldest = next(iter(entries))
            if len(entries) <= self._limit and now - entries[oldest].last <= FORGET_SECONDS:
                return
            del entries[oldest]


def _key(name: str) -> str:
    """Of a name as it was typed, for other processes beside networks: none of these begins so."""
    return _NAME + name[:MAX_NAME].casefold()
