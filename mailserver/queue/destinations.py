"""Whose turn it is: destinations in fair rotation, each with its own limits and back-off. Pure.

A destination is a next hop; one or more domains lead there (a smarthost has all of them). Within it senders
take turns (`turns`). Those where nobody was there last time have half of the places, so that waiting for
thousands of hosts that do not answer keeps nobody from one that does. Memory grows with the number of senders
and domains that wait, not with that of messages; but there may be as many of these as messages, so that a
destination at rest is small.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from attrs import define, field

from mailserver.queue.turns import Backlog, Lanes
from mailserver.queue.values import Job, Lane

FIRST_LIMIT = 5  # deliveries at once to a destination nothing is known of; grows with each success
DUE_AT_ONCE = 1000  # lanes that `advance` looks at in one call
TAKE_ROWS = 100  # recipients read at once, as many as a transaction may have
READ_AHEAD = 2  # times what may be under way at once, or seconds of a rate
NEWCOMERS = 4  # times the same, until which those who have nothing in hand are read at once
OUT_OF_DATE = 1000  # entries of a heap that may be


@define(eq=False)
class Destination:
    """One next hop.

    domain: one that leads there. lanes: with due recipients. backlog: jobs taken out, not yet begun. Both
    None where there are none.
    limit: deliveries at once. blocked_until: no attempt before, because the hosts could not be reached,
    `failures` times in a row. paced_until: no attempt before, to keep to a rate. epoch: of its back-off.
    doubtful: nobody was there last time, or nobody knows, for all that waits there waited before the start.
    line: where it stands, of those of `Destinations`.
    """

    key: str
    domain: str
    limit: int = FIRST_LIMIT
    active: int = 0
    taking: bool = False
    blocked_until: float = 0.0
    paced_until: float = 0.0
    failures: int = 0
    epoch: int = 0
    doubtful: bool = False
    lanes: Lanes | None = None
    backlog: Backlog | None = None
    line: Line | None = field(default=None, repr=False)

    def wait(self, lane: Lane) -> None:
        if self.lanes is None:
            self.lanes = Lanes()
        self.lanes.add(lane, resting=self.backlog is not None and lane.turn in self.backlog)

    def stock(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            if self.backlog is None:
                self.backlog = Backlog()
            self.backlog.add(job)

    def wants_jobs(self) -> bool:
        """Should more be read from the spool, so that no delivery and no sender has to wait for it? In hand
        is a few times what may be under way at once, or slow destinations would have all memory."""
        if self.taking or self.lanes is None:
            return False
        return self._runs_short or (self.lanes.new and (not self._full or self._outranked))

    def rows(self, interval: float) -> int:
        """How many recipients to read at once. interval: seconds between two deliveries, or 0."""
        most = min(TAKE_ROWS, READ_AHEAD * self.limit)
        return max(1, min(most, int(READ_AHEAD / interval))) if interval else most

    def pick_lanes(self, most: int) -> list[Lane]:
        """To be read from now; only where it wants jobs."""
        assert self.lanes is not None
        picked = self.lanes.pick(1 if self._full else most, rested=self._runs_short)
        self.lanes = self.lanes or None
        return picked

    def can_start(self, tight: bool) -> bool:
        """tight: hardly a place is free, so that only who has none gets one."""
        return self.backlog is not None and self.active < (1 if tight else self.limit)

    def next_job(self) -> Job:
        """To be begun now; only where there is one."""
        assert self.backlog is not None
        job = self.backlog.next()
        if self.lanes is not None and job.turn not in self.backlog:
            self.lanes.wake(job.turn)
        self.backlog = self.backlog or None
        return job

    def take_back(self) -> list[Job]:
        """The jobs that were not begun."""
        jobs = self.backlog.clear() if self.backlog is not None else []
        self.backlog = None
        return jobs

    def turn_away(self) -> list[Lane]:
        """The lanes, which are not due here any more."""
        lanes = self.lanes.clear() if self.lanes is not None else []
        self.lanes = None
        return lanes

    @property
    def in_hand(self) -> int:
        """Jobs that were read and not begun."""
        return len(self.backlog) if self.backlog is not None else 0

    @property
    def _runs_short(self) -> bool:
        return self.in_hand < self.limit

    @property
    def _full(self) -> bool:
        return self.in_hand >= NEWCOMERS * self.limit

    @property
    def _outranked(self) -> bool:
        """Does somebody who has nothing in hand come before all that is (RFC 6710)?"""
        ours = self.backlog.priority if self.backlog is not None else 0
        return self.lanes is not None and self.lanes.priority > ours

    @property
    def unused(self) -> bool:
        return not (self.active or self.taking or self.lanes or self.backlog)


Line = deque[Destination]


class Destinations:
    """All of them, and when what waits becomes due."""

    def __init__(self, key_of: Callable[[str], str]) -> None:
        self._key_of = key_of
        self._known: dict[str, Destination] = {}
        self._rotation: Line = deque()
        self._hungry: Line = deque()  # want jobs when none may be read
        self._doubtful: Line = deque()  # wait until fewer of their kind are under way
        self.probes = 0  # deliveries under way to the doubtful
        self._due: dict[Lane, float] = {}  # lanes that wait for a time
        self._times: list[tuple[float, Lane]] = []  # heap of the same; entries may be out of date
        self._halted: list[tuple[float, str]] = []  # heap of (until, key)
        self._stocked: dict[Destination, None] = {}  # with a backlog, or lately
        self._epoch = 0

    def note(self, lane: Lane, due: float, now: float, *, new: bool = False, doubtful: bool = False) -> None:
        """Recipients of the lane wait and are due then. new: they just came; doubtful: they were there when
        nothing was known yet."""
        if due <= now:
            self._due.pop(lane, None)
            destination = self._get(lane.domain, doubtful)
            if new and not destination.failures:
                self._trust(destination)
            destination.wait(lane)
            self.offer(destination)
            return
        known = self._due.get(lane)
        if known is None or due < known:
            self._due[lane] = due
            heapq.heappush(self._times, (due, lane))
            if len(self._times) > 2 * len(self._due) + OUT_OF_DATE:
                self._times = [(moment, lane) for lane, moment in self._due.items()]
                heapq.heapify(self._times)

    def advance(self, now: float) -> bool:
        """What has become due, or may be tried again, takes its turn. False where there is more of it."""
        for _ in range(DUE_AT_ONCE):
            if not self._times or self._times[0][0] > now:
                break
            due, lane = heapq.heappop(self._times)
            if self._due.get(lane) == due:
                self.note(lane, due, now)
        else:
            return False
        for _ in range(DUE_AT_ONCE):
            if not self._halted or self._halted[0][0] > now:
                return True
            destination = self._known.get(heapq.heappop(self._halted)[1])
            if destination is not None and not self._halts(destination, now):
                self.offer(destination)
        return False

    def choose(self, now: float, may_take: bool, most: int, active: int) -> Destination | None:
        """The next destination that can start a delivery or, where more may be read, wants jobs.

        most, active: how many deliveries may be under way, and are."""
        tight, may_probe = active >= most - most // 4, self.probes < max(1, most // 2)
        if may_probe:
            self._move_up(self._doubtful)
        if may_take:
            self._move_up(self._hungry)
        while self._rotation:
            destination = self._rotation.popleft()
            halted = self._halts(destination, now)
            wants = destination.wants_jobs()
            starts = destination.can_start(tight)
            if not halted and destination.doubtful and not may_probe and (starts or wants):
                self._put(destination, self._doubtful)
                continue
            if not halted and (starts or (may_take and wants)):
                self._rotation.append(destination)
                return destination
            if not halted and wants and not destination.backlog:
                # One with a backlog is offered when a delivery ends.
                self._put(destination, self._doubtful if destination.doubtful else self._hungry)
                continue
            destination.line = None
            if destination.unused and not halted:
                self._known.pop(destination.key, None)
        return None

    def _put(self, destination: Destination, line: Line) -> None:
        destination.line = line
        line.append(destination)

    def _move_up(self, line: Line) -> None:
        """The first who still stands there may take part."""
        while line:
            destination = line.popleft()
            if destination.line is line:
                self._put(destination, self._rotation)
                break

    def _trust(self, destination: Destination) -> None:
        """It need not wait with the doubtful any longer."""
        destination.doubtful = False
        if destination.line is self._doubtful:
            self._put(destination, self._rotation)

    def ready(self, now: float) -> int:
        """Jobs in hand that could begin if there were a place: not those of destinations that have all that
        they may have."""
        return sum(
            destination.in_hand
            for destination in self._stocked
            if destination.can_start(tight=False) and not self._halts(destination, now)
        )

    def offer(self, destination: Destination) -> None:
        """Its state has changed: let it take part again."""
        self._known.setdefault(destination.key, destination)
        if destination.line is None:
            self._put(destination, self._rotation)

    def stock(self, destination: Destination, jobs: tuple[Job, ...]) -> None:
        """Jobs were read."""
        destination.stock(jobs)
        self._stocked[destination] = None

    def next_job(self, destination: Destination) -> Job:
        """The job to begin now."""
        job = destination.next_job()
        if not destination.backlog:
            self._stocked.pop(destination, None)
        return job

    # --- back-off and pace ------------------------------------------------------------------------

    def is_blocked(self, destination: Destination, now: float) -> bool:
        return destination.blocked_until > now and destination.epoch == self._epoch

    def block(self, destination: Destination, until: float) -> tuple[list[Job], list[Lane]]:
        """The hosts cannot be reached: nothing goes there before `until`, then one delivery at a time
        until one succeeds. The jobs and the lanes that were ready for it."""
        destination.blocked_until = until
        destination.epoch = self._epoch
        destination.failures += 1
        destination.limit = 1
        destination.doubtful = True
        self._wake(destination, until)
        self._stocked.pop(destination, None)
        return destination.take_back(), destination.turn_away()

    def succeeded(self, destination: Destination, most: int) -> None:
        """A server took part: one more delivery at once, up to the limit of the configuration."""
        destination.blocked_until = 0.0
        destination.failures = 0
        self._trust(destination)
        destination.limit = min(most, destination.limit + 1)

    def pace(self, destination: Destination, now: float, interval: float) -> None:
        """A delivery was begun, and the next follows after `interval` seconds."""
        destination.paced_until = max(now, destination.paced_until) + interval
        self._wake(destination, destination.paced_until)

    def _wake(self, destination: Destination, when: float) -> None:
        heapq.heappush(self._halted, (when, destination.key))
        if len(self._halted) > 2 * len(self._known) + OUT_OF_DATE:
            known = self._known.values()
            self._halted = [(one.blocked_until, one.key) for one in known if one.blocked_until]
            self._halted += [(one.paced_until, one.key) for one in known if one.paced_until]
            heapq.heapify(self._halted)

    def start_over(self) -> list[Job]:
        """Everything may be tried now, and is read again. The jobs that were read and not begun."""
        self._epoch += 1
        jobs: list[Job] = []
        for destination in self._stocked:
            jobs += destination.take_back()
            self.offer(destination)
        self._stocked.clear()
        return jobs

    def next_time(self) -> float | None:
        """When `advance` may have something to do."""
        times = [heap[0][0] for heap in (self._times, self._halted) if heap]
        return min(times) if times else None

    def _halts(self, destination: Destination, now: float) -> bool:
        return destination.paced_until > now or self.is_blocked(destination, now)

    def _get(self, domain: str, doubtful: bool) -> Destination:
        key = self._key_of(domain)
        destination = self._known.get(key)
        if destination is None:
            destination = self._known[key] = Destination(key, domain, doubtful=doubtful)
        return destination
