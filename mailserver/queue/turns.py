"""Whose mail is read next, and sent next, of what waits for one destination: senders take turns. Pure.

Mail waits in lanes, one for each sender and domain. A sender who has mail in hand, read and not begun, rests
until what is in hand runs short; one who has none is read at once. So the first message of somebody waits
for one turn of each other sender, however many messages these have. Messages of a priority (RFC 6710) have a
turn of their own, before all of a lower one.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from mailserver.queue.values import Job, Lane, Turn


def priority_of(turn: Turn) -> int:
    """RFC 6710: what has a higher one goes first."""
    return 0 if isinstance(turn, str) else turn[1]


class Backlog:
    """Jobs that were read and not begun; given out one of each sender in turn."""

    __slots__ = ("_jobs", "_ranked", "_size")

    def __init__(self) -> None:
        self._jobs: dict[Turn, deque[Job]] = {}  # of the highest priority the first is next
        self._size = 0
        self._ranked = 0  # those that have a priority

    def __len__(self) -> int:
        return self._size

    def __contains__(self, turn: Turn) -> bool:
        return turn in self._jobs

    @property
    def priority(self) -> int:
        """The highest; only where there is a job."""
        return max(map(priority_of, self._jobs)) if self._ranked else 0

    def add(self, job: Job) -> None:
        turn = job.turn
        self._jobs.setdefault(turn, deque()).append(job)
        self._size += 1
        self._ranked += priority_of(turn) != 0

    def next(self) -> Job:
        """Whose turn it is; only where there is one."""
        turn = max(self._jobs, key=priority_of) if self._ranked else next(iter(self._jobs))
        jobs = self._jobs.pop(turn)
        job = jobs.popleft()
        if jobs:
            self._jobs[turn] = jobs
        self._size -= 1
        self._ranked -= priority_of(turn) != 0
        return job

    def clear(self) -> list[Job]:
        """All of them, which are in nobody's hand then."""
        jobs = [job for group in self._jobs.values() for job in group]
        self._jobs.clear()
        self._size = self._ranked = 0
        return jobs


class Lanes:
    """Lanes with mail that is due. There may be one of these for every message (as many destinations as
    messages), so it is made of what is small when it is nearly empty."""

    __slots__ = ("_by_turn", "_new", "_order")

    def __init__(self) -> None:
        self._by_turn: dict[Turn, Lane | OrderedDict[Lane, None]] = {}  # most have one
        self._order: list[Turn] = []  # those with nothing in hand, then the others; in turn
        self._new = 0  # how many these are

    def __bool__(self) -> bool:
        return bool(self._order)

    @property
    def new(self) -> bool:
        """Does somebody wait who has nothing in hand?"""
        return self._new > 0

    @property
    def priority(self) -> int:
        """Of the next; only where there is one."""
        return priority_of(self._order[0])

    def add(self, lane: Lane, resting: bool) -> None:
        """resting: the sender has mail in hand."""
        turn = lane.turn
        known = self._by_turn.get(turn)
        if known is None:
            self._by_turn[turn] = lane
            if resting:
                self._put(turn, self._new, len(self._order))
            else:
                self._put_new(turn)
        elif isinstance(known, OrderedDict):
            known[lane] = None
        elif known != lane:
            self._by_turn[turn] = OrderedDict(((known, None), (lane, None)))

    def wake(self, turn: Turn) -> None:
        """Nothing of it is in hand any more."""
        if turn in self._by_turn and turn not in self._order[: self._new]:
            self._order.remove(turn)
            self._put_new(turn)

    def pick(self, most: int, rested: bool) -> list[Lane]:
        """Lanes to read from: one of each sender with nothing in hand and then, if `rested`, one after the
        other of all senders in turn. They are not here any more."""
        picked: list[Lane] = []
        while self._order and len(picked) < most and (self._new or rested):
            picked.append(self._pick(self._order.pop(0)))
        return picked

    def _put_new(self, turn: Turn) -> None:
        self._put(turn, 0, self._new)
        self._new += 1

    def _put(self, turn: Turn, first: int, last: int) -> None:
        """Into this part of the order: behind all that have its priority, before those of a lower one."""
        priority = priority_of(turn)
        while last > first and priority_of(self._order[last - 1]) < priority:
            last -= 1
        self._order.insert(last, turn)

    def _pick(self, turn: Turn) -> Lane:
        self._new -= self._new > 0
        lanes = self._by_turn[turn]
        if isinstance(lanes, OrderedDict):
            lane, _ = lanes.popitem(last=False)
            if lanes:
                self._put(turn, self._new, len(self._order))
                return lane
        else:
            lane = lanes
        del self._by_turn[turn]
        return lane

    def clear(self) -> list[Lane]:
        """All of them, which are not here any more."""
        found: list[Lane] = []
        for lanes in self._by_turn.values():
            found += lanes if isinstance(lanes, OrderedDict) else (lanes,)
        self._by_turn.clear()
        self._order.clear()
        self._new = 0
        return found
