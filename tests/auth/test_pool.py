"""The threads that hash."""

from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.trial.unittest import TestCase

from mailserver.auth.pool import HashPool
from mailserver.errors import Busy
from tests.auth.support import ManualPool, Outcome, ThreadClock
from tests.helpers.settings import make_settings


def make(**auth: int) -> tuple[HashPool, ManualPool]:
    threads = ManualPool(automatic=False)
    return HashPool(ThreadClock(), make_settings(auth=auth), threads), threads


def test_D4_beyond_the_backlog_it_is_busy() -> None:
    pool, threads = make(threads=2, backlog=3)
    outcomes = [Outcome(pool.run(lambda: 7)) for _ in range(8)]
    assert [type(outcome.error) for outcome in outcomes[5:]] == [Busy] * 3
    assert pool.busy == 5
    threads.work()
    assert [outcome.value for outcome in outcomes[:5]] == [7] * 5
    assert pool.busy == 0
    assert Outcome(pool.run(lambda: 7)).fired == 0


def test_equal_keys_share_one_run() -> None:
    pool, threads = make()
    runs: list[int] = []
    outcomes = [Outcome(pool.run(lambda: runs.append(1), key)) for key in (b"a", b"a", b"b", None, None)]
    threads.work()
    assert [outcome.fired for outcome in outcomes] == [1] * 5
    assert len(runs) == 4
    pool.run(lambda: runs.append(1), b"a")
    threads.work()
    assert len(runs) == 5


def test_errors_come_back() -> None:
    pool, threads = make()
    outcome = Outcome(pool.run(lambda: 1 // 0))
    threads.work()
    assert isinstance(outcome.error, ZeroDivisionError)


def test_D7_cancelled_work_is_not_done() -> None:
    pool, threads = make()
    runs: list[int] = []
    first, second = (Outcome(pool.run(lambda: runs.append(1), b"a")) for _ in range(2))
    first.deferred.cancel()
    assert isinstance(first.error, CancelledError)
    second.deferred.cancel()
    third = Outcome(pool.run(lambda: runs.append(3), b"a"))
    threads.work()
    assert runs == [3]
    assert (first.fired, second.fired, third.fired) == (1, 1, 1)
    assert third.error is None
    assert pool.busy == 0


def test_one_of_two_is_cancelled() -> None:
    pool, threads = make()
    first, second = (Outcome(pool.run(lambda: 5, b"a")) for _ in range(2))
    first.deferred.cancel()
    threads.work()
    assert second.value == 5


def test_stopping_drops_what_waits() -> None:
    pool, _ = make()
    runs: list[int] = []
    outcome = Outcome(pool.run(lambda: runs.append(1)))
    pool.stop()
    assert isinstance(outcome.error, Busy)
    assert isinstance(Outcome(pool.run(lambda: 1)).error, Busy)
    assert not runs


def test_the_number_of_threads_can_change() -> None:
    settings = make_settings(auth={"threads": 2})
    threads = ManualPool()
    pool = HashPool(ThreadClock(), settings, threads)
    settings.change(auth={"threads": 4})
    pool.run(lambda: 1)
    assert threads.size == 4


class RealThreads(TestCase):
    """With a ThreadPool and the reactor."""

    async def test_work_is_done_in_few_other_threads(self) -> None:
        pool = HashPool(reactor, make_settings(auth={"threads": 2}))
        pool.start()
        self.addCleanup(pool.stop)
        names = await gatherResults([pool.run(threading.get_ident) for _ in range(20)])
        self.assertLessEqual(len(set(names)), 2)
        self.assertNotIn(threading.get_ident(), names)
