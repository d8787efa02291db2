"""[disk] Group commit: the one thread that writes what is accepted.

What has come in becomes one batch: its files are written, their fsyncs overlapped, each place (an account,
the queue) commits once, and the reactor is woken once. An fsync costs the disk a flush, and eight at a time
cost about as much as one; so it is never one job per message.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail

from mailserver.disk import durable
from mailserver.disk.overlapped import Overlapped, overlapped
from mailserver.disk.patience import Patience, Promise
from mailserver.disk.threads import Inbox, as_mail_error
from mailserver.errors import Busy, ServiceUnavailable, TemporaryFailure

_OPEN_FOLDERS = 64  # at a time: descriptors are scarce

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
        self.patience = Patience(inbox.reactor)
        self._thread: threading.Thread | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        self._crew.start()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def submit(self, job: GroupJob) -> Deferred[Any]:
        """Fires with the result of `job.finish`. Fails with Busy, ServiceUnavailable or what went wrong, and
        with TemporaryFailure when the disk takes too long (`patience`)."""
        if self._stopped is not None:
            return fail(ServiceUnavailable())
        if self._waiting >= self._limit:
            return fail(Busy())
        self._waiting += 1
        submission = _Submission(job)
        self.patience.watch(submission)
        self._queue.put(submission)
        return submission.deferred

    def stop(self) -> Deferred[None]:
        """Fires when everything that was submitted is done."""
        if self._stopped is None:
            self._stopped = Deferred()
            self.patience.stop()
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
                run_batch([submission for submission in batch if not submission.given_up], self._crew)
                self._inbox.post(self._finish, batch)
        self._crew.stop()
        if self._stopped is not None:
            self._inbox.post(self._stopped.callback, None)

    def _finish(self, batch: list[_Submission]) -> None:
        self._waiting -= len(batch)
        for submission in batch:
            submission.fire()
        self.patience.trim()


class _Submission(Promise):
    """A job and how far it came."""

    __slots__ = ("descriptors", "job", "outcomes")

    def __init__(self, job: GroupJob) -> None:
        super().__init__()
        self.job = job
        self.descriptors: Sequence[int] = ()
        self.outcomes: list[Exception | None] = []

    def write(self) -> None:
        try:
            self.descriptors = self.job.write()
        except BaseException as error:
            self.error = as_mail_error(error)

    def written(self, synced: Iterable[Exception | None]) -> None:
        """What came of the fsyncs of `descriptors`, which are closed."""
        for fd, failed in zip(self.descriptors, synced, strict=True):
            unclosed = _close(fd)
            self.error = self.error or failed or unclosed
        if self.given_up:
            self.error = self.error or TemporaryFailure()
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

    def end(self, synced: Synced, crew: Crew) -> None:
        """From there to the outcomes; a place that has to begin anew has its folders synced here."""
        if self._running is None:
            return
        try:
            while True:
                synced = _sync_folders(self._running.send(synced), crew)
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


def _close(fd: int) -> Exception | None:
    try:
        durable.close(fd)
    except BaseException as error:
        return as_mail_error(error)
    return None


def _sync_folders(paths: Iterable[str], crew: Crew) -> Synced:
    outcomes: dict[str, Exception | None] = {}
    ahead = iter(paths)
    while some := list(islice(ahead, _OPEN_FOLDERS)):
        opened: dict[str, int] = {}
        for path in some:
            try:
                opened[path] = durable.open_dir(path)
            except BaseException as error:
                outcomes[path] = as_mail_error(error)
        for (path, fd), failed in zip(opened.items(), crew.sync(list(opened.values())), strict=True):
            unclosed = _close(fd)
            outcomes[path] = failed or unclosed
    return outcomes


def _commit_all(commits: Sequence[_Commit], crew: Crew) -> None:
    """Commit in each place; the folders of all of them are synced side by side."""
    commits = sorted(commits, key=lambda commit: commit.place.order)
    for commit in commits:
        commit.begin()
    synced = _sync_folders(dict.fromkeys(path for commit in commits for path in commit.folders), crew)
    for commit in commits:
        commit.end(synced, crew)


def run_batch(batch: Sequence[_Submission], crew: Crew) -> None:
    """All phases for a batch; a failure stays with its submission."""
    for submission in batch:
        submission.write()
    written = [submission for submission in batch if submission.error is None]
    synced = iter(crew.sync([fd for submission in written for fd in submission.descriptors]))
    for submission in written:
        submission.written(islice(synced, len(submission.descriptors)))
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
    """Threads that run the tasks of one batch side by side, and what syncs many files in one call where the
    system knows how."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._shares: SimpleQueue[Sequence[Callable[[], None]] | None] = SimpleQueue()
        self._done = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._overlapped: Overlapped | None = None

    def start(self) -> None:
        self._overlapped = overlapped()
        for number in range(self._size):
            thread = threading.Thread(target=self._work, name=f"writer-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """After the last `run` or `sync`."""
        for _ in self._threads:
            self._shares.put(None)
        self._threads.clear()
        if self._overlapped is not None:
            self._overlapped.close()
            self._overlapped = None

    def sync(self, descriptors: Sequence[int]) -> list[Exception | None]:
        """fsync of all, side by side; an outcome for each."""
        if self._overlapped is not None and len(descriptors) > 1:
            return durable.sync_side_by_side(descriptors, self._overlapped)
        outcomes: list[Exception | None] = [None] * len(descriptors)

        def sync(number: int) -> None:
            try:
                durable.sync_file(descriptors[number])
            except BaseException as error:
                outcomes[number] = as_mail_error(error)

        self.run([partial(sync, number) for number in range(len(descriptors))])
        return outcomes

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Returns when all are done; tasks must not raise. Each thread gets a share, and the caller's thread
        the first one: waking a thread costs more than most tasks."""
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
