"""[disk] A source into an account, in batches: see `journal` for what makes it go on where it was cut off.

The source is read ahead in a thread of its own, so that the next messages are fetched while these are
written; what is read and not filed yet is bounded, in messages and octets.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Container, Iterator
from queue import Empty, Full, Queue

from attrs import evolve

from mailserver.errors import LimitReached, MailError, NoSpace, OverQuota
from mailserver.transfer.account import LocalAccount
from mailserver.transfer.journal import Journal, digest
from mailserver.transfer.values import Folder, FolderReport, Message, Passed, Report, Source, SourceError
from mailserver.wire.lines import size_on_wire

BATCH_MESSAGES = 200
BATCH_OCTETS = 8 * 1024 * 1024
AHEAD = 2  # batches that are read and not filed yet

Batch = list[Message | Passed]
Told = Callable[[Folder, FolderReport], None]


def nothing(folder: Folder, report: FolderReport) -> None:
    """For who does not want to be told how far it came."""


def import_all(
    source: Source, account: LocalAccount, journal: Journal, *, wanted: Callable[[str], bool], told: Told
) -> Report:
    """Every folder whose origin or name is `wanted`. Raises SourceError where the source cannot be read at
    all; what stops it later is in the report."""
    report = Report()
    recover(account, journal)
    try:
        folders = source.folders()
        report.passed_over = source.passed_over
        for folder in folders:
            if wanted(folder.name):
                report.folders.append(FolderReport(folder.origin, folder.name))
                _import_folder(folder, account, journal, report.folders[-1], told)
    except SourceError as error:
        if not report.folders:
            raise
        report.stopped = str(error)
    except (OverQuota, NoSpace) as error:
        report.stopped = error.text + (f" ({error.cause})" if error.cause else "")
    except MailError as error:
        report.stopped = str(error.cause or error.text)
    return report


def dry_run(source: Source, journal: Journal, *, wanted: Callable[[str], bool], told: Told) -> Report:
    """What `import_all` would do."""
    report = Report()
    folders = source.folders()
    report.passed_over = source.passed_over
    for folder in folders:
        if not wanted(folder.name):
            continue
        one = FolderReport(folder.origin, folder.name)
        report.folders.append(one)
        for message in folder.messages(journal.done(folder.origin, folder.name)):
            _count(one, message)
            told(folder, one)
    return report


def _count(report: FolderReport, message: Message | Passed) -> None:
    if isinstance(message, Message):
        report.imported += 1
        report.octets += message.size
    elif message.reason:
        report.failed[message.key] = message.reason
    else:
        report.before += 1


def recover(account: LocalAccount, journal: Journal) -> None:
    """What became of the batches that the last run had begun when it ended."""
    for pending in journal.pending():
        here: Counter[str] = Counter()
        for stored in account.stored(pending.folder, pending.uidnext, pending.uidvalidity):
            data = account.read(pending.folder, stored)
            if data is not None:
                here[digest(data)] += 1
        filed = []
        for key, name in pending.digests.items():
            if here[name]:
                here[name] -= 1
                filed.append(key)
        journal.settle(pending, filed)


def _import_folder(
    folder: Folder, account: LocalAccount, journal: Journal, report: FolderReport, told: Told
) -> None:
    done = journal.done(folder.origin, folder.name)
    made = False
    with _ReadAhead(folder, done) as batches:
        for batch in batches:
            messages: list[Message] = []
            for message in batch:
                if isinstance(message, Message):
                    messages.append(message)
                else:
                    _count(report, message)
            if not made:
                account.make_folder(folder.name, folder.special)
                made = True
            if messages:
                _file(account, journal, report, messages)
            told(folder, report)
    if not made:
        account.make_folder(folder.name, folder.special)


def _file(account: LocalAccount, journal: Journal, report: FolderReport, messages: list[Message]) -> None:
    """One batch. Raises what would stop every other message too."""
    limit = account.settings.now.limits.message_size
    for message in messages:
        if size_on_wire(message.data) > limit:
            report.failed[message.key] = "larger than limits.message_size"
    messages = [message for message in messages if message.key not in report.failed]
    if not messages:
        return
    digests = {message.key: digest(message.data) for message in messages}
    pending = journal.intend(report.origin, report.name, *account.numbers(report.name), digests)
    outcomes = account.file(report.name, messages)
    again = [
        evolve(message, flags=frozenset(flag for flag in message.flags if flag.startswith("\\")))
        for message, outcome in zip(messages, outcomes, strict=True)
        if isinstance(outcome, LimitReached)
    ]
    if again:  # more keywords than a folder may have: the message counts for more than they do
        second = iter(account.file(report.name, again))
        outcomes = [next(second) if isinstance(outcome, LimitReached) else outcome for outcome in outcomes]
    filed = []
    stopping: Exception | None = None
    for message, outcome in zip(messages, outcomes, strict=True):
        if outcome is None:
            filed.append(message.key)
            _count(report, message)
        elif isinstance(outcome, MailError):
            stopping = stopping or outcome
        else:
            report.failed[message.key] = str(outcome)
    journal.settle(pending, filed)
    if stopping is not None:
        raise stopping


class _ReadAhead:
    """Batches of a folder, read in a thread. What goes wrong there is raised here."""

    def __init__(self, folder: Folder, done: Container[str]) -> None:
        self._folder = folder
        self._done = done
        self._queue: Queue[Batch | None] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._stop = False
        self._thread = threading.Thread(target=self._read, name="import-reader", daemon=True)

    def __enter__(self) -> Iterator[Batch]:
        self._thread.start()
        return self._batches()

    def __exit__(self, *exception: object) -> None:
        """Whoever reads has ended when this returns."""
        self._stop = True
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except Empty:
                continue
        self._thread.join()

    def _batches(self) -> Iterator[Batch]:
        while (batch := self._queue.get()) is not None:
            yield batch
        if self._error is not None:
            raise self._error

    def _put(self, batch: Batch | None) -> None:
        while not self._stop:
            try:
                self._queue.put(batch, timeout=0.2)
            except Full:
                continue
            return

    def _read(self) -> None:
        """[thread]"""
        batch: Batch = []
        octets = 0
        try:
            for message in self._folder.messages(self._done):
                if self._stop:
                    return
                batch.append(message)
                octets += len(message.data) if isinstance(message, Message) else 0
                if octets >= BATCH_OCTETS or len(batch) >= BATCH_MESSAGES:
                    self._put(batch)
                    batch, octets = [], 0
        except BaseException as error:
            self._error = error
        if batch:
            self._put(batch)
        self._put(None)
