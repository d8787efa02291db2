"""The queue manager: takes what is due, has it delivered, records what became of it.

One per installation (the spool's lock sees to that). Nothing about deliveries under way is stored: after a
restart, or a crash, what has no recorded outcome is tried again. All in the reactor thread; the spool works
in its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mailserver.audit import Audit
from mailserver.delivery.relay import Attempt, Outcome
from mailserver.errors import MailError, ServiceUnavailable
from mailserver.interfaces import Clock, ILocalDelivery
from mailserver.queue import schedule
from mailserver.queue.carrier import Carrier, IRemote
from mailserver.queue.destinations import Destination, Destinations
from mailserver.queue.kick import KickListener
from mailserver.queue.old import OldMail
from mailserver.queue.reports import Dropped, Reporter
from mailserver.queue.spool import Spool
from mailserver.queue.values import Job, NewMessage, QueuedRecipient, State, Verdict
from mailserver.queue.verdicts import judge, unchanged
from mailserver.smtp.answers import local_reply

LOCAL = ""  # the domain, and the destination, of recipients of this server
LOCAL_LIMIT = 50  # deliveries at once: they share commits
STOP_SECONDS = 6.0
CUT_SECONDS = 2.0  # for connections that were cut to tell their outcome
AGAIN_SECONDS = 5.0  # after the spool failed
TAKE_ROWS = 100  # recipients read at once, as many as a transaction may have
TAKES = 4  # reads at once
PER_TURN = 20  # deliveries begun in one turn of the reactor
SLICE = 1000  # domains handled in one turn of the reactor


class QueueManager:
    """`start` after the spool is open, `stop` before it is closed.

    clock: seconds since the epoch, for times that are stored. chance: random numbers in [0, 1).
    """

    log = Logger()

    def __init__(
        self,
        settings: Any,
        spool: Spool,
        *,
        relay: IRemote,
        local: ILocalDelivery,
        reporter: Reporter,
        audit: Audit,
        reactor: Any,
        clock: Clock = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._relay = relay
        self._carrier = Carrier(relay, local, reactor)
        self._reporter = reporter
        self._audit = audit
        self._reactor = reactor
        self._clock = clock
        self._chance = chance
        self._table = Destinations(self._key_of)
        self._old = OldMail(settings, spool, clock)
        self._kick = KickListener(spool.queue_dir, reactor, self.look_again)
        self._active = 0
        self._takes = 0
        self._read = 0  # jobs read and not begun
        self._unfinished = 0  # deliveries and records that `stop` waits for
        self._turn: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._sweeper: IDelayedCall | None = None
        self._stopping = False
        self._stopped: list[Deferred[None]] = []

    # --- life -------------------------------------------------------------------------------------

    def start(self, *, listen: bool = True) -> None:
        """Begin with what the spool holds. listen: hear the command-line tools."""
        self._spool.enqueued = self._enqueued
        if listen:
            self._kick.start()
        self.look_again()
        self._sweep_later()

    def stop(self, seconds: float = STOP_SECONDS) -> Deferred[None]:
        """Start nothing more; fires when what is under way has its outcome recorded. After `seconds`
        connections are cut, and their mail stays queued."""
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        if not self._stopping:
            self._stopping = True
            self._kick.stop()
            for timer in (self._turn, self._timer, self._sweeper):
                if timer is not None and timer.active():
                    timer.cancel()
            cuts = [
                self._reactor.callLater(seconds, self._relay.stop),
                self._reactor.callLater(seconds + CUT_SECONDS, self._end),
            ]
            done.addBoth(lambda result: [cut.cancel() for cut in cuts if cut.active()] and None)
        self._end_if_idle()
        return done

    def look_again(self) -> None:
        """The queue was changed from outside: read when what is due, and try blocked hosts again."""
        if not self._stopping:
            self._begin(self._load())

    async def _load(self) -> None:
        """Read again what waits where. Jobs that were read and not begun are given back: an operator may
        have held or removed them."""
        rows = [recipient.row for job in self._table.start_over() for recipient in job.recipients]
        if rows:
            await self._persist(lambda: self._spool.release(rows))
        self._read = 0
        domains = await self._persist(self._spool.waiting) or ()
        for start in range(0, len(domains), SLICE):
            if start:
                await deferLater(self._reactor, 0, lambda: None)
            now = self._clock()
            for domain, due in domains[start : start + SLICE]:
                self._table.note(domain, due, now)
        self._pump_later()

    def _enqueued(self, domains: set[str]) -> None:
        now = self._clock()
        for domain in domains:
            self._table.note(domain, now, now)
        self._pump_later()

    # --- whose turn it is -------------------------------------------------------------------------

    def _key_of(self, domain: str) -> str:
        return self._relay.destination(domain) if domain else LOCAL

    def _most(self, destination: Destination) -> int:
        if destination.key == LOCAL:
            return LOCAL_LIMIT
        return int(self._settings.now.relay.connections_per_destination)

    def _pump_later(self) -> None:
        """Once at the end of this turn of the reactor, however many outcomes it brings."""
        if not self._stopping and (self._turn is None or not self._turn.active()):
            self._turn = self._reactor.callLater(0, self._pump)

    def _pump(self) -> None:
        """Start as much as the limits allow, one delivery for each destination in turn."""
        now = self._clock()
        self._table.advance(now)
        begun = 0
        while self._active < self._settings.now.relay.connections and not self._stopping:
            if begun >= PER_TURN:
                self._pump_later()
                break
            may_take = self._takes < TAKES and self._read < 2 * self._settings.now.relay.connections
            destination = self._table.choose(now, may_take)
            if destination is None:
                break
            destination.limit = min(destination.limit, self._most(destination))
            if may_take and destination.wants_jobs():
                destination.taking = True
                self._takes += 1
                self._begin(self._take(destination))
            elif destination.can_start():
                begun += 1
                self._active += 1
                self._read -= 1
                destination.active += 1
                self._begin(self._deliver(destination, destination.backlog.pop(0)))
        self._arm()

    def _arm(self) -> None:
        """Wake when the next recipient is due."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        due = self._table.next_time()
        if due is not None and not self._stopping:
            delay = min(max(due - self._clock(), 0.05), 3600.0)
            self._timer = self._reactor.callLater(delay, self._pump)

    async def _take(self, destination: Destination) -> None:
        """Read the next jobs of a destination, from one of its domains."""
        domain = next(iter(destination.ready))
        del destination.ready[domain]
        now = self._clock()
        try:
            taken = await self._spool.take(domain, TAKE_ROWS)
        except MailError as error:
            self.log.error(
                "queue: what is due for {domain} cannot be read: {error}", domain=domain, error=error
            )
            self._table.note(domain, now + AGAIN_SECONDS, now)
        else:
            if destination.blocked_until > now:  # meanwhile another delivery found nobody there
                await self._give_back(taken.jobs, destination.blocked_until)
            else:
                destination.backlog.extend(taken.jobs)
                self._read += len(taken.jobs)
            if taken.next_due is not None:
                self._table.note(domain, taken.next_due, now)
        self._takes -= 1
        destination.taking = False
        self._table.offer(destination)
        self._pump_later()

    async def _give_back(self, jobs: Sequence[Job], due: float) -> None:
        """Jobs that were read and will not be tried before `due`."""
        rows = [recipient.row for job in jobs for recipient in job.recipients]
        if rows:
            await self._persist(lambda: self._spool.release(rows))
        for domain in {recipient.target.domain for job in jobs for recipient in job.recipients}:
            self._table.note(domain, due, self._clock())

    # --- one delivery -----------------------------------------------------------------------------

    async def _deliver(self, destination: Destination, job: Job) -> None:
        try:
            attempt = await self._carrier.carry(job)
        except Exception:
            self.log.failure("queue: delivery of {id} broke", id=job.message.envelope.id)
            outcome = Outcome(local_reply(451, "4.3.0", "an error of this server"))
            attempt = Attempt((outcome,) * len(job.recipients), reached=True)
        verdicts = judge(
            self._settings.now.relay, job.recipients, attempt.outcomes, self._clock(), self._chance
        )
        if attempt.reached:
            self._table.succeeded(destination, self._most(destination))
        else:
            await self._block(destination, verdicts)
        # The place is free when the outcome is recorded, not before: so a crash repeats at most as many
        # deliveries as there may be at once, and nothing more is sent when outcomes cannot be written.
        await self._settle(job, verdicts)
        destination.active -= 1
        self._active -= 1
        self._table.offer(destination)
        self._pump_later()

    async def _block(self, destination: Destination, verdicts: Sequence[Verdict]) -> None:
        """No host of the destination could be reached: leave it alone until the next try is due."""
        if not verdicts or self._stopping:
            return
        first = min(verdicts, key=lambda verdict: verdict.next_try)
        if first.state is not State.WAITING:
            return
        jobs = self._table.block(destination, first.next_try)
        self._read -= len(jobs)
        domains = {job.recipients[0].target.domain for job in jobs} | set(destination.ready)
        destination.ready.clear()
        await self._give_back(jobs, first.next_try)
        if domains:
            await self._persist(lambda: self._spool.postpone(sorted(domains), first))
            for domain in domains:
                self._table.note(domain, first.next_try, self._clock())

    # --- outcomes ---------------------------------------------------------------------------------

    async def _settle(self, job: Job, verdicts: Sequence[Verdict]) -> None:
        """Tell the log, make the report, record all in one commit."""
        by_row = {recipient.row: recipient for recipient in job.recipients}
        after = [verdict.after(by_row[verdict.row]) for verdict in verdicts]
        for recipient, verdict in zip(after, verdicts, strict=True):
            self._tell(job, recipient, verdict)
        reports = []
        for about, report in self._reporter.settled(job, after, verdicts, self._clock()):
            reports += self._report(job, about, report)
        await self._persist(lambda: self._spool.record(verdicts, reports))
        now = self._clock()
        for recipient, verdict in zip(after, verdicts, strict=True):
            if verdict.state is State.WAITING:
                self._table.note(recipient.target.domain, verdict.next_try, now)
        self._pump_later()

    def _report(
        self, job: Job, about: Sequence[QueuedRecipient], report: NewMessage | Dropped | None
    ) -> list[NewMessage]:
        identity = job.message.envelope.id
        if isinstance(report, Dropped):
            for recipient in about:
                self._audit.event("dropped", id=identity, to=recipient.target.address, reason=report.reason)
            return []
        if report is None:
            return []
        envelope = report.envelope
        self._audit.event(
            "received",
            id=envelope.id,
            sender="<>",
            to=envelope.recipients[0].address,
            size=report.body.size,
            about=identity,
        )
        return [report]

    def _tell(self, job: Job, recipient: QueuedRecipient, verdict: Verdict) -> None:
        envelope = job.message.envelope
        said = f"{verdict.code} {verdict.status} {verdict.reason}"
        common = {"id": envelope.id, "to": recipient.target.address}
        if verdict.state is State.DELIVERED:
            folder = recipient.target.folder if recipient.target.user else ""
            taken = max(0.0, self._clock() - envelope.received_at)
            self._audit.event("delivered", **common, folder=folder, host=verdict.host, seconds=taken)
        elif verdict.state is State.FAILED:
            self._audit.event("bounced", **common, host=verdict.host, reason=said)
        elif verdict.state is State.EXPIRED:
            self._audit.event("expired", **common, reason=said)
        elif verdict.attempted:
            wait = max(0.0, verdict.next_try - self._clock())
            self._audit.event("deferred", **common, host=verdict.host, reason=said, next=wait)

    # --- what waits too long ----------------------------------------------------------------------

    def _sweep_later(self) -> None:
        if not self._stopping:
            delay = schedule.sweep_interval(self._settings.now.relay)
            self._sweeper = self._reactor.callLater(delay, lambda: self._begin(self._sweep()))

    async def _sweep(self) -> None:
        try:
            if await self._old.repair():
                await self._load()
            while not self._stopping:
                jobs = await self._old.find()
                if not jobs:
                    break
                await gatherResults([Deferred.fromCoroutine(self._settle_old(job)) for job in jobs])
        except ServiceUnavailable:
            return
        except Exception:
            self.log.failure("queue: the search for old messages failed")
        self._sweep_later()

    async def _settle_old(self, job: Job) -> None:
        """Give up, or warn the sender."""
        now = self._clock()
        if self._old.is_expired(job):
            await self._settle(job, [unchanged(r, State.EXPIRED, now) for r in job.recipients])
            return
        report = self._report(job, job.recipients, self._reporter.delayed(job, job.recipients, now))
        verdicts = [unchanged(r, State.WAITING, now, warned=True) for r in job.recipients]
        await self._persist(lambda: self._spool.record(verdicts, report))
        for recipient in job.recipients:
            self._table.note(recipient.target.domain, recipient.next_try, now)

    # --- plumbing ---------------------------------------------------------------------------------

    def _begin(self, coroutine: Any) -> None:
        """Run to its end, whatever happens; `stop` waits for it."""
        self._unfinished += 1

        def failed(failure: Any) -> None:
            self.log.failure("queue: an error of the manager", failure)

        def ended(_: None) -> None:
            self._unfinished -= 1
            self._end_if_idle()

        Deferred.fromCoroutine(coroutine).addErrback(failed).addCallback(ended)

    def _end_if_idle(self) -> None:
        if self._stopping and not self._unfinished:
            self._end()

    def _end(self) -> None:
        """All is recorded, or time is up: what has no outcome yet is tried again after the next start."""
        self._relay.stop()
        waiting, self._stopped = self._stopped, []
        for deferred in waiting:
            deferred.callback(None)

    async def _persist(self, operation: Callable[[], Deferred[Any]]) -> Any:
        """Until the spool has done it: an outcome that is not recorded would be repeated for ever. Given
        up when the server stops, and then the mail is tried again after the start."""
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
