"""A server without sockets and threads: real protocols, store and queue on a folder, simulated time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from mailserver.delivery.accept import Acceptor
from mailserver.delivery.body import Spool as BodySpool
from mailserver.delivery.local import LocalDelivery
from mailserver.delivery.relay import Attempt, Outcome, Parcel
from mailserver.delivery.routes import Router
from mailserver.imap.factory import ImapFactory
from mailserver.pop3.factory import Pop3Factory
from mailserver.queue.manager import QueueManager
from mailserver.queue.reports import Reporter
from mailserver.queue.spool import Spool as QueueSpool
from mailserver.smtp.client.answers import Reply
from mailserver.smtp.factory import SmtpFactory
from mailserver.store.store import MailStore
from tests.crash.messages import fault, number_of
from tests.helpers.imap_dialog import FakeAudit, Transport
from tests.helpers.settings import make_settings
from tests.helpers.store import Listener, now
from tests.helpers.threads import ImmediatePool, ImmediateWriter, immediate_inbox

START = 1_790_000_000.0
USERS = ("alice@example.org", "bob@example.org")
IN_MEMORY = 3000  # octets of a message before it goes to a file on its way in
OK = Outcome(Reply(250, ("queued",), "2.0.0"), "mx.far.example[192.0.2.1]")
LATER = Outcome(Reply(451, ("later",), "4.7.1"), "mx.far.example[192.0.2.1]")
NO = Outcome(Reply(550, ("no such user",), "5.1.1"), "mx.far.example[192.0.2.1]")


class Broken(AssertionError):
    """A promise was broken."""


class _Pool:
    """The reactor's thread pool: at once."""

    def callInThreadWithCallback(self, told: Any, function: Any, *args: Any, **kwargs: Any) -> None:
        try:
            result = function(*args, **kwargs)
        except Exception:
            told(False, Failure())
        else:
            told(True, result)


@define
class Box:
    """A folder. messages: UID -> (number of the message, flags by name)."""

    uidvalidity: int
    uidnext: int
    modseq: int
    messages: dict[int, tuple[int, str]] = field(factory=dict)


class Reactor(MemoryReactorClock):
    def __init__(self, at: float) -> None:
        super().__init__()
        self.rightNow = at

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    def getThreadPool(self) -> Any:
        return _Pool()

    def settle(self, seconds: float = 0.0) -> None:
        """Turns until nothing is due, at the end of so many seconds."""
        end = self.seconds() + seconds
        for _ in range(20_000):
            due = min((call.getTime() for call in self.getDelayedCalls()), default=end + 1)
            if due > end:
                self.advance(end - self.seconds())
                return
            self.advance(max(0.0, due - self.seconds()))
        raise Broken("the reactor never rests")


class Elsewhere:
    """All other servers. They take everything, but what goes to no@ anywhere, and refuse late@ once."""

    def __init__(self) -> None:
        self._tried: set[str] = set()
        self.received: Counter[tuple[int, str]] = Counter()

    def destination(self, domain: str) -> str:
        return domain

    def answer(self, address: str) -> Outcome:
        if address.startswith("late@") and address not in self._tried:
            self._tried.add(address)
            return LATER
        return NO if address.startswith("no@") else OK

    async def deliver(self, parcel: Parcel) -> Attempt:
        source = parcel.open()
        data = b""
        if source.whole is not None:
            data = source.whole
        else:
            while piece := await source.read():
                data += piece
        source.close()
        outcomes = tuple(self.answer(address) for address in parcel.mail.recipients)
        for address, outcome in zip(parcel.mail.recipients, outcomes, strict=True):
            if outcome is OK:
                self.received[_number(data), address] += 1
        return Attempt(outcomes, reached=True)

    def stop(self) -> None:
        """Nothing is under way."""


def _number(data: bytes) -> int:
    """Of a whole message; a report has the number 0."""
    if b"\nContent-Type: multipart/report" in data[:4000]:
        return 0
    begin = data.find(b"From: load@sender.example\n")
    if begin < 0:
        raise Broken(f"nobody sent {data[:100]!r}")
    problem = fault(data[begin:])
    if problem is not None:
        raise Broken(problem)
    number = number_of(data)
    assert number is not None
    return number


@define
class Login:
    """Everybody's password is right."""

    store: MailStore
    router: Router

    def mechanisms(self, peer: Any) -> tuple[str, ...]:
        return ("PLAIN",)

    def anonymous(self, peer: Any) -> Any:
        return _Stranger()

    def login(self, user: str, password: bytes, peer: Any, interface: Any) -> Deferred[Any]:
        return self.store.account(user)

    def refuse(self, peer: Any, failures: int) -> bool:
        return False


class _Stranger:
    user = ""

    def may_relay(self) -> bool:
        return True

    def owns(self, address: str) -> bool:
        return True


class World:
    """Starts on `folder` as it is. Leave it with `crash` (kill -9) or `stop`."""

    def __init__(self, folder: Path, at: float = START, run: str = "boot/now") -> None:
        self.folder = folder
        self.reactor = Reactor(at)
        self.errors: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        settings = self.settings = make_settings(
            data_dir=str(folder),
            limits={"min_free": 0, "quota": 0},
            relay={"warn_after": 1e9},
            auth={"allow_cleartext": True},
        )
        inbox = immediate_inbox()
        self.writer = ImmediateWriter(inbox)
        pool = ImmediatePool(inbox)
        self.store = MailStore(settings, self.reactor, pool, self.writer, inbox, host="mx", run=run)
        self.writer.start()
        self.store.spool.prepare()
        self.bodies = BodySpool(settings.now.queue_dir / "bodies", pool, IN_MEMORY)
        self.bodies.clean()
        self.queue = QueueSpool(
            settings.now.queue_dir, self.reactor, clock=self.reactor.seconds, threaded=False
        )
        self.queue.open()
        self.elsewhere = Elsewhere()
        router = Router(settings)
        audit: Any = FakeAudit()
        local = LocalDelivery(self.store)
        reporter = Reporter(settings, router, iter(f"report{n}" for n in range(9999)).__next__)
        self.manager = QueueManager(
            settings,
            self.queue,
            relay=self.elsewhere,  # type: ignore[arg-type]
            local=local,
            reporter=reporter,
            audit=audit,
            reactor=self.reactor,
            clock=self.reactor.seconds,
            chance=lambda: 0.5,
        )
        acceptor = Acceptor(local, self.queue, reporter, audit, self.reactor)
        common: dict[str, Any] = {
            "settings": settings,
            "audit": audit,
            "reactor": self.reactor,
            "authenticator": Login(self.store, router),
            "tls": None,
        }
        self.factories = {
            "imap": ImapFactory(service="imap", spool=self.bodies, **common),
            "pop3": Pop3Factory(service="pop3", **common),
            "smtp": SmtpFactory(
                service="smtp",
                router=router,
                acceptor=acceptor,
                spool=self.bodies,
                quota=self.store.quota,
                clock=self.reactor.seconds,
                **common,
            ),
        }

    def _observe(self, event: Any) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self.errors.append(failure.getTraceback())

    def manage(self, seconds: float = 0.0) -> None:
        """The queue delivers."""
        self.manager.start(listen=False)
        self.reactor.settle(seconds)

    def crash(self) -> None:
        """kill -9: nothing more is written. Descriptors and locks are given back, as the kernel would."""
        globalLogPublisher.removeObserver(self._observe)
        for call in self.reactor.getDelayedCalls():
            call.cancel()
        for account in self.store._accounts.values():
            account.ledger.close()
            account.place.ready = False
        self.queue.close()

    # --- what is there ----------------------------------------------------------------------------

    def boxes(self) -> dict[str, Box]:
        """By folder. Raises Broken where a message is not whole."""
        found: dict[str, Box] = {}
        for user in USERS:
            if not (self.folder / "mail" / "example.org" / user.partition("@")[0]).is_dir():
                continue
            account = now(self.store.account(user))
            for folder in now(account.folders()):
                listener = Listener()
                mailbox: Any = now(account.open(folder.name, listener))
                now(mailbox.refresh())
                box = Box(mailbox.uidvalidity, mailbox.uidnext, mailbox.highestmodseq)
                found[f"{user.partition('@')[0]}/{folder.name}"] = box
                for index, uid in enumerate(mailbox.uids):
                    file = mailbox.open_message(uid)
                    data = file.read_all() if file.size < 1 << 20 else now(file.read(0, file.size))
                    if len(data) != mailbox.sizes[index] or len(data) != file.size:
                        raise Broken(f"{folder.name}: UID {uid} has {len(data)} octets, not {file.size}")
                    number = _number(data.replace(b"\r\n", b"\n"))
                    box.messages[uid] = (number, _flags(mailbox.flags[index], mailbox.keywords))
                    file.close()
                mailbox.close(listener)
                self._compare_files(mailbox, folder.name)
        return found

    def _compare_files(self, mailbox: Any, name: str) -> None:
        parts = [f"{mailbox._path}/{sub}" for sub in ("new", "cur")]
        there = len({one.inode() for part in parts if os.path.isdir(part) for one in os.scandir(part)})
        if there > len(mailbox.uids):
            raise Broken(f"{name}: {there} files and {len(mailbox.uids)} messages")

    def queued(self) -> set[tuple[int, str]]:
        """Numbers of messages and the addresses that wait for them."""
        query = (
            "SELECT file, offset, size, target FROM recipients AS r JOIN messages AS m ON m.id = r.message"
            " WHERE state = 0"
        )
        found: set[tuple[int, str]] = set()
        for file, offset, size, target in self.queue._database.execute(query).fetchall():
            data = (self.folder / "queue" / "messages" / file).read_bytes()[offset : offset + size]
            if number := _number(data):  # a report may be made again
                found.add((number, target))
        return found

    def leftovers(self) -> list[str]:
        """Files that are nobody's: in the spool, beside the mail, in the queue."""
        known = {row[0] for row in self.queue._database.execute("SELECT file FROM messages")}
        found = [
            path for part in ("incoming", "bodies") for path in (self.folder / "queue" / part).rglob("*")
        ]
        found += [*(self.folder / "mail").rglob("tmp/*"), *self.folder.rglob("*.new")]
        messages = self.folder / "queue" / "messages"
        found += [path for path in messages.rglob("*") if str(path.relative_to(messages)) not in known]
        return sorted(str(path.relative_to(self.folder)) for path in found if path.is_file())


def _flags(bits: int, keywords: Sequence[str]) -> str:
    names = ["answered", "flagged", "deleted", "seen", "draft", *keywords]
    return " ".join(sorted(name for number, name in enumerate(names) if bits >> number & 1))


class Refused(Exception):
    """4xx, NO or -ERR."""


class Client:
    """One connection. Every question has to be answered, by a yes or by Refused."""

    def __init__(self, world: World, service: str) -> None:
        self.world = world
        self.service = service
        self.transport = Transport()
        self.connection: Any = world.factories[service].buildProtocol(IPv4Address("TCP", "192.0.2.1", 1234))
        self.connection.makeConnection(self.transport)
        self.tag = 0
        self.read(lambda data: data.endswith(b"\r\n"))

    def close(self) -> None:
        """The client is gone."""
        self.connection.connectionLost(Failure(ConnectionDone()))

    def read(self, enough: Callable[[bytes], bool]) -> bytes:
        for seconds in (0.0, 1.0, 10.0, 60.0):
            self.world.reactor.settle(seconds)
            data: bytes = self.transport.value()
            if enough(data):
                self.transport.clear()
                return data
            if self.transport.disconnecting:
                raise Broken(f"{self.service}: hung up after {data!r}")
        raise Broken(f"{self.service}: no answer but {data!r}")

    def smtp(self, line: bytes) -> bytes:
        self.connection.dataReceived(line)
        reply = self.read(lambda data: data.endswith(b"\r\n") and data.splitlines()[-1][3:4] == b" ")
        code = reply.splitlines()[-1][:3]
        if code[:1] == b"4":
            raise Refused(reply.decode())
        if code[:1] not in (b"2", b"3"):
            raise Broken(f"{line[:60]!r} was answered by {reply!r}")
        return reply

    def imap(self, command: bytes, literals: tuple[bytes, ...] = ()) -> bytes:
        """{} in a command stands for a literal."""
        self.tag += 1
        tag = b"t%d " % self.tag
        parts = command.split(b"{}")
        line = tag + parts[0]
        for literal, part in zip(literals, parts[1:], strict=True):
            line += b"{%d+}\r\n%b%b" % (len(literal), literal, part)
        self.connection.dataReceived(line + b"\r\n")
        answer = self.read(lambda data: data.endswith(b"\r\n") and tag in data)
        last = next(line for line in answer.splitlines() if line.startswith(tag))
        if last.startswith(tag + b"NO"):
            raise Refused(answer.decode("latin-1"))
        if not last.startswith(tag + b"OK"):
            raise Broken(f"{command[:60]!r} was answered by {last!r}")
        return answer

    def pop3(self, line: bytes) -> bytes:
        self.connection.dataReceived(line + b"\r\n")
        answer = self.read(lambda data: data.endswith(b"\r\n"))
        if answer.startswith(b"-ERR"):
            raise Refused(answer.decode())
        if not answer.startswith(b"+OK"):
            raise Broken(f"{line!r} was answered by {answer!r}")
        return answer
