"""What became of deliveries: told to the log, reported to senders and recorded in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mailserver.audit import Audit
from mailserver.errors import MailError, ServiceUnavailable
from mailserver.interfaces import Clock
from mailserver.queue.old import OldMail
from mailserver.queue.reports import AboutSome, Reporter
from mailserver.queue.spool import Spool
from mailserver.queue.teller import Teller
from mailserver.queue.values import Job, Lane, NewMessage, State, Verdict
from mailserver.queue.verdicts import unchanged

AGAIN_SECONDS = 5.0  # after the spool failed

Waiting = list[tuple[Lane, float]]
"""Lanes in which something waits, and until when."""


class Recorder:
    """In the reactor thread. Until `stop`, nothing is given up: an outcome that is not recorded would be
    repeated for ever."""

    log = Logger()

    def __init__(
        self, spool: Spool, reporter: Reporter, old: OldMail, *, audit: Audit, clock: Clock, reactor: Any
    ) -> None:
        self._spool = spool
        self._reporter = reporter
        self._old = old
        self._teller = Teller(audit, clock)
        self._clock = clock
        self._reactor = reactor
        self._stopping = False

    def stop(self) -> None:
        """What cannot be recorded now is tried again after the next start."""
        self._stopping = True

    async def settle(self, job: Job, verdicts: Sequence[Verdict]) -> Waiting:
        """The outcome of a delivery, for each of its recipients."""
        by_row = {recipient.row: recipient for recipient in job.recipients}
        after = [verdict.after(by_row[verdict.row]) for verdict in verdicts]
        for recipient, verdict in zip(after, verdicts, strict=True):
            self._teller.outcome(job, recipient, verdict)
        reports = await self._reports(
            job, lambda: self._reporter.settled(job, after, verdicts, self._clock())
        )
        await self.persist(lambda: self._spool.record(verdicts, reports))
        return [
            (job.lane_of(recipient), verdict.next_try)
            for recipient, verdict in zip(after, verdicts, strict=True)
            if verdict.state is State.WAITING
        ]

    async def settle_old(self, job: Job) -> Waiting:
        """What waits too long: give up, or warn the sender."""
        now = self._clock()
        if self._old.is_expired(job):
            return await self.settle(job, [unchanged(r, State.EXPIRED, now) for r in job.recipients])
        overdue = self._old.overdue(job)
        rows = overdue or job.recipients
        report = await self._reports(
            job, lambda: [(rows, self._reporter.delayed(job, rows, now, bool(overdue)))]
        )
        verdicts = [
            unchanged(r, State.WAITING, now, warned=r in rows, overdue=r in overdue) for r in job.recipients
        ]
        await self.persist(lambda: self._spool.record(verdicts, report))
        return [(job.lane_of(recipient), recipient.next_try) for recipient in job.recipients]

    async def hold(self, job: Job) -> None:
        """Nobody can say what became of it: an operator has to look."""
        held = [unchanged(one, State.HELD, self._clock()) for one in job.recipients]
        await self.persist(lambda: self._spool.record(held))

    async def _reports(self, job: Job, make: Callable[[], Iterable[AboutSome]]) -> list[NewMessage]:
        """What is to be queued. A message that breaks the making of its report does not stop the others,
        nor is it sent again: its outcome counts, and a copy is set aside for the operator."""
        reports: list[NewMessage] = []
        try:
            for about, report in make():
                reports += self._teller.report(job, about, report)
        except Exception as error:
            self.log.failure("queue: no report about {id}, set aside", id=job.message.envelope.id)
            await self.persist(partial(self._spool.set_aside, job, error))
        return reports

    async def persist(self, operation: Callable[[], Deferred[Any]]) -> Any:
        """An operation of the spool, again and again until it is done. None where the server stops first."""
        while True:
            try:
                return await operation()
            except ServiceUnavailable:
                return None
            except MailError as error:
                self.log.error("queue: {error} ({cause}); tried again", error=error, cause=str(error.cause))
            if self._stopping:
                return None
            await deferLater(self._reactor, AGAIN_SECONDS, lambda: None)
