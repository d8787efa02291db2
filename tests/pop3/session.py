"""A session of the protocol on a transport in memory, with whatever account is given to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailserver.errors import AuthenticationFailed, EncryptionRequired, MailError
from mailserver.interfaces import Challenge, IAuthenticator, IExchange, Peer
from mailserver.pop3.factory import Pop3Factory
from mailserver.pop3.protocol import Pop3Connection
from tests.helpers.mailbox import FakeAccount
from tests.helpers.settings import make_settings

ONE = b"Subject: one\r\n\r\nhello\r\n"
TWO = b"Subject: two\r\n\r\n.\r\n..dots\r\n"


@implementer(IExchange)
class Exchange:
    """Takes the steps of a list: bytes are challenges, an error fails, a Success ends it."""

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps
        self.responses: list[bytes | None] = []
        self.abandoned = 0

    def respond(self, response: bytes | None) -> Deferred[Any]:
        self.responses.append(response)
        step = self.steps.pop(0)
        if isinstance(step, Deferred):
            return step
        if isinstance(step, MailError):
            return fail(step)
        return succeed(Challenge(step) if isinstance(step, bytes) else step)

    def abandon(self) -> None:
        self.abandoned += 1


@implementer(IAuthenticator)
class Authenticator:
    """Knows mrose with the password "secret". `answer`: what `login` waits for."""

    def __init__(self, account: FakeAccount) -> None:
        self.account = account
        self.answer: Deferred[Any] | None = None
        self.steps: list[Any] = []
        self.exchanges: list[Exchange] = []
        self.max_failures = 3
        self.asked: list[type] = []

    def mechanisms(self, peer: Peer) -> list[str]:
        return ["PLAIN", "SCRAM-SHA-256"] if peer.tls else []

    def login(self, user: str, password: bytes, peer: Peer, interface: type) -> Deferred[Any]:
        self.asked.append(interface)
        if self.answer is not None:
            return self.answer
        good = (user, password) == ("mrose", b"secret")
        return succeed(self.account) if good else fail(AuthenticationFailed())

    def exchange(self, mechanism: str, peer: Peer, interface: type) -> Exchange:
        if not peer.tls:
            raise EncryptionRequired
        made = Exchange(self.steps)
        self.exchanges.append(made)
        return made

    def refuse(self, peer: Peer, failures: int) -> bool:
        return failures >= self.max_failures


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def event(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))


class Transport(StringTransport):
    """Counts writes; `congested` makes it ask for a pause after each."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.congested = False
        self.aborted = False
        self.tls: list[object] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)
        if self.congested and self.producer is not None:
            self.producer.pauseProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.aborted = True

    def startTLS(self, creator: object, normal: bool) -> None:
        self.tls.append((creator, normal))


class Base(SynchronousTestCase):
    service = "pop3"
    messages: tuple[bytes, ...] = (ONE, TWO)

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = Log()
        self.account = FakeAccount(messages=self.messages)
        self.authenticator = Authenticator(self.account)
        log: Any = self.log
        self.factory = Pop3Factory(
            service="pop3",
            settings=make_settings(),
            authenticator=self.authenticator,
            audit=log,
            reactor=self.clock,
            tls="contexts",
        )
        self.connection, self.transport = self.connect()

    def connect(self, tls: str = "TLSv1.3 x") -> tuple[Pop3Connection, Transport]:
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, Pop3Connection)
        connection.peer = Peer("192.0.2.1", 1, tls, "pop3")
        self.factory.counter.add("192.0.2.1")
        transport = Transport()
        connection.makeConnection(transport)
        return connection, transport

    def say(self, *lines: bytes) -> bytes:
        """Send lines in one segment; what came back, turns of the reactor included."""
        self.transport.clear()
        self.transport.writes.clear()
        self.connection.dataReceived(b"".join(line + b"\r\n" for line in lines))
        self.clock.advance(0)
        return self.transport.value()

    def log_in(self) -> None:
        self.assertEqual(
            self.say(b"USER mrose", b"PASS secret").splitlines()[-1], b"+OK 2 messages (50 octets)"
        )
