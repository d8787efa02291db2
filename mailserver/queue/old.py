"""Mail that waits too long: found by its age, whatever its next try is (RFC 5321, 4.5.4.1), or by the time
that its sender gave it (RFC 2852)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.interfaces import Clock
from mailserver.queue import schedule
from mailserver.queue.spool import Spool
from mailserver.queue.values import Job, QueuedRecipient, waits_since

ROWS = 200
SOONEST = 1.0  # seconds between two searches at the least
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
        self._deadline = float("inf")  # the next one that is known of

    def delay(self) -> float:
        """Seconds until something may be found."""
        least = schedule.sweep_interval(self._settings.now.relay)
        return min(least, max(SOONEST, self._deadline - self._clock()))

    def watch(self, jobs: Sequence[Job]) -> bool:
        """These wait, or are under way. True where that makes `delay` shorter."""
        known = self._deadline
        for job in jobs:
            if job.message.envelope.deliver_by is not None:
                times = [one.deadline for one in job.recipients if one.deadline is not None]
                self._deadline = min(self._deadline, *times, float("inf"))
        return self._deadline < known

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
        found = await self._spool.take_old(now - relay.expire_after, warn_before, ROWS)
        if not found:
            found, deadline = await self._spool.take_overdue(now, ROWS)
            self._deadline = float("inf") if deadline is None else deadline
        return found

    def is_expired(self, job: Job) -> bool:
        """Given up now; else its sender is warned."""
        now, envelope = self._clock(), job.message.envelope
        if envelope.deliver_by is not None and envelope.deliver_by.returned(now):
            return True
        return schedule.is_expired(self._settings.now.relay, waits_since(envelope), now)

    def overdue(self, job: Job) -> tuple[QueuedRecipient, ...]:
        """Those of its recipients whose time is over, and nothing was done about it yet."""
        if job.message.envelope.deliver_by is None:
            return ()
        now = self._clock()
        return tuple(one for one in job.recipients if one.deadline is not None and one.deadline <= now)
