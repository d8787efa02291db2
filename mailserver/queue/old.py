"""Mail that waits too long: found by its age, whatever its next try is (RFC 5321, 4.5.4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.interfaces import Clock
from mailserver.queue import schedule
from mailserver.queue.spool import Spool
from mailserver.queue.values import Job, waits_since

ROWS = 200
SET_BACK = 60.0  # seconds by which a clock may go back and nobody minds


class HighWater:
    """A clock, and the latest time that it ever told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.highest = clock()

    def __call__(self) -> float:
        now = self._clock()
        self.highest = max(self.highest, now)
        return now


class OldMail:
    """What is to be given up, or warned about.

    clock: what times of the queue are made of. Set back, it leaves them far ahead (CASES F16); and so does a
    schedule that was made shorter. At the start both may have happened.
    """

    def __init__(self, settings: Any, spool: Spool, clock: HighWater) -> None:
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self._longest = float("inf")

    async def repair(self) -> bool:
        """Nothing waits longer than the schedule says; True where something did."""
        now, longest = self._clock(), schedule.longest_delay(self._settings.now.relay)
        shorter, self._longest = longest < self._longest, longest
        if now > self._clock.highest - SET_BACK and not shorter:
            return False
        self._clock.highest = now
        return bool(await self._spool.clamp(now + longest))

    async def find(self) -> Sequence[Job]:
        """Some of it, taken out of the spool; none where there is no more."""
        relay = self._settings.now.relay
        now = self._clock()
        warn_before = now - relay.warn_after if relay.warn_after > 0 else float("-inf")
        return await self._spool.take_old(now - relay.expire_after, warn_before, ROWS)

    def is_expired(self, job: Job) -> bool:
        """Given up now; else its sender is warned."""
        return schedule.is_expired(self._settings.now.relay, waits_since(job.message.envelope), self._clock())
