"""Messages in memory and in the spool: line ends, edits, back-pressure, failures, nothing left behind."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailserver.delivery.body import (
    BACKLOG,
    FEW,
    KEPT_HEAD,
    TOGETHER,
    Body,
    MemoryBody,
    Spool,
)
from mailserver.disk import durable
from mailserver.errors import DiskStuck, MailError, NoSpace, TemporaryFailure
from mailserver.interfaces import IMessageBody


class DirectPool:
    """Jobs run at once, or when `step` is called."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.jobs: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def run(self, key: object, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if not self.held:
            return execute(function, *args)
        waiting: Deferred[Any] = Deferred()
        self.jobs.append((waiting, function, args))
        return waiting

    ask = run

    def step(self) -> None:
        waiting, function, args = self.jobs.pop(0)
        execute(function, *args).chainDeferred(waiting)


class BodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.pool = DirectPool()
        self.spool = Spool(self.directory, self.pool, memory=1000)
        self.spool.clean()

    def files(self) -> list[Path]:
        return list(self.directory.iterdir())

    def fill(self, data: bytes, step: int, edit: Callable[[bytes], bytes] | None = None) -> Body:
        body = self.spool.body(edit)
        for at in range(0, len(data), step):
            body.write(data[at : at + step])
        finished = body.finish()
        if finished is not None:
            self.successResultOf(finished)
        return body

    def test_memory_and_file_hold_the_same(self) -> None:
        for size in (10, 100, 5000):
            data = b"line\r\n" * size
            for step in (1, 7, 512, 100_000):
                body = self.fill(data, step)
                expected = b"line\n" * size
                self.assertEqual(b"".join(body.chunks()), expected)
                self.assertEqual((body.size, body.wire_size), (len(expected), len(data)))
                self.assertEqual(body.path is None, len(data) <= 1000)
                self.assertEqual(body.head(7), b"line\nli")
                verifyObject(IMessageBody, body)
                body.discard()
                body.discard()
                self.assertEqual(self.files(), [])

    def test_the_file_is_private(self) -> None:
        body = self.fill(b"x" * 2000, 100)
        self.assertEqual(Path(str(body.path)).stat().st_mode & 0o777, 0o600)

    def test_the_edit_sees_the_beginning_once(self) -> None:
        seen: list[int] = []

        def edit(data: bytes) -> bytes:
            seen.append(len(data))
            return b"X: y\n" + data

        for size in (10, 3000):
            body = self.fill(b"z" * size + b"\r\n", 100, edit)
            self.assertEqual(b"".join(body.chunks()), b"X: y\n" + b"z" * size + b"\n")
            self.assertEqual(body.wire_size, size + 8)
        self.assertEqual(seen[0], 11)
        self.assertEqual(len(seen), 2)

    def test_a_refused_header_fails_the_message(self) -> None:
        def edit(data: bytes) -> bytes:
            raise MailError("no", code=550, enhanced="5.7.1")

        for size in (10, 3000):
            body = self.spool.body(edit)
            body.write(b"z" * size)
            body.write(b"more")
            self.assertRaises(MailError, body.finish)
            body.discard()
        self.assertEqual(self.files(), [])

    def test_a_lagging_disk_stops_the_producer(self) -> None:
        self.pool.held = True
        told: list[bool] = []
        body = self.spool.body(None, lambda: told.append(body.full))
        piece = b"x" * (BACKLOG // 4)
        while not body.full:
            body.write(piece)
        while self.pool.jobs:
            self.pool.step()

        self.assertEqual(told, [False])

    def test_F15_a_disk_that_does_not_answer(self) -> None:
        """The producer is not stopped for ever, and the message is refused."""
        self.pool.held = True
        body = self.spool.body(on_drained=lambda: None)
        while not body.full:
            body.write(b"x" * 100_000)
        for waiting, _, _ in self.pool.jobs:
            waiting.errback(DiskStuck())
        self.assertFalse(body.full)
        body.write(b"x" * 100_000)
        self.assertRaises(DiskStuck, body.finish)
        body.discard()

    def test_E13_many_at_once(self) -> None:
        """Together they hold little more than TOGETHER: those that have more than a few octets go to the disk
        as soon as their header is there, and each piece of them is written before more is taken."""
        spool = Spool(self.directory, self.pool)
        header = b"Subject: x\r\n\r\n"
        bodies = [spool.body() for _ in range(500)]
        for body in bodies:
            body.write(header)
        for _ in range(20):
            for body in bodies:
                body.write(b"x" * 40_000)
        self.assertGreater(spool.held, TOGETHER // 2)
        self.assertLess(spool.held, TOGETHER + 500 * (FEW + FEW // 4))
        for body in bodies:
            finished = body.finish()
            if finished is not None:
                self.successResultOf(finished)
            self.assertEqual(b"".join(body.chunks()), b"Subject: x\n\n" + b"x" * 800_000)
            self.assertEqual(body.head(12), b"Subject: x\n\n")
            body.discard()
        self.assertEqual((spool.held, self.files()), (0, []))

    def test_E13_a_header_is_waited_for(self) -> None:
        """What policies look at is never cut."""
        spool = Spool(self.directory, self.pool)
        spool.held = TOGETHER + 1
        seen: list[bytes] = []

        def edit(data: bytes) -> bytes:
            seen.append(data)
            return data

        body = spool.body(edit)
        body.write(b"X: " + b"x" * (2 * FEW) + b"\r\n\r")
        self.assertEqual(seen, [])
        body.write(b"\ntext")
        self.assertEqual(seen, [b"X: " + b"x" * (2 * FEW) + b"\n\ntext"])
        self.assertEqual(body.head(KEPT_HEAD), seen[0][:-4])

    def test_E13_too_many_at_once(self) -> None:
        """The disk lags behind so far that nothing more can be held: 452, and there is room again later."""
        self.pool.held = True
        spool = Spool(self.directory, self.pool)
        bodies = [spool.body() for _ in range(2000)]
        for body in bodies:
            body.write(b"Subject: x\r\n\r\n")
            body.write(b"x" * 100_000)
        self.assertLess(spool.held, 2 * TOGETHER + 200_000)
        error = self.assertRaises(TemporaryFailure, bodies[-1].finish)
        self.assertEqual((error.code, error.enhanced), (452, "4.3.1"))
        for body in bodies:
            body.discard()
        while self.pool.jobs:
            self.pool.step()
        self.assertEqual((spool.held, self.files()), (0, []))

    def test_E13_the_bound_is_the_administrators(self) -> None:
        bound = 200_000
        spool = Spool(self.directory, self.pool, together=lambda: bound)
        first, second = spool.body(), spool.body()
        for body in (first, second):
            body.write(b"Subject: x\r\n\r\n" + b"x" * 90_000)
        self.assertEqual(self.files(), [])
        bound = 100_000
        second.write(b"x" * 10_000)
        self.assertEqual(len(self.files()), 1)

    def test_E13_a_body_that_is_forgotten(self) -> None:
        spool = Spool(self.directory, self.pool)
        body = spool.body()
        body.write(b"x" * 1000)
        self.assertEqual(spool.held, 1000)
        del body
        gc.collect()
        self.assertEqual(spool.held, 0)

    def test_E13_the_disk_that_lagged_behind_comes_back(self) -> None:
        """Who was stopped while it was crowded goes on, whatever had gathered."""
        self.pool.held = True
        spool = Spool(self.directory, self.pool)
        spool.held = TOGETHER + 1
        told: list[bool] = []
        body = spool.body(None, lambda: told.append(body.full))
        body.write(b"Subject: x\r\n\r\n")
        while not body.full:
            body.write(b"x" * 50_000)
        while self.pool.jobs:
            self.pool.step()
        self.assertEqual(told, [False])

    def test_F9_a_full_disk(self) -> None:
        def full(fd: int, data: object) -> int:
            raise OSError(errno.ENOSPC, "full")

        self.patch(durable.calls, "write", full)
        body = self.spool.body()
        body.write(b"x" * 300_000)
        self.assertRaises(NoSpace, body.finish)
        body.discard()
        self.assertEqual(self.files(), [])

    def test_F9_a_disk_that_fills_up_late(self) -> None:
        self.pool.held = True
        body = self.spool.body()
        body.write(b"x" * 2000)
        finished = body.finish()
        assert finished is not None

        def broken(fd: int, data: object) -> int:
            raise OSError(errno.EIO, "broken")

        self.patch(durable.calls, "write", broken)
        while self.pool.jobs:
            self.pool.step()
        self.failureResultOf(finished, TemporaryFailure)

    def test_discarded_while_it_is_written(self) -> None:
        self.pool.held = True
        body = self.spool.body()
        body.write(b"x" * 2000)
        body.discard()
        body.write(b"late")
        while self.pool.jobs:
            self.pool.step()
        self.assertEqual(self.files(), [])

    def test_clean_removes_what_a_crash_left(self) -> None:
        (self.directory / "1.1").write_bytes(b"left")
        self.spool.clean()
        self.assertEqual(self.files(), [])

    def test_memory_body(self) -> None:
        body = MemoryBody(b"a\nb\n")
        verifyObject(IMessageBody, body)
        self.assertEqual((body.size, body.wire_size, body.head(2)), (4, 6, b"a\n"))
        self.assertEqual(b"".join(body.chunks()), b"a\nb\n")
