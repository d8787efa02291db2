"""A life of the queue: mail comes in, the server is killed and stopped at random moments, files rot, and at
the end every recipient has had one fate. What is promised is looked at all the time, by the other servers'
record.

Each recipient of each message has an address of its own, which names it everywhere.
"""

from __future__ import annotations

import heapq
import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from attrs import frozen

from mailserver.delivery.mx import HostFinder
from mailserver.delivery.relay import Relay
from mailserver.queue.manager import QueueManager
from mailserver.queue.reports import Reporter
from mailserver.queue.spool import Spool
from mailserver.smtp.client.sender import connect
from tests.helpers.settings import make_settings
from tests.queue.scene import START, FakeAudit, FakeLocal, FakeRouter, message
from tests.queue_life import tempers
from tests.queue_life.network import HOUR, Network, Site, Temper

CONNECTIONS = 20
PER_DESTINATION = 5
WARN, EXPIRE = 4 * HOUR, 12 * HOUR
RETRY = (60.0, 300.0, 900.0, 3600.0, 4 * 3600.0)
SWEEP = 61.0
SLOWEST = 8 * 60.0  # a delivery, which goes to its end
HEALTHY_SECONDS = 120.0  # in which mail for a server in good health is gone
WHO = [f"s{number}@example.org" for number in range(12)]


class Broken(AssertionError):
    """A promise was not kept."""


@frozen
class Accepted:
    """A recipient of a message that the queue has taken. down: seconds in which no server ran, till then."""

    to: str
    sender: str
    at: float
    domain: str
    down: float


class Ends(FakeAudit):
    """When recipients had their end, by the log."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.times: dict[str, float] = {}
        self._clock = clock

    def event(self, event: str, /, **fields: object) -> None:
        super().event(event, **fields)
        if event in ("delivered", "bounced", "expired"):
            self.times[str(fields["to"])] = self._clock()


class Life:
    """every: seconds between two messages, on average."""

    def __init__(self, folder: Path, seed: int, hours: float = 24.0, every: float = 60.0) -> None:
        self.folder = folder
        self.hours, self.every = hours, every
        self.accepted: dict[str, Accepted] = {}
        self.aside: set[str] = set()
        self.down = 0.0
        self.kills = self.stops = 0
        self.spool: Any = None
        self.dice = random.Random(seed)
        self.network = Network(START, self.dice)
        self.local, self.audit = FakeLocal(), Ends(self.network.seconds)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers, self.reports, self._ties = count(1), count(1), count()
        self._build_world()
        self.settings = make_settings(
            relay={
                "warn_after": WARN,
                "expire_after": EXPIRE,
                "retry": RETRY,
                "connections": CONNECTIONS,
                "connections_per_destination": PER_DESTINATION,
            }
        )

    def run(self) -> None:
        """Raises Broken."""
        self._plan()
        self._begin()
        self._pass_until(START + self.hours * HOUR)
        self.events.clear()
        if self.spool is None:
            self._begin()
        self._pass_until(START + self.hours * HOUR + EXPIRE + 1.1 * max(RETRY))
        self._look_at_end()

    # --- the world --------------------------------------------------------------------------------

    def _build_world(self) -> None:
        dice, add = self.dice, self.network.add
        self.healthy = [add(f"good{number}.example", Temper(dice)) for number in range(5)]
        kinds: list[Temper] = [
            *(tempers.Slow(dice), tempers.Slow(dice), tempers.Greylisting(dice), tempers.Greylisting(dice)),
            *(tempers.Sometimes(dice, "refused"), tempers.Sometimes(dice, "silent", 2 * HOUR)),
            *(tempers.Sometimes(dice, "dns", 6 * HOUR), tempers.Dead(dice, "refused")),
            *(tempers.Dead(dice, "silent") for _ in range(6)),
            *(tempers.Never(dice, stage) for stage in ("connect", "MAIL", "RCPT", "DATA", ".")),
            *(tempers.Moody(dice), tempers.Moody(dice), tempers.Unclear(dice), tempers.Dying(dice)),
            *(tempers.Picky(dice), tempers.Refusing(dice)),
        ]
        self.ill = [
            add(f"{type(temper).__name__.lower()}{number}.example", temper)
            for number, temper in enumerate(kinds)
        ]
        self.ill.append(add("nobody.example", Temper(dice), null_mx=True))

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self._ties), act))

    def _plan(self) -> None:
        end = START + self.hours * HOUR
        for act, every in (
            (self._arrive, self.every),
            (self._flood, 5 * HOUR),
            (self._restart, 1.5 * HOUR),
            (self._rot, 2 * HOUR),
        ):
            when = START + self.dice.expovariate(1 / every)
            while when < end:
                self._at(when, act)
                when += self.dice.expovariate(1 / every)

    def _begin(self) -> None:
        """A server starts on what there is."""
        network = self.network
        self.spool = Spool(self.folder, network, clock=network.seconds, threaded=False)
        self.spool.open()
        finder = HostFinder(
            network.query, lambda: self.settings.now, is_own=lambda ip: False, shuffle=self.dice.shuffle
        )
        relay = Relay(self.settings, network, finder, connecting=connect)
        router = FakeRouter()
        self.manager = QueueManager(
            self.settings,
            self.spool,
            relay=relay,
            local=self.local,
            reporter=Reporter(self.settings, router, lambda: f"report{next(self.reports)}"),
            audit=self.audit,
            reactor=network,
            clock=network.seconds,
            chance=self.dice.random,
        )
        self.manager.start(listen=False)

    # --- what happens -----------------------------------------------------------------------------

    def _arrive(self) -> None:
        sites = [self.dice.choice(self.healthy if self.dice.random() < 0.3 else self.ill)]
        if self.dice.random() < 0.2:
            sites.append(self.dice.choice(self.ill))
        self._take(self.dice.choice(WHO) if self.dice.random() > 0.05 else "", sites)

    def _flood(self) -> None:
        """One sender has a great many for one destination."""
        site, sender = self.dice.choice(self.ill + self.healthy), self.dice.choice(WHO)
        for _ in range(self.dice.randrange(50, 150)):
            self._take(sender, [site])

    def _take(self, sender: str, sites: list[Site]) -> None:
        if self.spool is None:  # nobody listens
            return
        number, now = next(self.numbers), self.network.seconds()
        to = [f"u{number}.{place}@{site.domain}" for place, site in enumerate(sites)]
        new = message(*to, sender=sender, id=f"m{number}", at=now)
        answers: list[Any] = []
        taken = self.spool.enqueue(new.envelope, new.trace, new.body, new.targets)
        taken.addCallbacks(lambda _: answers.append(True), lambda failure: answers.append(failure))
        if answers == [True]:
            for address, site in zip(to, sites, strict=True):
                self.accepted[address] = Accepted(address, sender, now, site.domain, self.down)

    def _restart(self) -> None:
        """Killed, or asked to end."""
        if self.spool is None:
            return
        if self.dice.random() < 0.6:
            self.kills += 1
            self._ended()
            return
        self.stops += 1
        self.manager.stop().addCallback(lambda _: self._ended())

    def _ended(self) -> None:
        if self.spool is None:
            return
        self.network.cut()
        self.spool.close()
        self.spool = None
        pause = self.dice.choice((0.0, 1.0, 300.0))
        self.down += pause
        self._at(self.network.seconds() + pause, self._begin)

    def _rot(self) -> None:
        """A file of the queue is damaged."""
        if self.spool is None:
            return
        rows = self._rows("SELECT file FROM messages ORDER BY id")
        if not rows:
            return
        (name,) = self.dice.choice(rows)
        path = self.folder / "messages" / name
        query = "SELECT target FROM recipients WHERE message IN (SELECT id FROM messages WHERE file = ?)"
        rows = self._rows(query, name)
        self.aside.update(to for (to,) in rows)
        path.write_bytes(path.read_bytes()[: self.dice.randrange(20)])

    # --- time -------------------------------------------------------------------------------------

    def _pass_until(self, end: float) -> None:
        network = self.network
        while True:
            soon = network.calls[0].getTime() if network.calls else end + 1
            if self.events and self.events[0][0] <= min(soon, end):
                when, _, act = heapq.heappop(self.events)
                network.advance(max(0.0, when - network.seconds()))
                act()
            elif soon > end:
                break
            else:
                network.advance(max(0.0, soon - network.seconds()))
            self._look()
        network.advance(end - network.seconds())

    def _look(self) -> None:
        """At every moment."""
        network = self.network
        if network.record.faults:
            raise Broken(network.record.faults[0])
        if self.spool is None:
            return
        if len(network.links) > CONNECTIONS + PER_DESTINATION * len(network.sites):  # some are idle
            raise Broken(f"{len(network.links)} connections")
        if self.manager._active > CONNECTIONS or self.manager._read > 4 * CONNECTIONS + 100:
            raise Broken(f"{self.manager._active} under way, {self.manager._read} in memory")

    # --- at the end -------------------------------------------------------------------------------

    def _look_at_end(self) -> None:
        self._look_at_fates()
        self._look_at_waiting()
        self._look_at_probes()
        self._look_at_rest()

    def _look_at_fates(self) -> None:
        record, failed = self.network.record, self._reported("failed")
        dropped = Counter(str(event["to"]) for event in self.audit.named("dropped"))
        for one in self.accepted.values():
            to = one.to
            told = record.told[to]
            ends = told + failed[to] + dropped[to]
            if to in self.aside and not ends:
                continue
            if ends != 1 and not (to in self.aside and ends == 0):
                raise Broken(f"{one}: {told} times delivered, {failed[to]} reported, {dropped[to]} dropped")
            if to in record.refused and told:
                raise Broken(f"{one} was refused and delivered")
        strange = (set(record.told) | set(failed)) - set(self.accepted)
        if strange:
            raise Broken(f"never accepted: {strange}")

    def _look_at_waiting(self) -> None:
        """Warnings and ends at their time; the healthy get theirs at once."""
        record = self.network.record
        failed, delayed = self._reported("failed"), self._reported("delayed")
        good = {site.domain for site in self.healthy}
        late = 2 * SWEEP + SLOWEST + self.down
        for one in self.accepted.values():
            if one.to in self.aside:
                continue
            end = record.stored_at.get(one.to)
            if one.domain in good and (end is None or end - one.at > HEALTHY_SECONDS + self.down - one.down):
                raise Broken(f"{one} waited until {end and end - one.at}")
            if delayed[one.to] > 1:
                raise Broken(f"{one} was warned about {delayed[one.to]} times")
            waited = self.audit.times.get(one.to, self.network.seconds()) - one.at
            if waited > WARN + late and not delayed[one.to] and one.sender:
                raise Broken(f"{one} was not warned about in {waited:.0f} s")
            if delayed[one.to] and waited < WARN:
                raise Broken(f"{one} was warned about too early")
            if waited > EXPIRE + late:
                raise Broken(f"{one} ended after {waited:.0f} s")
            expired = failed[one.to] and one.to not in record.refused and one.domain != "nobody.example"
            if expired and waited < EXPIRE:
                raise Broken(f"{one} was given up after {waited:.0f} s")

    def _look_at_probes(self) -> None:
        """A host that is down is asked by one, and more and more rarely."""
        for site in self.ill:
            if isinstance(site.temper, tempers.Dead):
                lives = 1 + self.kills + self.stops
                came = len({one.at for one in self.accepted.values() if one.domain == site.domain})
                most = lives * (PER_DESTINATION + 5) + (self.hours + EXPIRE / HOUR) * 1.2 + came
                if len(site.connects) > most:
                    raise Broken(f"{site.domain} was tried {len(site.connects)} times")
            if site.most > 2 * PER_DESTINATION:  # some are saying good-bye
                raise Broken(f"{site.domain} had {site.most} connections at once")

    def _look_at_rest(self) -> None:
        """Nothing is left anywhere."""
        table = self.manager._table
        for name in ("messages", "recipients", "temp.active", "senders"):
            if left := self._rows(f"SELECT * FROM {name}"):
                raise Broken(f"left: {left[:3]}")
        files = [path for path in (self.folder / "messages").rglob("*") if path.is_file()]
        if files:
            raise Broken(f"left: {files[:3]}")
        busy = (self.manager._active, self.manager._read, self.manager._takes, table.probes, len(table._due))
        if any(busy) or table._known or len(table._times) > 2000:
            raise Broken(f"not at rest: {busy}, {list(table._known)[:5]}")
        stopped: list[None] = []
        self.manager.stop().addCallback(stopped.append)
        self.network.advance(1)
        self.network.advance(0)
        if not stopped or self.network.getDelayedCalls() or self.network.links:
            raise Broken(f"left: {self.network.getDelayedCalls()}, {self.network.links}")
        self.spool.close()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.spool._database.execute(query, values).fetchall()
        return found

    def _reported(self, action: str) -> Counter[str]:
        """How often the senders were told so, by recipient."""
        found: Counter[str] = Counter()
        for box in self.local.boxes.values():
            for _, text in box:
                for block in text.decode().split("\n\n"):
                    if f"Action: {action}" in block:
                        found.update(re.findall(r"Final-Recipient: rfc822; ?(\S+)", block))
        return found
