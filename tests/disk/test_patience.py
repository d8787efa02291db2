"""A disk that does not answer: who waits for it is told, and nothing is done of what was given up in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailserver.disk import durable, threads
from mailserver.disk.group_commit import GroupWriter
from mailserver.disk.patience import Patience, Promise
from mailserver.disk.threads import Inbox, OrderedPool
from mailserver.errors import DiskStuck, ServiceUnavailable, TemporaryFailure
from mailserver.queue.spool import Spool
from tests.disk.test_group_commit import FileJob, FolderPlace
from tests.queue.scene import message


class Reactor(Clock):
    """Calls of threads are made when a test looks."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._called = threading.Semaphore(0)

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        with self._lock:
            self._calls.append((function, args))
        self._called.release()

    def until(self, done: Callable[[], object]) -> None:
        while not done():
            assert self._called.acquire(timeout=20)
            with self._lock:
                function, args = self._calls.pop(0)
            function(*args)


class PatienceTests(SynchronousTestCase):
    def test_who_waits_too_long_is_told(self) -> None:
        clock = Clock()
        patience = Patience(clock, 10.0)
        kept, broken = Promise(), Promise()
        patience.watch(kept)
        clock.advance(5)
        patience.watch(broken)
        kept.fire()
        patience.trim()
        clock.advance(9)
        self.assertNoResult(broken.deferred)
        clock.advance(1)
        self.failureResultOf(broken.deferred, TemporaryFailure)
        broken.fire()  # in the end, and nobody listens
        self.assertEqual(clock.getDelayedCalls(), [])


class StuckTestCase(SynchronousTestCase):
    """fsync waits while `gate` is closed."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        real = durable.calls.fsync
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

        def fsync(fd: int) -> None:
            self.entered.release()
            assert self.gate.wait(20)
            real(fd)

        self.patch(durable.calls, "fsync", fsync)
        self.addCleanup(self.gate.set)

    def test_F15_jobs_of_the_writer(self) -> None:
        """What was written and not yet in its place never gets there, what waited behind it is not begun, and
        what comes when the disk is back is done."""
        writer = GroupWriter(Inbox(self.reactor), helpers=1)  # type: ignore[arg-type]
        writer.start()
        place = FolderPlace(self.folder)
        stuck = writer.submit(FileJob(place, "stuck"))
        self.assertTrue(self.entered.acquire(timeout=20))
        behind = writer.submit(FileJob(place, "behind"))
        threads = threading.active_count()
        self.reactor.advance(29)
        self.assertNoResult(stuck)
        self.reactor.advance(1)
        for waiting in (stuck, behind):
            self.failureResultOf(waiting, TemporaryFailure)
        self.assertEqual(threading.active_count(), threads)
        self.gate.set()
        after = writer.submit(FileJob(place, "after"))
        self.reactor.until(lambda: after.called)
        self.successResultOf(after)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["after"])
        stopped = writer.stop()
        self.reactor.until(lambda: stopped.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_F15_mail_for_the_queue(self) -> None:
        self.gate.set()
        spool = Spool(self.folder / "queue", self.reactor, clock=self.reactor.seconds)
        spool.open()
        woken: list[Any] = []
        spool.enqueued = woken.append
        self.gate.clear()
        while self.entered.acquire(blocking=False):
            pass
        waiting = [self._enqueue(spool, "stuck")]
        self.assertTrue(self.entered.acquire(timeout=20))
        waiting.append(self._enqueue(spool, "behind"))
        self.reactor.advance(30)
        for one in waiting:
            self.failureResultOf(one, TemporaryFailure)
        self.gate.set()
        after = self._enqueue(spool, "after")
        self.reactor.until(lambda: after.called)
        self.successResultOf(after)
        self.assertEqual(spool._database.execute("SELECT name FROM messages").fetchall(), [("after",)])
        files = [path for path in (self.folder / "queue" / "messages").rglob("*") if path.is_file()]
        self.assertEqual(len(files), 1)
        closed = spool.close()
        self.reactor.until(lambda: closed.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def _enqueue(self, spool: Spool, id: str) -> Any:
        new = message("b@far.example", id=id)
        return spool.enqueue(new.envelope, new.trace, new.body, new.targets)


class StuckPoolTests(SynchronousTestCase):
    """Threads whose disk hangs until `gate` opens, and what waits for them. `used`: each thread's processor
    time."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.done: list[str] = []
        self.used = 0
        self.patch(threads, "processor_time", lambda thread: self.used)
        self.pool = OrderedPool(Inbox(self.reactor), size=2)  # type: ignore[arg-type]
        self.pool.start()
        self.addCleanup(self.gate.set)

    def hang(self, name: str) -> None:
        self.entered.release()
        assert self.gate.wait(20)
        self.done.append(name)

    def ask_one_that_hangs(self, key: str) -> Deferred[None]:
        asked = self.pool.ask(key, self.hang, key)
        assert self.entered.acquire(timeout=20)
        return asked

    def let_go(self) -> None:
        self.gate.set()
        stopped = self.pool.stop()
        self.reactor.until(lambda: stopped.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_F15_who_waits_is_told_and_what_was_not_begun_is_never_done(self) -> None:
        stuck = self.ask_one_that_hangs("alice")
        behind = self.pool.ask("alice", self.done.append, "behind")
        cleaning = self.pool.run("alice", self.done.append, "cleaning")
        self.reactor.advance(15)
        self.reactor.advance(14)
        self.assertNoResult(stuck)
        self.reactor.advance(1)
        for waiting in (stuck, behind):
            self.failureResultOf(waiting, DiskStuck)
        self.assertNoResult(cleaning)
        self.let_go()
        self.assertEqual(self.done, ["alice", "cleaning"])

    def test_nobody_is_watched_who_was_refused(self) -> None:
        self.let_go()
        self.failureResultOf(self.pool.ask("alice", self.done.append, "late"), ServiceUnavailable)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_F15_other_accounts_go_on_as_long_as_a_thread_is_free(self) -> None:
        first = self.ask_one_that_hangs("alice")
        other = self.pool.ask("bob", self.done.append, "bob")
        self.reactor.until(lambda: other.called)
        second = self.ask_one_that_hangs("carol")
        behind = self.pool.ask("bob", self.done.append, "bob again")
        for _ in range(2):
            self.reactor.advance(15)
        for waiting in (first, second, behind):
            self.failureResultOf(waiting, DiskStuck)
        self.let_go()
        self.assertEqual(self.done[0], "bob")
        self.assertEqual(sorted(self.done[1:]), ["alice", "carol"])

    def test_F15_work_that_goes_on_is_waited_for(self) -> None:
        """However long it takes: the disk answers."""
        steps = threading.Semaphore(0)

        def work() -> str:
            for _ in range(10):
                self.entered.release()
                assert steps.acquire(timeout=20)
                self.used += 1
            return "done"

        long = self.pool.ask("alice", work)
        behind = self.pool.ask("alice", self.done.append, "behind")
        for _ in range(10):
            assert self.entered.acquire(timeout=20)
            self.reactor.advance(15)
            steps.release()
        self.reactor.until(lambda: behind.called)
        self.assertEqual(self.successResultOf(long), "done")
        self.assertEqual(self.done, ["behind"])
        self.let_go()
