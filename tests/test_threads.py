"""Order within a key, batches, and failures that stay where they happened."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial import unittest

from mailserver import durable
from mailserver.errors import Busy, NoSpace, ServiceUnavailable, TemporaryFailure
from mailserver.threads import Committing, Crew, GroupWriter, Inbox, OrderedPool, _Submission, run_batch
from tests.helpers.threads import ImmediateWriter, immediate_inbox


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


@define(eq=False)
class FolderPlace:
    """Parts are (source, target): renamed, the folder synced."""

    path: Path
    commits: list[int] = field(factory=list)

    @property
    def order(self) -> str:
        return str(self.path)

    def commit(self, parts: Sequence[Any]) -> Committing:
        self.commits.append(len(parts))
        outcomes: list[Exception | None] = []
        for source, target in parts:
            try:
                durable.rename_noreplace(source, target)
                outcomes.append(None)
            except TemporaryFailure as error:
                outcomes.append(error)
        synced = yield [str(self.path)]
        return [outcome or synced[str(self.path)] for outcome in outcomes]


@define(eq=False)
class FileJob:
    place: FolderPlace
    name: str
    broken: str = ""

    def write(self) -> Sequence[int]:
        if self.broken == "write":
            raise OSError(28, "full")
        return (durable.write_new(self._tmp, (b"x",)),)

    @property
    def _tmp(self) -> str:
        return str(self.place.path / f"tmp-{self.name}")

    def parts(self) -> Sequence[tuple[FolderPlace, Any]]:
        if self.broken == "parts":
            raise RuntimeError("parts")
        return ((self.place, (self._tmp, str(self.place.path / self.name))),)

    def finish(self, outcomes: Sequence[Exception | None]) -> str:
        durable.unlink(self._tmp)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return self.name

    def abandon(self) -> None:
        durable.unlink(self._tmp)


class GroupWriterTests(unittest.TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.place = FolderPlace(self.path)
        self.patch(durable, "calls", durable.Calls())

    async def test_many_jobs_few_commits(self) -> None:
        writer = GroupWriter(Inbox(reactor), helpers=2)  # type: ignore[arg-type]
        jobs = [writer.submit(FileJob(self.place, f"m{n}")) for n in range(40)]
        writer.start()
        assert await gatherResults(jobs) == [f"m{n}" for n in range(40)]
        assert self.place.commits == [40]
        await writer.stop()
        await self.assertFailure(writer.submit(FileJob(self.place, "late")), ServiceUnavailable)

    def test_bounded(self) -> None:
        writer = GroupWriter(Inbox(reactor), limit=1)  # type: ignore[arg-type]
        writer.submit(FileJob(self.place, "a"))
        self.failureResultOf(writer.submit(FileJob(self.place, "b")), Busy)

    def test_F7_one_job_fails_alone(self) -> None:
        (self.path / "taken").write_bytes(b"old")
        names = ("a", "taken", "b", "c", "d")
        broken = {"b": "write", "c": "parts"}
        batch = [_Submission(FileJob(self.place, name, broken.get(name, ""))) for name in names]
        run_batch(batch, Crew(0))
        errors = {s.job.name: type(s.error).__name__ for s in batch if s.error}  # type: ignore[attr-defined]
        assert errors == {"taken": "Exists", "b": "NoSpace", "c": "TemporaryFailure"}
        assert sorted(os.listdir(self.path)) == ["a", "d", "taken"]
        self.flushLoggedErrors(RuntimeError)

    def test_F4_fsync_fails_the_job_that_wrote(self) -> None:
        tries: list[int] = []

        def fsync(fd: int) -> None:
            tries.append(fd)
            if len(tries) == 2:
                raise OSError(5, "lost")
            os.fsync(fd)

        durable.calls.fsync = fsync
        writer = ImmediateWriter(immediate_inbox())
        writer.start()
        writer.hold = True
        jobs = [writer.submit(FileJob(self.place, name)) for name in "abc"]
        writer.flush()
        assert self.successResultOf(jobs[0]) == "a"
        self.failureResultOf(jobs[1], TemporaryFailure)
        assert self.successResultOf(jobs[2]) == "c"
        assert sorted(os.listdir(self.path)) == ["a", "c"]
        assert len(tries) == 4  # three files, one folder

    def test_a_commit_that_raises_fails_its_parts(self) -> None:
        def fsync(fd: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                raise OSError(5, "lost")

        durable.calls.fsync = fsync
        writer = ImmediateWriter(immediate_inbox())
        writer.start()
        self.failureResultOf(writer.submit(FileJob(self.place, "a")), TemporaryFailure)
