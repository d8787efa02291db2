"""Whose mail is read next, and sent next, of what waits for one destination: senders take turns. Pure.

Mail waits in lanes, one for each sender and domain. A sender who has mail in hand, read and not begun, rests
until what is in hand runs short; one who has none is read at once. So the first message of somebody waits
for one turn of each other sender, however many messages these have.
"""

from __future__ import annotations

from collections import deque

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

    __slots__ = ("_by_sender", "_new", "_resting")

    def __init__(self) -> None:
        self._by_sender: dict[str, dict[Lane, None]] = {}
        self._new: list[str] = []  # senders with nothing in hand, in turn
        self._resting: list[str] = []  # the others

    def __bool__(self) -> bool:
        return bool(self._by_sender)

    @property
    def new(self) -> bool:
        """Does somebody wait who has nothing in hand?"""
        return bool(self._new)

    def add(self, lane: Lane, resting: bool) -> None:
        """resting: the sender has mail in hand."""
        lanes = self._by_sender.get(lane.sender)
        if lanes is None:
            self._by_sender[lane.sender] = {lane: None}
            (self._resting if resting else self._new).append(lane.sender)
        else:
            lanes[lane] = None

    def wake(self, sender: str) -> None:
        """Nothing of the sender is in hand any more."""
        if sender in self._by_sender and sender in self._resting:
            self._resting.remove(sender)
            self._new.append(sender)

    def pick(self, most: int, rested: bool) -> list[Lane]:
        """Lanes to read from: one of each sender with nothing in hand and then, if `rested`, one after the
        other of all senders in turn. They are not here any more."""
        picked: list[Lane] = []
        while self._new and len(picked) < most:
            self._pick(self._new, picked)
        while rested and self._resting and len(picked) < most:
            self._pick(self._resting, picked)
        return picked

    def _pick(self, order: list[str], picked: list[Lane]) -> None:
        sender = order.pop(0)
        lanes = self._by_sender[sender]
        lane = next(iter(lanes))
        del lanes[lane]
        picked.append(lane)
        if lanes:
            self._resting.append(sender)
        else:
            del self._by_sender[sender]

    def clear(self) -> list[Lane]:
        """All of them, which are not here any more."""
        lanes = [lane for group in self._by_sender.values() for lane in group]
        self._by_sender.clear()
        self._new.clear()
        self._resting.clear()
        return lanes
