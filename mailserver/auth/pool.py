"""Where passwords are hashed: a few threads of their own, and a bounded number of hashes that wait for them.

Nothing but hashing runs there, so a flood of log-ins delays log-ins and not mail; beyond `auth.backlog`
waiting ones an attempt fails with Busy (CASES D4). A mail client opens several connections at once with the
same password: that is one hash.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from attrs import Factory, define
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailserver.errors import Busy

Result = TypeVar("Result")


@define(eq=False)
class _Job:
    work: Callable[[], Any]
    key: Hashable = None
    waiting: list[Deferred[Any]] = Factory(list)


class HashPool:
    """Reactor thread only. `pool`: a twisted ThreadPool or what a test puts in its place. `roam`: called in
    the thread before each hash (`processes.cores`)."""

    def __init__(
        self, reactor: Any, settings: Any, pool: Any = None, roam: Callable[[], None] = lambda: None
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._threads = settings.now.auth.threads
        self._pool = pool if pool is not None else ThreadPool(0, self._threads, "auth")
        self._roam = roam
        self._jobs = 0
        self._shared: dict[Hashable, _Job] = {}
        self._stopping = False

    @property
    def busy(self) -> int:
        """Jobs that run or wait."""
        return self._jobs

    def start(self) -> None:
        """Let the threads begin."""
        self._pool.start()

    def stop(self) -> None:
        """Finish what runs; what still waits is dropped."""
        self._stopping = True
        self._pool.stop()

    def run(self, work: Callable[[], Result], key: Hashable = None) -> Deferred[Result]:
        """The result of `work` in a thread; fails with Busy. Calls with an equal `key` that is not None share
        one run. A cancelled call never hears of it, and nothing is run for calls all of which were cancelled.
        """
        shared = self._shared.get(key) if key is not None else None
        if shared is None and not self._has_room():
            return fail(Busy())
        job = shared if shared is not None else _Job(work, key)

        def forget(deferred: Deferred[Result]) -> None:
            job.waiting.remove(deferred)
            if not job.waiting:
                self._unshare(job)

        waiting: Deferred[Result] = Deferred(forget)
        job.waiting.append(waiting)
        if shared is None:
            self._begin(job)
        return waiting

    def _has_room(self) -> bool:
        return not self._stopping and self._jobs - self._threads < self._settings.now.auth.backlog

    def _unshare(self, job: _Job) -> None:
        if job.key is not None and self._shared.get(job.key) is job:
            del self._shared[job.key]

    def _begin(self, job: _Job) -> None:
        threads = self._settings.now.auth.threads
        if threads != self._threads:
            self._threads = threads
            self._pool.adjustPoolsize(0, threads)
        self._jobs += 1
        if job.key is not None:
            self._shared[job.key] = job
        self._pool.callInThread(self._in_thread, job)

    def _in_thread(self, job: _Job) -> None:
        """In a thread. Reading `waiting` and `_stopping` races with nothing worse than a needless hash."""
        self._roam()
        result: Any = None
        if job.waiting and not self._stopping:
            try:
                result = job.work()
            except BaseException:
                result = Failure()  # type: ignore[no-untyped-call]
        else:
            result = Failure(Busy())  # type: ignore[no-untyped-call]
        self._reactor.callFromThread(self._done, job, result)

    def _done(self, job: _Job, result: Any) -> None:
        self._jobs -= 1
        self._unshare(job)
        waiting, job.waiting = job.waiting, []
        for deferred in waiting:
            deferred.callback(result)
