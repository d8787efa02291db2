"""Where [disk] work runs: in order per account, and results in batches.

`Inbox` carries calls from threads to the reactor: in the order of `post`, many for one wake-up.
`OrderedPool` runs jobs of one key strictly in order and one at a time, jobs of different keys side by side;
and tells who waits for one when the disk is stuck.
The thread that writes what comes in is in `group_commit`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.disk import durable
from mailserver.disk.patience import SECONDS, Patience, Promise
from mailserver.errors import Busy, MailError, ServiceUnavailable, TemporaryFailure

_log = Logger()
T = TypeVar("T")
_TURN = 0.010  # seconds of callbacks before other events of the reactor get their turn
_SWITCH = 0.001  # seconds that a thread waits for the interpreter's lock before it asks for it


def share_evenly() -> None:
    """Once, for the whole process. A thread that comes back from the disk finds the interpreter's lock taken,
    and the reactor, which gives it away for each system call, takes it back before the other has woken: for
    as long as the interpreter lets it, 5 ms by default."""
    sys.setswitchinterval(_SWITCH)


class Inbox:
    """Calls that threads make in the reactor thread, in the order of `post`."""

    def __init__(self, reactor: IReactorFromThreads, clock: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._woken = False
        self._clock = clock

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """From any thread; `function` must not raise (what it raises is logged)."""
        with self._lock:
            self._calls.append((function, args))
            if self._woken:
                return
            self._woken = True
        self._reactor.callFromThread(self._drain)

    @property
    def reactor(self) -> Any:
        return self._reactor

    @property
    def empty(self) -> bool:
        """Nothing waits that was posted before."""
        return not self._calls

    def _drain(self) -> None:
        clock = self._clock
        limit = clock() + _TURN
        while True:
            with self._lock:
                if not self._calls:
                    self._woken = False
                    return
                function, args = self._calls.popleft()
            try:
                function(*args)
            except Exception:
                _log.failure("a callback of a thread's result failed")
            if clock() > limit:
                self._reactor.callFromThread(self._drain)
                return


def as_mail_error(error: BaseException) -> Exception:
    """What a caller of the store may get: MailErrors as they are, all else logged as our fault."""
    if isinstance(error, MailError):
        return error
    if isinstance(error, OSError):
        return durable.mail_error(error)
    _log.failure("unexpected error in a thread", Failure(error))  # type: ignore[no-untyped-call]
    return TemporaryFailure(cause=error)


class OrderedPool:
    """Jobs with equal keys in order, one at a time; at most `limit` jobs waiting in all."""

    def __init__(self, inbox: Inbox, size: int = 4, limit: int = 20_000, name: str = "store") -> None:
        self._inbox = inbox
        self._size = size
        self._limit = limit
        self._name = name
        self._waiting: dict[Hashable, deque[_Job]] = {}
        self._ready: SimpleQueue[Hashable] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._stopped: Deferred[None] | None = None
        self._patience = Patience(inbox.reactor, SECONDS / 2)  # it looks twice

    def start(self) -> None:
        for number in range(self._size):
            thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def run(self, key: Hashable, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """Fires in the reactor thread with what `function(*args)` returned in a thread. Fails with Busy,
        ServiceUnavailable, or what it raised (as a MailError)."""
        return self._begin(key, _Job(function, args))

    def ask(self, key: Hashable, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """The same for somebody who waits: fails with DiskStuck where for 30 to 45 seconds no thread that it
        depends on has come back from what it asked the disk. A job that has not begun by then is never done;
        what has may come to its end later (CASES F15)."""
        job = _AskedJob(function, args, partial(self._progress, key))
        waiting = self._begin(key, job)
        if not waiting.called:
            self._patience.watch(job)
        return waiting

    def _begin(self, key: Hashable, job: _Job) -> Deferred[Any]:
        if self._stopping:
            return fail(ServiceUnavailable())
        if self._count >= self._limit:
            return fail(Busy())
        with self._lock:
            self._count += 1
            jobs = self._waiting.get(key)
            if jobs is not None:
                jobs.append(job)
                return job.deferred
            self._waiting[key] = deque((job,))
        self._ready.put(key)
        return job.deferred

    def _progress(self, key: Hashable) -> object:
        """What changes when a job of this key is done, or a thread does anything for the next one: its
        processor's time, or that of all threads where none has it."""
        with self._lock:
            jobs = self._waiting.get(key)
            if not jobs:
                return object()
            first = jobs[0]
            threads = self._threads if first.thread is None else (first.thread,)
            return first, [processor_time(one) for one in threads]

    def is_free(self, key: Hashable) -> bool:
        """No job of this key waits or runs, and jobs are taken: what is done now is done in order."""
        return key not in self._waiting and not self._stopping

    @property
    def busy(self) -> bool:
        """Is there a job that waits or runs?"""
        return self._count > 0

    def stop(self) -> Deferred[None]:
        """Fires when all that was handed in is done; nothing is taken any more."""
        self._stopping = True
        if self._stopped is None:
            self._stopped = Deferred()
            with self._lock:
                idle = self._count == 0
            if idle:
                self._end()
        return self._stopped

    def _end(self) -> None:
        self._patience.stop()
        for _ in self._threads:
            self._ready.put(None)
        self._threads.clear()
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _work(self) -> None:
        while (key := self._ready.get()) is not None:
            with self._lock:
                job = self._waiting[key][0]
                job.thread = threading.current_thread()
            job.run()
            with self._lock:
                jobs = self._waiting[key]
                jobs.popleft()
                more = bool(jobs)
                if not more:
                    del self._waiting[key]
            if more:  # behind the other keys: one busy account does not starve them
                self._ready.put(key)
            self._inbox.post(self._finish, job)

    def _finish(self, job: _Job) -> None:
        with self._lock:
            self._count -= 1
            idle = self._count == 0
        job.fire()
        self._patience.trim()
        if idle and self._stopping:
            self._end()


def processor_time(thread: threading.Thread) -> int:
    """Nanoseconds. It must not have ended."""
    return time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident or 0))


class _Job(Promise):
    __slots__ = ("args", "function", "thread")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self.function = function
        self.args = args
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        if self.given_up:
            return
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.error = as_mail_error(error)


class _AskedJob(_Job):
    """progress: gives something that is the same as before only if nothing has moved."""

    __slots__ = ("_progress", "_seen")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], progress: Callable[[], object]
    ) -> None:
        super().__init__(function, args)
        self._progress = progress
        self._seen: object = None

    def hopeless(self) -> bool:
        before, self._seen = self._seen, self._progress()
        return before == self._seen
