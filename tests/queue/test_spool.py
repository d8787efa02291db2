"""The spool with its thread, on a real reactor; what opening it finds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from mailserver.disk import durable
from mailserver.errors import NoSpace, ServiceUnavailable
from mailserver.processes.instance import AlreadyRunning
from mailserver.queue.schema import DatabaseDamaged
from mailserver.queue.spool import Spool
from mailserver.queue.values import Lane, State, Verdict
from tests.queue.scene import message

FAR = Lane("far.example", "a@example.org")

BEFORE_VERSION_3 = """
    DROP INDEX recipients_due; ALTER TABLE recipients DROP COLUMN priority;
    ALTER TABLE messages DROP COLUMN priority;
    CREATE INDEX recipients_due ON recipients (domain, sender, next_try) WHERE state = 0;
    DROP INDEX recipients_deadline; ALTER TABLE recipients DROP COLUMN deadline;
    ALTER TABLE messages DROP COLUMN deliver_by; ALTER TABLE messages DROP COLUMN by;
    DROP INDEX recipients_waiting; ALTER TABLE recipients DROP COLUMN waits_since;
    CREATE INDEX messages_received ON messages (received_at);
    ALTER TABLE messages DROP COLUMN require_tls; ALTER TABLE messages DROP COLUMN hold;
    ALTER TABLE messages DROP COLUMN release_at;
"""


class SpoolTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.spool = self.open()

    def open(self) -> Spool:
        spool = Spool(self.folder, reactor)
        spool.open()
        self.addCleanup(spool.close)
        return spool

    def enqueue(self, **fields: Any) -> Any:
        new = message("b@far.example", **fields)
        return self.spool.enqueue(new.envelope, new.trace, new.body, new.targets)

    async def test_many_at_once_and_back(self) -> None:
        woken: list[set[Lane]] = []
        self.spool.enqueued = woken.append
        await gatherResults([self.enqueue(id=f"m{n}", body=b"x" * n) for n in range(500)])
        self.assertEqual(len(woken), 500)
        files = [path for path in (self.folder / "messages").rglob("*") if path.is_file()]
        self.assertLess(len(files), 100, "messages that come together share files")
        taken = await self.spool.take([FAR], 1000)
        self.assertEqual(
            {job.message.envelope.id: job.whole for job in taken.jobs},
            {f"m{n}": b"Received: here\n" + b"x" * n for n in range(500)},
        )
        self.assertEqual((await self.spool.take([FAR], 1000)).jobs, (), "they are under way")
        rows = [recipient.row for job in taken.jobs for recipient in job.recipients]
        await self.spool.release(rows[:100])
        self.assertEqual(len((await self.spool.take([FAR], 1000)).jobs), 100)
        await gatherResults([self.spool.record([Verdict(row, State.DELIVERED, 1.0)]) for row in rows])
        self.assertEqual(await self.spool.waiting(), [])
        left = [path for path in (self.folder / "messages").rglob("*") if path.is_file()]
        self.assertEqual(left, [])

    async def test_F2_file_then_folder_then_row(self) -> None:
        """Nothing is told before file, folder and commit are on the disk, in this order."""
        order: list[str] = []
        original = durable.calls.fsync

        def fsync(fd: int) -> None:
            path = Path(f"/proc/self/fd/{fd}").resolve()
            order.append("folder" if path.is_dir() else "file")
            original(fd)

        self.patch(durable.calls, "fsync", fsync)
        commits = self.spool._database.total_changes
        waiting = self.enqueue()
        await waiting
        self.assertEqual(order, ["file", "folder"])
        self.assertGreater(self.spool._database.total_changes, commits)
        self.assertEqual(self.spool._database.execute("PRAGMA synchronous").fetchone(), (2,))
        self.assertEqual(self.spool._database.execute("PRAGMA journal_mode").fetchone(), ("wal",))

    async def test_F3_one_failure_is_not_the_failure_of_all(self) -> None:
        """A large message has a file of its own: when that one fails, the others are queued."""
        original = durable.calls.write

        def write(fd: int, data: Any) -> int:
            if b"LARGE" in bytes(data[:2000]):
                raise OSError(28, "No space left on device")
            return original(fd, data)

        self.patch(durable.calls, "write", write)
        large = self.enqueue(id="large", body=b"LARGE" * 20_000)
        small = self.enqueue(id="small")
        with self.assertRaises(NoSpace):
            await large
        await small
        taken = await self.spool.take([FAR], 10)
        self.assertEqual([job.message.envelope.id for job in taken.jobs], ["small"])

    async def test_F3_a_commit_that_fails_is_told(self) -> None:
        blocker = sqlite3.connect(self.folder / "queue.sqlite", isolation_level=None)
        self.addCleanup(blocker.close)
        self.spool._database.execute("PRAGMA busy_timeout = 50")
        blocker.execute("BEGIN IMMEDIATE")
        with self.assertRaises(Exception) as caught:
            await self.enqueue()
        self.assertTrue(caught.exception.temporary)  # type: ignore[attr-defined]
        blocker.execute("ROLLBACK")
        await self.enqueue()

    async def test_a_large_message_is_not_loaded(self) -> None:
        await self.enqueue(body=b"Subject: big\n\n" + b"x\n" * 400_000)
        (job,) = (await self.spool.take([FAR], 10)).jobs
        self.assertIsNone(job.whole)
        self.assertEqual(len(job.head), 65536)
        self.assertTrue(Path(job.path).is_file())
        place = job.message.place
        self.assertEqual((place.offset, place.wire_size - place.size), (0, 400_003))

    async def test_closing_finishes_what_was_asked_for(self) -> None:
        waiting = [self.enqueue(id=f"m{n}") for n in range(50)]
        closed = self.spool.close()
        await gatherResults(waiting)
        await closed
        with self.assertRaises(ServiceUnavailable):
            await self.enqueue()
        again = self.open()
        self.assertEqual(len(await again.waiting()), 1)

    def test_F19_a_second_spool_on_the_same_folder(self) -> None:
        self.assertRaises(AlreadyRunning, Spool(self.folder, reactor).open)

    async def test_F18_nobody_else_may_read(self) -> None:
        await self.enqueue()
        for path in self.folder.rglob("*"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    async def test_F17_a_file_replaced_by_something_else_is_set_aside(self) -> None:
        for number, make in enumerate((lambda p: p.symlink_to("/etc/passwd"), lambda p: p.mkdir())):
            await self.enqueue(id=f"m{number}")
            (path,) = [p for p in (self.folder / "messages").rglob("*") if p.is_file()]
            path.unlink()
            make(path)
            self.assertEqual((await self.spool.take([FAR], 10)).jobs, ())
            if path.is_symlink():
                path.unlink()
        self.assertEqual(await self.spool.waiting(), [])


class DamageTests(TestCase):
    def test_databases_that_are_none(self) -> None:
        for content in (b"junk" * 1000, b"SQLite format 3\0" + b"\xff" * 5000):
            folder = Path(self.mktemp()).absolute()
            folder.mkdir()
            (folder / "queue.sqlite").write_bytes(content)
            spool = Spool(folder, reactor)
            self.assertRaises(DatabaseDamaged, spool.open)
            self.assertEqual((folder / "queue.sqlite").read_bytes(), content, "left as it was")
            self.assertRaises(DatabaseDamaged, spool.open)

    def test_a_database_of_the_second_version_is_brought_up_to_date(self) -> None:
        folder = Path(self.mktemp()).absolute()
        spool = Spool(folder, reactor, threaded=False)
        spool.open()
        new = message("b@far.example", id="old", at=1000.0)
        spool.enqueue(new.envelope, new.trace, new.body, new.targets)
        spool.close()
        connection = sqlite3.connect(folder / "queue.sqlite")
        connection.executescript(f"{BEFORE_VERSION_3} PRAGMA user_version = 2;")
        connection.close()
        again = Spool(folder, reactor, threaded=False)
        again.open()
        self.addCleanup(again.close)
        (job,) = self.successResultOf(again.take_old(2000.0, 2000.0, 10))
        self.assertEqual(job.message.envelope.id, "old")

    def test_a_database_of_a_later_version(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        connection = sqlite3.connect(folder / "queue.sqlite")
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE x (y)")
        connection.close()
        error = self.assertRaises(DatabaseDamaged, Spool(folder, reactor).open)
        self.assertIn("version 99", str(error))

    def test_a_database_of_the_first_version_is_brought_up_to_date(self) -> None:
        folder = Path(self.mktemp()).absolute()
        spool = Spool(folder, reactor, threaded=False)
        spool.open()
        for sender, user in (("a@example.org", ""), ("x@example.org", "al@example.org")):
            new = message("b@far.example", "c@other.example", sender=sender, user=user, id=sender)
            spool.enqueue(new.envelope, new.trace, new.body, new.targets)
        spool.close()
        connection = sqlite3.connect(folder / "queue.sqlite")
        connection.executescript(
            f"{BEFORE_VERSION_3} DROP TABLE senders; DROP INDEX recipients_due;"
            "ALTER TABLE recipients DROP COLUMN sender;"
            "CREATE INDEX recipients_due ON recipients (domain, next_try) WHERE state = 0;"
            "PRAGMA user_version = 1;"
        )
        connection.close()
        again = Spool(folder, reactor, threaded=False)
        again.open()
        self.addCleanup(again.close)
        lanes = {lane for lane, _ in self.successResultOf(again.waiting())}
        users = ("a@example.org", "al@example.org")
        self.assertEqual(lanes, {Lane(d, u) for d in ("far.example", "other.example") for u in users})
        self.assertEqual(len(self.successResultOf(again.take(list(lanes), 10)).jobs), 4)
