"""Order within a key, and callbacks in batches."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial import unittest

from mailserver.disk.threads import Inbox, OrderedPool
from mailserver.errors import Busy, NoSpace, ServiceUnavailable, TemporaryFailure
from tests.helpers.threads import immediate_inbox


class InboxTests(unittest.TestCase):
    def test_order_and_one_wake_up(self) -> None:
        wakes: list[Any] = []

        class Reactor:
            def callFromThread(self, function: Any) -> None:
                wakes.append(function)

        inbox = Inbox(Reactor())  # type: ignore[arg-type]
        seen: list[int] = []
        for n in range(5):
            inbox.post(seen.append, n)
        assert len(wakes) == 1
        wakes[0]()
        assert seen == [0, 1, 2, 3, 4]
        inbox.post(seen.append, 5)
        assert len(wakes) == 2

    def test_a_callback_that_raises_does_not_stop_the_others(self) -> None:
        inbox = immediate_inbox()
        seen: list[int] = []
        inbox.post(lambda: 1 / 0)
        inbox.post(seen.append, 1)
        assert seen == [1]
        self.flushLoggedErrors(ZeroDivisionError)


class OrderedPoolTests(unittest.TestCase):
    def setUp(self) -> None:
        self.pool = OrderedPool(Inbox(reactor), 3, limit=1000)  # type: ignore[arg-type]
        self.pool.start()

    def tearDown(self) -> Deferred[None]:
        return self.pool.stop()

    async def test_one_key_in_order_and_never_twice_at_a_time(self) -> None:
        seen: list[tuple[str, int]] = []
        busy: set[str] = set()

        def job(key: str, n: int) -> int:
            assert key not in busy
            busy.add(key)
            seen.append((key, n))
            busy.remove(key)
            return n

        keys = ("a", "b", "c", "d")
        results = await gatherResults([self.pool.run(k, job, k, n) for n in range(50) for k in keys])
        assert results == [n for n in range(50) for _ in keys]
        for key in keys:
            assert [n for k, n in seen if k == key] == list(range(50))

    async def test_keys_run_side_by_side(self) -> None:
        meeting = threading.Barrier(2, timeout=30)
        await gatherResults([self.pool.run(key, meeting.wait) for key in "ab"])

    async def test_errors_reach_their_caller(self) -> None:
        def full() -> None:
            raise OSError(28, "full")

        await self.assertFailure(self.pool.run("a", full), NoSpace)
        await self.assertFailure(self.pool.run("a", lambda: 1 // 0), TemporaryFailure)
        self.flushLoggedErrors(ZeroDivisionError)
        assert await self.pool.run("a", lambda: 7) == 7

    async def test_bounded(self) -> None:
        gate = threading.Event()
        jobs = [self.pool.run("a", gate.wait) for _ in range(1000)]
        await self.assertFailure(self.pool.run("a", gate.wait), Busy)
        gate.set()
        await gatherResults(jobs)

    async def test_stop_waits_for_what_was_handed_in(self) -> None:
        seen: list[int] = []
        for n in range(10):
            self.pool.run("a", seen.append, n)
        await self.pool.stop()
        assert seen == list(range(10))
        await self.assertFailure(self.pool.run("a", seen.append, 1), ServiceUnavailable)
