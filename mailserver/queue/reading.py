"""[disk] From rows that are due to jobs: grouped by message, bodies loaded, under way from then on.

Whether a recipient is under way is known to one connection alone (`temp.active`), and to nobody after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from twisted.logger import Logger

from mailserver.errors import MailError
from mailserver.interfaces import Clock
from mailserver.queue import database
from mailserver.queue.files import MessageFiles
from mailserver.queue.poison import Quarantine
from mailserver.queue.values import Job, Lane, QueuedRecipient, Taken

JOB_BYTES = 4 << 20  # of bodies loaded at once
UNREADABLE_SECONDS = 300.0  # before a message is tried again that the disk did not give


class JobReader:
    """Of one spool, in its thread."""

    log = Logger()

    def __init__(self, files: MessageFiles, quarantine: Quarantine, clock: Clock) -> None:
        self._files = files
        self._quarantine = quarantine
        self._clock = clock

    def take(self, connection: sqlite3.Connection, lanes: Sequence[Lane], most: int) -> Taken:
        """About `most` recipients that are due, of all these lanes some."""
        jobs: list[Job] = []
        room, share, now = JOB_BYTES, max(1, most // len(lanes)), self._clock()
        try:
            for lane in lanes:
                found = self.jobs(connection, database.due_rows(connection, lane, now, share), room)
                room -= sum(len(job.head) for job in found)
                jobs += found
            due = [(lane, database.next_due(connection, lane)) for lane in lanes]
        except sqlite3.Error:  # nobody gets the jobs: they are not under way
            release(connection, [recipient.row for job in jobs for recipient in job.recipients])
            raise
        return Taken(tuple(jobs), tuple((lane, moment) for lane, moment in due if moment is not None))

    def jobs(
        self,
        connection: sqlite3.Connection,
        rows: list[database.Row],
        octets: int = JOB_BYTES,
        expired_before: float = float("-inf"),
    ) -> list[Job]:
        """Group by message, load bodies of `octets` in all, mark as under way. What cannot be read does not
        keep the others."""
        by_message: dict[int, list[database.Row]] = {}
        for row in rows:
            by_message.setdefault(row[0], []).append(row)
        jobs: list[Job] = []
        loaded = 0
        for number, group in by_message.items():
            try:
                message = database.read_message(group[0])
                recipients: list[QueuedRecipient] = [database.read_recipient(row) for row in group]
                room = max(0, octets - loaded)
                head, whole = self._files.read(message.place, min(room, 256 * 1024))
            except Exception as error:
                self._cannot(connection, number, group, error, expired_before)
                continue
            loaded += len(head)
            if message.envelope.binary:  # reports quote it
                head = head.replace(b"\r\n", b"\n")
            path = self._files.path(message.place)
            jobs.append(Job(message, tuple(recipients), head, whole, path))
        active = [(recipient.row,) for job in jobs for recipient in job.recipients]
        connection.executemany("INSERT OR IGNORE INTO temp.active VALUES (?)", active)
        return jobs

    def _cannot(
        self,
        connection: sqlite3.Connection,
        number: int,
        group: list[database.Row],
        error: Exception,
        expired_before: float,
    ) -> None:
        """Poison is set aside. What the disk does not give now, for want of a descriptor or of rights
        perhaps, is tried later and set aside when its time is over; so is what cannot be set aside now."""
        since = (group[0][database.RECEIVED], group[0][database.RELEASED])
        fleeting = isinstance(error, MailError) and not max(since) <= expired_before
        if not fleeting:
            try:
                self._quarantine.remove(connection, number, group, error)
                return
            except Exception as why:
                error = why
        cause = getattr(error, "cause", None) or error
        self.log.error("queue: {name} cannot be read now: {error}", name=group[0][1], error=str(cause))
        rows = [row[database.MESSAGE_WIDTH] for row in group]
        database.put_off(connection, rows, self._clock() + UNREADABLE_SECONDS)


def release(connection: sqlite3.Connection, rows: Sequence[int]) -> None:
    """Not under way any more."""
    connection.executemany("DELETE FROM temp.active WHERE id = ?", [(row,) for row in rows])
