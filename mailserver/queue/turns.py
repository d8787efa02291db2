"""Whose mail is read next, and sent next, of what waits for one destination: senders take turns. Pure.

Mail waits in lanes, one for each sender and domain. A sender who has mail in hand, read and not begun, rests
until what is in hand runs short; one who has none is read at once. So the first message of somebody waits
for one turn of each other sender, however many messages these have.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from mailserver.queue.values import Job, Lane


class Backlog:
    """Jobs that were read and not begun; given out one of each sender in turn."""

    __slots__ = ("_jobs", "_size")

    def __init__(self) -> None:
        self._jobs: dict[str, deque[Job]] = {}  # the first sender is next
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, sender: str) -> bool:
        return sender in self._jobs

    def add(self, job: Job) -> None:
        self._jobs.setdefault(job.sender, deque()).append(job)
        self._size += 1

    def next(self) -> Job:
        """Whose turn it is; only where there is one."""
        sender = next(iter(self._jobs))
        jobs = self._jobs.pop(sender)
        job = jobs.popleft()
        if jobs:
            self._jobs[sender] = jobs
        self._size -= 1
        return job

    def clear(self) -> list[Job]:
        """All of them, which are in nobody's hand then."""
        jobs = [job for group in self._jobs.values() for job in group]
        self._jobs.clear()
        self._size = 0
        return jobs


class Lanes:
    """Lanes with mail that is due. There may be one of these for every message (as many destinations as
    messages), so it is made of what is small when it is nearly empty."""

    __slots__ = ("_by_sender", "_new", "_order")

    def __init__(self) -> None:
        self._by_sender: dict[str, Lane | OrderedDict[Lane, None]] = {}  # most have one
        self._order: list[str] = []  # senders, in turn: first those with nothing in hand
        self._new = 0  # how many these are

    def __bool__(self) -> bool:
        return bool(self._order)

    @property
    def new(self) -> bool:
        """Does somebody wait who has nothing in hand?"""
        return self._new > 0

    def add(self, lane: Lane, resting: bool) -> None:
        """resting: the sender has mail in hand."""
        known = self._by_sender.get(lane.sender)
        if known is None:
            self._by_sender[lane.sender] = lane
            if resting:
                self._order.append(lane.sender)
            else:
                self._put_new(lane.sender)
        elif isinstance(known, OrderedDict):
            known[lane] = None
        elif known != lane:
            self._by_sender[lane.sender] = OrderedDict(((known, None), (lane, None)))

    def wake(self, sender: str) -> None:
        """Nothing of the sender is in hand any more."""
        if sender in self._by_sender and sender not in self._order[: self._new]:
            self._order.remove(sender)
            self._put_new(sender)

    def pick(self, most: int, rested: bool) -> list[Lane]:
        """Lanes to read from: one of each sender with nothing in hand and then, if `rested`, one after the
        other of all senders in turn. They are not here any more."""
        picked: list[Lane] = []
        while self._order and len(picked) < most and (self._new or rested):
            picked.append(self._pick(self._order.pop(0)))
        return picked

    def _put_new(self, sender: str) -> None:
        self._order.insert(self._new, sender)
        self._new += 1

    def _pick(self, sender: str) -> Lane:
        self._new -= self._new > 0
        lanes = self._by_sender[sender]
        if isinstance(lanes, OrderedDict):
            lane, _ = lanes.popitem(last=False)
            if lanes:
                self._order.append(sender)
                return lane
        else:
            lane = lanes
        del self._by_sender[sender]
        return lane

    def clear(self) -> list[Lane]:
        """All of them, which are not here any more."""
        found: list[Lane] = []
        for lanes in self._by_sender.values():
            found += lanes if isinstance(lanes, OrderedDict) else (lanes,)
        self._by_sender.clear()
        self._order.clear()
        self._new = 0
        return found
