"""The queue manager: takes what is due, has it delivered, records what became of it.

One per installation (the spool's lock sees to that). Nothing about deliveries under way is stored: after a
restart, or a crash, what has no recorded outcome is tried again. All in the reactor thread; the spool works
in its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mailserver.audit import Audit
from mailserver.delivery.limits import Limits, limits_of
from mailserver.delivery.relay import Attempt, Outcome
from mailserver.errors import MailError, ServiceUnavailable
from mailserver.interfaces import Clock, ILocalDelivery
from mailserver.queue import schedule
from mailserver.queue.carrier import Carrier, IRemote
from mailserver.queue.destinations import Destination, Destinations
from mailserver.queue.kick import KickListener
from mailserver.queue.old import HighWater, OldMail
from mailserver.queue.recorder import AGAIN_SECONDS, Recorder
from mailserver.queue.reports import Reporter
from mailserver.queue.spool import Spool
from mailserver.queue.values import Job, Lane, State, Verdict
from mailserver.queue.verdicts import judge
from mailserver.smtp.client.answers import local_reply

LOCAL = ""  # the domain, and the destination, of recipients of this server
LOCAL_LIMITS = Limits(connections=50)  # deliveries at once: they share commits
STOP_SECONDS = 6.0
CUT_SECONDS = 2.0  # for connections that were cut to tell their outcome
TAKE_LANES = 50  # lanes read at once
TAKES = 4  # reads at once
PER_TURN = 20  # deliveries begun in one turn of the reactor
SLICE = 1000  # lanes handled in one turn of the reactor


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
        self._reactor = reactor
        self._clock = HighWater(clock)
        self._chance = chance
        self._table = Destinations(self._key_of)
        self._old = OldMail(settings, spool, self._clock)
        self._recorder = Recorder(spool, reporter, self._old, audit=audit, clock=self._clock, reactor=reactor)
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
            self._recorder.stop()
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
        jobs = self._table.start_over()
        self._read -= len(jobs)
        rows = [recipient.row for job in jobs for recipient in job.recipients]
        if rows:
            await self._recorder.persist(lambda: self._spool.release(rows))
        await self._note(await self._recorder.persist(self._spool.waiting) or (), doubtful=True)

    async def _note(self, lanes: Sequence[tuple[Lane, float]], doubtful: bool = False) -> None:
        """When these are due: as many of them in a turn of the reactor as it can bear."""
        for start in range(0, len(lanes), SLICE):
            if start:
                await deferLater(self._reactor, 0, lambda: None)
            now = self._clock()
            for lane, due in lanes[start : start + SLICE]:
                self._table.note(lane, due, now, doubtful=doubtful)
            self._pump_later()

    def _enqueued(self, lanes: Sequence[Lane]) -> None:
        now = self._clock()
        for lane in lanes:
            self._table.note(lane, now, now, new=True)
        self._pump_later()

    # --- whose turn it is -------------------------------------------------------------------------

    def _key_of(self, domain: str) -> str:
        return self._relay.destination(domain) if domain else LOCAL

    def _limits(self, destination: Destination) -> Limits:
        if destination.key == LOCAL:
            return LOCAL_LIMITS
        return limits_of(self._settings.now.relay, destination.domain)

    def _pump_later(self) -> None:
        """Once at the end of this turn of the reactor, however many outcomes it brings."""
        if not self._stopping and (self._turn is None or not self._turn.active()):
            self._turn = self._reactor.callLater(0, self._pump)

    def _pump(self) -> None:
        """Start as much as the limits allow, one delivery for each destination in turn."""
        now = self._clock()
        if not self._table.advance(now):
            self._pump_later()
        begun = 0
        most = self._settings.now.relay.connections
        while self._active < most and not self._stopping:
            if begun >= PER_TURN:
                self._pump_later()
                break
            may_take = self._takes < TAKES and self._has_room(now, 2 * most)
            destination = self._table.choose(now, may_take, most, self._active)
            if destination is None:
                break
            limits = self._limits(destination)
            destination.limit = min(destination.limit, limits.connections)
            if may_take and destination.wants_jobs():
                destination.taking = True
                self._takes += 1
                rows = destination.rows(limits.interval)
                self._begin(self._take(destination, destination.pick_lanes(min(TAKE_LANES, rows)), rows))
            elif destination.backlog:
                begun += 1
                self._active += 1
                self._read -= 1
                destination.active += 1
                if limits.interval:
                    self._table.pace(destination, now, limits.interval)
                self._begin(self._deliver(destination, self._table.next_job(destination)))
        self._arm()

    def _has_room(self, now: float, most: int) -> bool:
        """For more jobs in memory, besides those of destinations that have all that they may have."""
        return self._read < most or self._table.ready(now) < most

    def _arm(self) -> None:
        """Wake when the next recipient is due."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        due = self._table.next_time()
        if due is not None and not self._stopping:
            delay = min(max(due - self._clock(), 0.05), 3600.0)
            self._timer = self._reactor.callLater(delay, self._pump)

    async def _take(self, destination: Destination, lanes: Sequence[Lane], rows: int) -> None:
        """Read the next jobs of a destination."""
        now = self._clock()
        try:
            taken = await self._spool.take(lanes, rows)
        except MailError as error:
            self.log.error(
                "queue: what is due for {key} cannot be read: {error}", key=destination.key, error=error
            )
            await self._note([(lane, now + AGAIN_SECONDS) for lane in lanes])
        else:
            if self._table.is_blocked(destination, now):  # meanwhile nobody was found there
                await self._give_back(taken.jobs, destination.blocked_until)
            else:
                self._watch(taken.jobs)
                self._table.stock(destination, taken.jobs)
                self._read += len(taken.jobs)
            await self._note(taken.next_due)
        self._takes -= 1
        destination.taking = False
        self._table.offer(destination)
        self._pump_later()

    async def _give_back(self, jobs: Sequence[Job], due: float) -> None:
        """Jobs that were read and will not be tried before `due`."""
        rows = [recipient.row for job in jobs for recipient in job.recipients]
        if rows:
            await self._recorder.persist(lambda: self._spool.release(rows))
        await self._note([(lane, due) for lane in dict.fromkeys(job.lane for job in jobs)])

    # --- one delivery -----------------------------------------------------------------------------

    async def _deliver(self, destination: Destination, job: Job) -> None:
        probe = destination.doubtful
        self._table.probes += probe
        try:
            if self._old.overdue(job):
                attempt = None
                await self._settle_old(job)
            else:
                attempt = await self._carrier.carry(job)
        except Exception:
            self.log.failure("queue: delivery of {id} broke", id=job.message.envelope.id)
            outcome = Outcome(local_reply(451, "4.3.0", "an error of this server"))
            attempt = Attempt((outcome,) * len(job.recipients), reached=True)
        try:
            if attempt is not None:
                await self._conclude(destination, job, attempt)
        except Exception:
            self.log.failure("queue: {id} is held: its outcome broke", id=job.message.envelope.id)
            await self._recorder.hold(job)
        # The place is free when the outcome is recorded, not before: so a crash repeats at most as many
        # deliveries as there may be at once, and nothing more is sent when outcomes cannot be written.
        destination.active -= 1
        self._active -= 1
        self._table.probes -= probe
        self._table.offer(destination)
        self._pump_later()

    async def _conclude(self, destination: Destination, job: Job, attempt: Attempt) -> None:
        verdicts = judge(
            self._settings.now.relay, job.recipients, attempt.outcomes, self._clock(), self._chance
        )
        if attempt.reached:
            self._table.succeeded(destination, self._limits(destination).connections)
        else:
            verdicts = self._block(destination, verdicts)
        waiting = await self._recorder.settle(job, verdicts)
        self._watch((job,))
        await self._note(waiting)

    def _block(self, destination: Destination, verdicts: list[Verdict]) -> list[Verdict]:
        """No host of the destination could be reached: leave it alone, the longer the more often that was
        so. The verdicts, with no further try before that time."""
        now = self._clock()
        waiting = [verdict for verdict in verdicts if verdict.state is State.WAITING]
        if not waiting or self._stopping or self._table.is_blocked(destination, now):
            return verdicts
        pause = schedule.probe_delay(self._settings.now.relay, destination.failures + 1, self._chance())
        jobs, lanes = self._table.block(destination, now + pause)
        self._read -= len(jobs)
        put_off = evolve(waiting[0], next_try=now + pause)
        self._begin(self._postpone(jobs, lanes, put_off))
        return [
            evolve(verdict, next_try=max(verdict.next_try, now + pause))
            if verdict.state is State.WAITING
            else verdict
            for verdict in verdicts
        ]

    async def _postpone(self, jobs: Sequence[Job], lanes: Sequence[Lane], put_off: Verdict) -> None:
        """What was ready for a destination that cannot be reached waits for the next try, and says why."""
        await self._give_back(jobs, put_off.next_try)
        left: Sequence[Lane] = list(dict.fromkeys([*(job.lane for job in jobs), *lanes]))
        await self._note([(lane, put_off.next_try) for lane in left])
        while left and not self._stopping:
            left = await self._recorder.persist(partial(self._spool.postpone, left, put_off)) or ()

    # --- what waits too long ----------------------------------------------------------------------

    def _sweep_later(self) -> None:
        if not self._stopping:
            self._sweeper = self._reactor.callLater(self._old.delay(), lambda: self._begin(self._sweep()))

    def _watch(self, jobs: Sequence[Job]) -> None:
        """They may be overdue (RFC 2852) before the next search for old mail, which then comes sooner."""
        if self._old.watch(jobs) and self._sweeper is not None and self._sweeper.active():
            self._sweeper.reset(self._old.delay())

    async def _settle_old(self, job: Job) -> None:
        await self._note(await self._recorder.settle_old(job))

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
