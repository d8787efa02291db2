"""A queue with everything around it played by fakes, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.relay import Attempt, Outcome, Parcel
from mailserver.errors import NoSuchUser
from mailserver.interfaces import Envelope, Peer, Recipient, Target
from mailserver.queue.manager import QueueManager
from mailserver.queue.reports import Reporter
from mailserver.queue.spool import Spool
from mailserver.queue.values import NewMessage
from mailserver.smtp.client.answers import Reply, local_reply
from tests.helpers.settings import make_settings

START = 1_700_000_000.0
OK = Outcome(Reply(250, ("queued",), "2.0.0"), "mx.far.example[192.0.2.1]")
LATER = Outcome(Reply(451, ("try later",), "4.7.1"), "mx.far.example[192.0.2.1]")
NO = Outcome(Reply(550, ("no such user",), "5.1.1"), "mx.far.example[192.0.2.1]")
DOWN = Outcome(local_reply(451, "4.4.1", "no connection"))
HEADER = b"From: a@example.org\nSubject: hello\nMessage-ID: <1@example.org>\n\n"


class FakeRelay:
    """Answers each parcel as `answer` says: one outcome for all, or one per recipient address."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], Outcome] = lambda address, domain: OK
        self.parcels: list[tuple[float, Parcel]] = []
        self.bodies: list[bytes | None] = []
        self.waiting: list[tuple[Parcel, Deferred[None]]] = []
        self.hold = False
        self.stopped = 0
        self.clock = Clock()

    def destination(self, domain: str) -> str:
        return domain

    async def deliver(self, parcel: Parcel) -> Attempt:
        self.parcels.append((self.clock.seconds(), parcel))
        source = parcel.open()
        self.bodies.append(source.whole)
        source.close()
        if self.hold:
            gate: Deferred[None] = Deferred()
            self.waiting.append((parcel, gate))
            await gate
        outcomes = tuple(self.answer(address, parcel.domain) for address in parcel.mail.recipients)
        return Attempt(outcomes, reached=DOWN not in outcomes)

    def let_go(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, gate in waiting:
            gate.callback(None)

    def stop(self) -> None:
        self.stopped += 1
        self.let_go()

    def times(self) -> list[float]:
        return [when for when, _ in self.parcels]

    def addresses(self) -> list[str]:
        return [address for _, parcel in self.parcels for address in parcel.mail.recipients]


class FakeLocal:
    """Local mailboxes: user -> messages."""

    def __init__(self) -> None:
        self.boxes: dict[str, list[tuple[Envelope, bytes]]] = {}
        self.errors: dict[str, Exception] = {}

    def deliver(
        self, envelope: Envelope, trace: bytes, body: Any, targets: Sequence[Target]
    ) -> Deferred[list[Exception | None]]:
        results: list[Exception | None] = []
        for target in targets:
            error = self.errors.get(target.user)
            results.append(error)
            if error is None:
                content = trace + b"".join(body.chunks())
                self.boxes.setdefault(target.user, []).append((envelope, content))
        return succeed(results)


class FakeRouter:
    """example.org is local, ghost@example.org unknown."""

    def resolve(self, address: str) -> list[Target]:
        domain = address.rpartition("@")[2]
        if domain != "example.org":
            return [Target(address, domain=domain)]
        if address.startswith("ghost"):
            raise NoSuchUser()
        return [Target(address, user=address)]


class FakeAudit:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def event(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    def named(self, name: str) -> list[dict[str, object]]:
        return [fields for event, fields in self.events if event == name]


def message(
    *to: str,
    sender: str = "a@example.org",
    body: bytes = HEADER + b"body\n",
    id: str = "m1",
    at: float = START,
    **fields: Any,
) -> NewMessage:
    """To remote addresses, or to local ones of example.org."""
    pairs = []
    for address in to:
        (target,) = FakeRouter().resolve(address)
        pairs.append((Recipient(address, (target,), frozenset(fields.pop("notify", ()))), target))
    envelope = Envelope(id, sender, tuple(r for r, _ in pairs), Peer("192.0.2.9"), received_at=at, **fields)
    return NewMessage(envelope, b"Received: here\n", MemoryBody(body), tuple(pairs))


class QueueTestCase(SynchronousTestCase):
    """`self.queue` in `self.folder`; `begin` starts server after server on it."""

    relay_settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "queue"
        self.clock = Clock()
        self.clock.advance(START)
        self.set_ahead = 0.0  # seconds by which somebody has set the clock of the machine
        self.settings = make_settings(relay=self.relay_settings)
        self.relay = FakeRelay()
        self.relay.clock = self.clock
        self.local = FakeLocal()
        self.audit = FakeAudit()
        self.addCleanup(self.crash)
        self.spool: Spool | None = None
        self.begin()

    def begin(self) -> None:
        """Start a server on the folder as it is."""
        self.spool = Spool(self.folder, self.clock, clock=self.time, threaded=False)
        self.spool.open()
        self.reporter = Reporter(
            self.settings, FakeRouter(), iter(f"report{n}" for n in range(9999)).__next__
        )
        self.manager = QueueManager(
            self.settings,
            self.spool,
            relay=self.relay,
            local=self.local,
            reporter=self.reporter,
            audit=self.audit,
            reactor=self.clock,
            clock=self.time,
            chance=lambda: 0.5,
        )
        self.manager.start(listen=False)
        self.turn()

    def time(self) -> float:
        return self.clock.seconds() + self.set_ahead

    def crash(self) -> None:
        """kill -9: nothing is finished, nothing recorded any more."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        for _ in range(6):
            self.clock.advance(0)

    def pass_time(self, seconds: float, step: float = 30.0) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.turn(min(step, end - self.clock.seconds()))

    def enqueue(self, new: NewMessage) -> None:
        assert self.spool is not None
        taken = self.spool.enqueue(new.envelope, new.trace, new.body, new.targets)
        self.successResultOf(taken)
        self.turn()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        assert self.spool is not None
        return self.spool._database.execute(sql).fetchall()

    def files(self) -> list[Path]:
        return [path for path in (self.folder / "messages").rglob("*") if path.is_file()]

    def assertEmpty(self) -> None:
        """Nothing is queued, no file is left."""
        self.assertEqual(self.rows("SELECT * FROM messages"), [])
        self.assertEqual(self.rows("SELECT * FROM recipients"), [])
        self.assertEqual(self.rows("SELECT * FROM temp.active"), [])
        self.assertEqual(self.files(), [])
