"""Where [disk] work runs: in order per account, results in batches; and the one thread that writes.

`Inbox` carries calls from threads to the reactor: in the order of `post`, many for one wake-up.
`OrderedPool` runs jobs of one key strictly in order and one at a time, jobs of different keys side by side.
`GroupWriter` is group commit: what has come in becomes one batch; its files are written, their fsyncs
overlapped, each place (an account, the queue) commits once, and the reactor is woken once. An fsync costs
the disk a flush, and eight at a time cost about as much as one; so it is never one job per message.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver import durable
from mailserver.errors import Busy, MailError, ServiceUnavailable, TemporaryFailure

_log = Logger()
T = TypeVar("T")
_TURN = 0.010  # seconds of callbacks before other events of the reactor get their turn


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

    def start(self) -> None:
        for number in range(self._size):
            thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def run(self, key: Hashable, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """Fires in the reactor thread with what `function(*args)` returned in a thread. Fails with Busy,
        ServiceUnavailable, or what it raised (as a MailError)."""
        if self._stopping:
            return fail(ServiceUnavailable())
        if self._count >= self._limit:
            return fail(Busy())
        job = _Job(function, args)
        with self._lock:
            self._count += 1
            jobs = self._waiting.get(key)
            if jobs is not None:
                jobs.append(job)
                return job.deferred
            self._waiting[key] = deque((job,))
        self._ready.put(key)
        return job.deferred

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
        for _ in self._threads:
            self._ready.put(None)
        self._threads.clear()
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _work(self) -> None:
        while (key := self._ready.get()) is not None:
            with self._lock:
                job = self._waiting[key][0]
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
        if idle and self._stopping:
            self._end()


class _Promise:
    """What comes of something, told in the reactor thread."""

    __slots__ = ("deferred", "error", "result")

    def __init__(self) -> None:
        self.deferred: Deferred[Any] = Deferred()
        self.result: Any = None
        self.error: Exception | None = None

    def fire(self) -> None:
        if self.error is not None:
            self.deferred.errback(self.error)
        else:
            self.deferred.callback(self.result)


class _Job(_Promise):
    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self.function = function
        self.args = args

    def run(self) -> None:
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.error = as_mail_error(error)


# --- group commit --------------------------------------------------------------------------------


Synced = Mapping[str, Exception | None]
"""Folders, each with what went wrong when it was synced."""
Committing = Generator[Sequence[str], Synced, Sequence[Exception | None]]


class Place(Protocol):
    """Something that takes parts of many jobs in one commit: an account, the queue. Compared by identity.

    order: places are entered in its order, here and in other processes. A batch holds all its places at once,
    and two batches that take the same ones in different order would wait for each other for ever.
    """

    @property
    def order(self) -> str: ...

    def commit(self, parts: Sequence[Any]) -> Committing:
        """[thread] Link or rename all; yield the folders to sync and be told of it; commit once. Returns
        one outcome for each part; the failure of one is not the failure of the others. What failed was
        undone. All of it runs in the writer's thread, one place after the other, for that is work of the
        processor; the folders of all places are synced side by side."""


class GroupJob(Protocol):
    """One message on its way to the disk. All methods are called in threads."""

    def write(self) -> Sequence[int]:
        """Write files; the open descriptors to sync, which the writer closes. Raises and leaves nothing."""

    def parts(self) -> Sequence[tuple[Place, Any]]:
        """Where what was written goes, now that it is safe."""

    def finish(self, outcomes: Sequence[Exception | None]) -> Any:
        """What the Deferred fires with, or raise. `outcomes` are those of `parts`, in order. Removes what
        the job wrote and no place has taken."""

    def abandon(self) -> None:
        """`write` succeeded, but the files are not safe: remove them."""


class GroupWriter:
    """The writer thread and its helpers. `submit` in the reactor thread only."""

    def __init__(self, inbox: Inbox, helpers: int = 4, batch: int = 500, limit: int = 10_000) -> None:
        self._inbox = inbox
        self._batch = batch
        self._limit = limit
        self._waiting = 0
        self._queue: SimpleQueue[_Submission | None] = SimpleQueue()
        self._crew = Crew(helpers)
        self._thread: threading.Thread | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        self._crew.start()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def submit(self, job: GroupJob) -> Deferred[Any]:
        """Fires with the result of `job.finish`. Fails with Busy, ServiceUnavailable or what went wrong."""
        if self._stopped is not None:
            return fail(ServiceUnavailable())
        if self._waiting >= self._limit:
            return fail(Busy())
        self._waiting += 1
        submission = _Submission(job)
        self._queue.put(submission)
        return submission.deferred

    def stop(self) -> Deferred[None]:
        """Fires when everything that was submitted is done."""
        if self._stopped is None:
            self._stopped = Deferred()
            if self._thread is None:
                self._stopped.callback(None)
            else:
                self._queue.put(None)
        return self._stopped

    def _work(self) -> None:
        last = False
        while not last:
            batch: list[_Submission] = []
            item = self._queue.get()
            with suppress(Empty):
                while item is not None:
                    batch.append(item)
                    if len(batch) == self._batch:
                        break
                    item = self._queue.get_nowait()
            last = item is None
            if batch:
                run_batch(batch, self._crew)
                self._inbox.post(self._finish, batch)
        self._crew.stop()
        if self._stopped is not None:
            self._inbox.post(self._stopped.callback, None)

    def _finish(self, batch: list[_Submission]) -> None:
        self._waiting -= len(batch)
        for submission in batch:
            submission.fire()


class _Submission(_Promise):
    """A job and how far it came."""

    __slots__ = ("descriptors", "job", "outcomes")

    def __init__(self, job: GroupJob) -> None:
        super().__init__()
        self.job = job
        self.descriptors: Sequence[int] = ()
        self.outcomes: list[Exception | None] = []

    def write(self, alone: bool) -> None:
        try:
            self.descriptors = self.job.write()
            if not alone:
                for fd in self.descriptors:
                    durable.begin_sync(fd)
        except BaseException as error:
            self.error = as_mail_error(error)

    def sync(self) -> None:
        for fd in self.descriptors:
            try:
                if self.error is None:
                    durable.sync_close(fd)
                else:
                    durable.close(fd)
            except BaseException as error:
                self.error = as_mail_error(error)
        if self.error is not None:
            self.abandon()

    def abandon(self) -> None:
        try:
            self.job.abandon()
        except BaseException as error:
            as_mail_error(error)

    def finish(self) -> None:
        try:
            self.result = self.job.finish(self.outcomes)
        except BaseException as error:
            self.error = as_mail_error(error)


class _Commit:
    """The parts of a batch for one place."""

    __slots__ = ("_running", "folders", "parts", "place", "where")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.parts: list[Any] = []
        self.where: list[tuple[_Submission, int]] = []
        self.folders: Sequence[str] = ()
        self._running: Committing | None = None

    def begin(self) -> None:
        """Up to where folders must be synced."""
        running = self.place.commit(self.parts)
        try:
            self.folders = next(running)
            self._running = running
        except BaseException as error:
            self._ended(error)

    def end(self, synced: Synced) -> None:
        """From there to the outcomes; a place that has to begin anew has its folders synced here."""
        if self._running is None:
            return
        try:
            while True:
                synced = {path: _sync_dir(path) for path in self._running.send(synced)}
        except BaseException as error:
            self._ended(error)

    def _ended(self, error: BaseException) -> None:
        outcomes: Sequence[Exception | None]
        if isinstance(error, StopIteration):
            outcomes = error.value
        else:
            outcomes = [as_mail_error(error)] * len(self.parts)
        for (submission, index), outcome in zip(self.where, outcomes, strict=True):
            submission.outcomes[index] = outcome


def _sync_dir(path: str) -> Exception | None:
    try:
        durable.sync_dir(path)
    except BaseException as error:
        return as_mail_error(error)
    return None


def _commit_all(commits: Sequence[_Commit], crew: Crew) -> None:
    """Commit in each place; the folders of all of them are synced side by side."""
    commits = sorted(commits, key=lambda commit: commit.place.order)
    for commit in commits:
        commit.begin()
    synced: dict[str, Exception | None] = {}

    def sync(path: str) -> None:
        synced[path] = _sync_dir(path)

    folders = dict.fromkeys(path for commit in commits for path in commit.folders)
    crew.run([partial(sync, path) for path in folders])
    for commit in commits:
        commit.end(synced)


def run_batch(batch: Sequence[_Submission], crew: Crew) -> None:
    """All phases for a batch; a failure stays with its submission."""
    alone = len(batch) == 1
    for submission in batch:
        submission.write(alone)
    written = [submission for submission in batch if submission.error is None]
    crew.run([submission.sync for submission in written])
    commits: dict[int, _Commit] = {}
    safe = [submission for submission in written if submission.error is None]
    for submission in safe:
        try:
            parts = submission.job.parts()
        except BaseException as error:
            submission.error = as_mail_error(error)
            submission.abandon()
            continue
        submission.outcomes = [None] * len(parts)
        for index, (place, part) in enumerate(parts):
            commit = commits.get(id(place))
            if commit is None:
                commit = commits[id(place)] = _Commit(place)
            commit.parts.append(part)
            commit.where.append((submission, index))
    _commit_all(list(commits.values()), crew)
    for submission in safe:
        if submission.error is None:
            submission.finish()


def run_now(jobs: Sequence[GroupJob], crew: Crew) -> list[Any]:
    """The same for a program without a reactor, in its own thread: results, or the exceptions themselves."""
    batch = [_Submission(job) for job in jobs]
    run_batch(batch, crew)
    return [submission.result if submission.error is None else submission.error for submission in batch]


class Crew:
    """Threads that run the tasks of one batch side by side; tasks must not raise."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._shares: SimpleQueue[Sequence[Callable[[], None]] | None] = SimpleQueue()
        self._done = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for number in range(self._size):
            thread = threading.Thread(target=self._work, name=f"writer-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        for _ in self._threads:
            self._shares.put(None)
        self._threads.clear()

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Returns when all are done. Each thread gets a share, and the caller's thread the first one: waking
        a thread costs more than most tasks."""
        shares = min(len(tasks), len(self._threads) + 1)
        for number in range(1, shares):
            self._shares.put(tasks[number::shares])
        for task in tasks[:: shares or 1]:
            task()
        for _ in range(1, shares):
            self._done.acquire()

    def _work(self) -> None:
        while (tasks := self._shares.get()) is not None:
            try:
                for task in tasks:
                    task()
            finally:
                self._done.release()
