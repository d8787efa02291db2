"""Mail that waits too long: found by its age, whatever its next try is (RFC 5321, 4.5.4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.interfaces import Clock
from mailserver.queue import schedule
from mailserver.queue.spool import Spool
from mailserver.queue.values import Job, waits_since

ROWS = 200


class OldMail:
    """What is to be given up, or warned about."""

    def __init__(self, settings: Any, spool: Spool, clock: Clock) -> None:
        self._settings = settings
        self._spool = spool
        self._clock = clock

    async def repair(self) -> bool:
        """Times that a changed clock has left far ahead (CASES F16); True where there were any."""
        latest = self._clock() + schedule.longest_delay(self._settings.now.relay)
        return bool(await self._spool.clamp(latest))

    async def find(self) -> Sequence[Job]:
        """Some of it, taken out of the spool; none where there is no more."""
        relay = self._settings.now.relay
        now = self._clock()
        warn_before = now - relay.warn_after if relay.warn_after > 0 else float("-inf")
        return await self._spool.take_old(now - relay.expire_after, warn_before, ROWS)

    def is_expired(self, job: Job) -> bool:
        """Given up now; else its sender is warned."""
        return schedule.is_expired(self._settings.now.relay, waits_since(job.message.envelope), self._clock())
