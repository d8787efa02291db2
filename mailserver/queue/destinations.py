"""Whose turn it is: destinations in fair rotation, each with its own limit and back-off. Pure.

A destination is a next hop; one or more domains lead there (a smarthost has all of them). Memory grows
with the number of domains that wait, not with that of messages.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field

from mailserver.queue.values import Job

FIRST_LIMIT = 5  # deliveries at once to a destination nothing is known of; grows with each success


@define(eq=False)
class Destination:
    """One next hop.

    ready: domains with due recipients. backlog: jobs taken out, not yet begun. limit: deliveries at once.
    blocked_until: no attempt before, because the hosts could not be reached.
    """

    key: str
    limit: int = FIRST_LIMIT
    active: int = 0
    taking: bool = False
    blocked_until: float = 0.0
    ready: dict[str, None] = field(factory=dict)
    backlog: list[Job] = field(factory=list)
    queued: bool = False

    def wants_jobs(self) -> bool:
        """Should more be read from the spool, so that no delivery has to wait for it?"""
        return bool(self.ready) and not self.taking and len(self.backlog) < self.limit

    def can_start(self) -> bool:
        return bool(self.backlog) and self.active < self.limit

    @property
    def unused(self) -> bool:
        return not (self.active or self.taking or self.ready or self.backlog)


class Destinations:
    """All of them, and when what waits becomes due."""

    def __init__(self, key_of: Callable[[str], str]) -> None:
        self._key_of = key_of
        self._known: dict[str, Destination] = {}
        self._rotation: deque[Destination] = deque()
        self._hungry: deque[Destination] = deque()  # want jobs when none may be read
        self._due: dict[str, float] = {}  # domains that wait for a time
        self._times: list[tuple[float, str]] = []  # heap of the same; entries may be out of date
        self._blocked: list[tuple[float, str]] = []  # heap of (until, key)

    def note(self, domain: str, due: float, now: float) -> None:
        """Recipients of the domain wait and are due then."""
        if due <= now:
            self._due.pop(domain, None)
            destination = self._get(domain)
            destination.ready[domain] = None
            self.offer(destination)
            return
        known = self._due.get(domain)
        if known is None or due < known:
            self._due[domain] = due
            heapq.heappush(self._times, (due, domain))

    def advance(self, now: float) -> None:
        """What has become due, or unblocked, takes its turn."""
        while self._times and self._times[0][0] <= now:
            due, domain = heapq.heappop(self._times)
            if self._due.get(domain) == due:
                self.note(domain, due, now)
        while self._blocked and self._blocked[0][0] <= now:
            _, key = heapq.heappop(self._blocked)
            destination = self._known.get(key)
            if destination is not None and destination.blocked_until <= now:
                self.offer(destination)

    def choose(self, now: float, may_take: bool) -> Destination | None:
        """The next destination that can start a delivery or, where more may be read, wants jobs."""
        if may_take and self._hungry:
            self._rotation.append(self._hungry.popleft())
        while self._rotation:
            destination = self._rotation.popleft()
            blocked = destination.blocked_until > now
            if not blocked and (destination.can_start() or (may_take and destination.wants_jobs())):
                self._rotation.append(destination)
                return destination
            if not blocked and destination.wants_jobs() and not destination.backlog:
                self._hungry.append(destination)  # one with a backlog is offered when a delivery ends
                continue
            destination.queued = False
            if destination.unused and not blocked:
                self._known.pop(destination.key, None)
        return None

    def offer(self, destination: Destination) -> None:
        """Its state has changed: let it take part again."""
        self._known.setdefault(destination.key, destination)
        if not destination.queued:
            destination.queued = True
            self._rotation.append(destination)

    def block(self, destination: Destination, until: float) -> Sequence[Job]:
        """The hosts cannot be reached: nothing goes there before `until`, then one delivery at a time
        until one succeeds. The jobs that were ready for it."""
        destination.blocked_until = max(destination.blocked_until, until)
        destination.limit = 1
        heapq.heappush(self._blocked, (destination.blocked_until, destination.key))
        jobs = tuple(destination.backlog)
        destination.backlog.clear()
        return jobs

    def succeeded(self, destination: Destination, most: int) -> None:
        """A server took part: one more delivery at once, up to the limit of the configuration."""
        destination.blocked_until = 0.0
        destination.limit = min(most, destination.limit + 1)

    def start_over(self) -> list[Job]:
        """Everything may be tried now, and is read again. The jobs that were read and not begun."""
        jobs: list[Job] = []
        for destination in list(self._known.values()):
            destination.blocked_until = 0.0
            jobs += destination.backlog
            destination.backlog.clear()
            self.offer(destination)
        return jobs

    def next_time(self) -> float | None:
        """When `advance` may have something to do."""
        times = [heap[0][0] for heap in (self._times, self._blocked) if heap]
        return min(times) if times else None

    def _get(self, domain: str) -> Destination:
        key = self._key_of(domain)
        destination = self._known.get(key)
        if destination is None:
            destination = self._known[key] = Destination(key)
        return destination
