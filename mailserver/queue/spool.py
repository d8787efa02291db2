"""The durable queue: an own thread with the database and the files; Deferreds on the reactor's side.

Whatever has come in while the thread was busy becomes one batch: the files of all new messages are made
durable, then one transaction holds their rows and every outcome, then the Deferreds fire with one wake-up
of the reactor. Order, always: file durable, row committed, told. Failures tell as MailErrors and leave
nothing behind.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.disk import durable
from mailserver.disk.group_commit import Crew
from mailserver.disk.patience import Patience, Promise
from mailserver.disk.threads import Inbox, as_mail_error
from mailserver.errors import Busy, NoSpace, ServiceUnavailable, TemporaryFailure
from mailserver.interfaces import Clock, Envelope, IMessageBody, IQueue, Recipient, Target
from mailserver.processes.instance import AlreadyRunning, InstanceLock
from mailserver.queue import database, schema
from mailserver.queue.files import MessageFiles
from mailserver.queue.poison import Quarantine
from mailserver.queue.reading import JobReader, release
from mailserver.queue.values import Job, Lane, NewMessage, Taken, Verdict, lane_of, sender_of

T = TypeVar("T")
BATCH = 300
SENDERS = 10_000  # whose number of messages is remembered
POSTPONED = 500  # recipients put off in one transaction
LIMIT = 20_000  # operations waiting


class _Operation(Promise):
    """One request on its way through the thread."""

    __slots__ = ("messages", "read", "write")

    def __init__(
        self,
        messages: Sequence[NewMessage] = (),
        write: Callable[[], Any] | None = None,
        read: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        self.messages = messages
        self.write = write
        self.read = read

    @property
    def lanes(self) -> Sequence[Lane]:
        """Each once, in their order: who came first has the first turn."""
        return list(
            dict.fromkeys(
                lane_of(message.envelope, target.domain)
                for message in self.messages
                for _, target in message.targets
            )
        )


@implementer(IQueue)
class Spool:
    """queue_dir. `open` at start, `close` at the end; all else in the reactor thread, in between.

    threaded=False does everything at once in the caller's thread, for tests with a clock of their own.
    """

    log = Logger()

    def __init__(
        self, queue_dir: Path, reactor: Any, *, clock: Clock = time.time, threaded: bool = True
    ) -> None:
        self.queue_dir = queue_dir
        self.enqueued: Callable[[Sequence[Lane]], None] = lambda lanes: None  # set by the manager
        self._clock = clock
        self._threaded = threaded
        self._inbox = Inbox(reactor, reactor.seconds)
        self.patience = Patience(reactor)
        self._files = MessageFiles(queue_dir)
        self._quarantine = Quarantine(self._files)
        self._reader = JobReader(self._files, self._quarantine, clock)
        self._counts: dict[str, int] = {}  # messages in the queue, by sender, as last seen
        self._lock = InstanceLock(queue_dir / "lock")
        self._crew = Crew(8)
        self._operations: SimpleQueue[_Operation | None] = SimpleQueue()
        self._waiting = 0
        self._doubtful: list[str] = []  # files of commits that failed
        self._database: Any = None
        self._thread: threading.Thread | None = None
        self._closed: Deferred[None] | None = None

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> None:
        """[disk] Lock, make or check the folder, remove leftovers, start the thread. Blocks; call it
        before the server takes mail. Raises AlreadyRunning, DatabaseDamaged (both OSErrors), MailError."""
        self.prepare()
        self._begin()

    def prepare(self) -> None:
        """[disk] All of `open` but the thread. Of several processes one does it, before the others begin, and
        closes it again. Raises as `open`."""
        durable.make_dirs(str(self.queue_dir))
        self._lock.acquire()
        try:
            self._files.prepare()
            self._database, fresh = schema.connect(self.queue_dir)
            if fresh:
                durable.sync_dir(str(self.queue_dir))
            known = {row[0] for row in self._database.execute("SELECT DISTINCT file FROM messages")}
            swept = self._files.sweep(known, fresh)
        except sqlite3.Error as error:
            self._shut()
            raise schema.DatabaseDamaged(f"{self.queue_dir / schema.NAME}: {error}") from error
        except BaseException:
            self._shut()
            raise
        if swept:
            self.log.info("queue: {swept} files without a row were leftovers", swept=swept)

    def join(self) -> None:
        """[disk] Instead of `open`, where another process has prepared it: mail can be entered from now on,
        and read once `lead` was granted."""
        self._database, _ = schema.connect(self.queue_dir, create=False)
        self._begin()

    def lead(self) -> bool:
        """[disk] One process has the lock, and its manager delivers. True where it is this one now."""
        try:
            self._lock.acquire()
        except AlreadyRunning:
            return False
        return True

    def _begin(self) -> None:
        if self._threaded:
            self._crew.start()
            self._thread = threading.Thread(target=self._work, name="queue", daemon=True)
            self._thread.start()

    def close(self) -> Deferred[None]:
        """Fires when all that was asked for is done and the lock is free."""
        if self._closed is None:
            self._closed = Deferred()
            self.patience.stop()
            if self._thread is None:
                self._shut()
                self._closed.callback(None)
            else:
                self._operations.put(None)
        return self._closed

    def _shut(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        self._crew.stop()
        self._lock.release()

    # --- IQueue -----------------------------------------------------------------------------------

    def enqueue(
        self,
        envelope: Envelope,
        trace: bytes,
        body: IMessageBody,
        targets: Sequence[tuple[Recipient, Target]],
    ) -> Deferred[None]:
        """Durable when fired; the manager is woken. Fails with NoSpace, TemporaryFailure (also when the disk
        takes too long), Busy."""
        return self._add(_Operation([NewMessage(envelope, trace, body, tuple(targets))]), patient=False)

    # --- for the manager --------------------------------------------------------------------------

    def record(self, verdicts: Sequence[Verdict], reports: Sequence[NewMessage] = ()) -> Deferred[None]:
        """Outcomes, and the reports (DSNs) that follow from them: all durable, or none."""
        return self._add(_Operation(reports, lambda: self._record(verdicts)))

    def take(self, lanes: Sequence[Lane], most: int) -> Deferred[Taken]:
        """About `most` recipients that are due, of all these lanes some. They are under way until `record`
        or `release`; nobody else gets them."""
        return self._submit(_Operation(read=lambda: self._reader.take(self._database, lanes, most)))

    def take_old(self, expired_before: float, warn_before: float, most: int) -> Deferred[Sequence[Job]]:
        """Recipients that wait too long, whatever their next try is; under way as with `take`."""

        def read() -> Sequence[Job]:
            rows = database.old_rows(self._database, expired_before, warn_before, most)
            return self._reader.jobs(self._database, rows, expired_before=expired_before)

        return self._submit(_Operation(read=read))

    def take_overdue(self, now: float, most: int) -> Deferred[tuple[Sequence[Job], float | None]]:
        """Recipients whose time is over (RFC 2852), under way as with `take`; and when the next one's is."""

        def read() -> tuple[Sequence[Job], float | None]:
            jobs = self._reader.jobs(self._database, database.overdue_rows(self._database, now, most))
            return jobs, database.next_deadline(self._database)

        return self._submit(_Operation(read=read))

    def release(self, rows: Sequence[int]) -> Deferred[None]:
        """Not tried after all; they stay due."""
        return self._submit(_Operation(read=lambda: release(self._database, rows)))

    def postpone(self, lanes: Sequence[Lane], verdict: Verdict) -> Deferred[list[Lane]]:
        """Put off what is due in these lanes to `verdict.next_try`, with its reason: some of it, so that
        nobody waits for long. The lanes in which there may be more."""
        write = partial(database.postpone, self._database, lanes, verdict, POSTPONED)
        return self._submit(_Operation(write=write))

    def waiting(self) -> Deferred[list[tuple[Lane, float]]]:
        """Every lane with waiting recipients, and when the first is due."""
        return self._submit(_Operation(read=lambda: database.waiting_lanes(self._database)))

    def set_aside(self, job: Job, error: Exception) -> Deferred[None]:
        """Keep a copy of a message that is no use as it is; it goes its way."""

        def read() -> None:
            number = job.message.row
            row = database.message_row(self._database, number)
            if row is not None:
                self._quarantine.keep(self._database, number, row, error)

        return self._submit(_Operation(read=read))

    def count(self, sender: str, least: int) -> Deferred[int] | None:
        """How many messages a sender has in the queue; None where it had fewer than `least` when it last
        queued one."""
        if self._counts.get(sender, 0) < least:
            return None

        def read() -> int:
            number = self._counts[sender] = database.messages_of(self._database, sender)
            return number

        return self._submit(_Operation(read=read))

    def clamp(self, latest: float) -> Deferred[int]:
        """No recipient waits beyond `latest` (the clock may have been set back); how many did."""
        return self._submit(_Operation(write=lambda: database.clamp(self._database, latest)))

    # --- the reactor's side -----------------------------------------------------------------------

    def _add(self, operation: _Operation, patient: bool = True) -> Deferred[None]:
        lanes = operation.lanes
        adding = self._submit(operation, patient)
        if not lanes:
            return adding

        def done(result: None) -> None:
            self.enqueued(lanes)

        return adding.addCallback(done)

    def _submit(self, operation: _Operation, patient: bool = True) -> Deferred[Any]:
        """patient: waits for the disk as long as it takes."""
        if self._closed is not None or self._database is None:
            return fail(ServiceUnavailable())
        if self._waiting >= LIMIT:
            return fail(Busy())
        self._waiting += 1
        if self._threaded:
            self._operations.put(operation)
            if not patient:
                self.patience.watch(operation)
        else:
            self._run([operation])
            self._finish(operation)
        return operation.deferred

    def _finish(self, operation: _Operation) -> None:
        self._waiting -= 1
        operation.fire()
        if operation.given_up:  # it may have come to its end after all
            self.enqueued(operation.lanes)
        self.patience.trim()

    # --- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        last = False
        while not last:
            batch: list[_Operation] = []
            item = self._operations.get()
            while item is not None:
                batch.append(item)
                if len(batch) == BATCH:
                    break
                try:
                    item = self._operations.get_nowait()
                except Empty:
                    break
            last = item is None
            if batch:
                self._run(batch)
                for operation in batch:
                    self._inbox.post(self._finish, operation)
        self._shut()
        if self._closed is not None:
            self._inbox.post(self._closed.callback, None)

    def _run(self, batch: list[_Operation]) -> None:
        """Files, one transaction, reads. Never raises."""
        batch = [operation for operation in batch if not operation.given_up]
        places = self._write_files(batch)
        for operation in batch:
            if operation.given_up:
                self._doubtful += [place.file for place in places.pop(id(operation), ())]
        writers = [op for op in batch if op.error is None and (op.messages or op.write)]
        if writers:
            self._commit(writers, places)
        for operation in batch:
            if operation.read is not None:
                try:
                    operation.result = operation.read()
                except Exception as error:
                    operation.error = self._told(error)

    def _told(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return as_mail_error(error)
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            database.read_anew(self._database)
        return NoSpace(cause=error) if "full" in str(error) else TemporaryFailure(cause=error)

    def _write_files(self, batch: list[_Operation]) -> dict[int, list[Any]]:
        """Places of the new messages by operation. An operation fails as a whole."""
        owners = [(operation, message) for operation in batch for message in operation.messages]
        places: dict[int, list[Any]] = {}
        if not owners:
            return places
        written = self._files.write([message for _, message in owners], self._crew)
        for (operation, _), outcome in zip(owners, written, strict=True):
            if outcome.error is not None:
                operation.error = outcome.error
            else:
                places.setdefault(id(operation), []).append(outcome.place)
        return places

    def _commit(self, writers: list[_Operation], places: dict[int, list[Any]]) -> None:
        finished: list[str] = []
        now = self._clock()
        try:
            with schema.transaction(self._database):
                for operation in writers:
                    for message, place in zip(
                        operation.messages, places.get(id(operation), ()), strict=False
                    ):
                        number = database.insert(self._database, message, place, now)
                        self._remember(sender_of(message.envelope), number)
                    if operation.write is not None:
                        operation.result = operation.write()
                        if isinstance(operation.result, _Finished):
                            finished += operation.result.files
                            operation.result = None
        except Exception as error:
            told = self._told(error)
            self.log.error("queue: a commit failed: {error}", error=str(error))
            for operation in writers:
                operation.error = told
                self._doubtful += [place.file for place in places.get(id(operation), ())]
            return
        self._files.remove(finished + self._unnamed())

    def _unnamed(self) -> list[str]:
        """Files of commits that failed. Whether those reached the disk is not known before another one does:
        a kill in between may bring their rows back."""
        doubtful, self._doubtful = dict.fromkeys(self._doubtful), []
        return [file for file in doubtful if not database.names(self._database, file)]

    def _remember(self, sender: str, number: int) -> None:
        if len(self._counts) >= SENDERS:
            self._counts.clear()
        self._counts[sender] = number

    def _record(self, verdicts: Sequence[Verdict]) -> _Finished:
        files = database.apply(self._database, verdicts)
        release(self._database, [verdict.row for verdict in verdicts])
        return _Finished(files)


class _Finished:
    """Files that the transaction has made superfluous."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
