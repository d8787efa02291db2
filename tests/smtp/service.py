"""A whole SMTP service for tests: all of `smtp` and the router; log-in and delivery in memory."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mailserver.delivery.body import Spool
from mailserver.delivery.routes import Router
from mailserver.errors import AuthenticationFailed, EncryptionRequired, MailError
from mailserver.interfaces import Challenge, Envelope, Peer, QuotaUsage, Success
from mailserver.smtp.factory import SmtpFactory
from mailserver.smtp.protocol import SmtpConnection
from tests.helpers.settings import make_settings

NOW = 1_790_000_000.0


@define
class Sender:
    """ISender; the anonymous one is `user` ""."""

    user: str
    router: Router
    relays: bool = True

    def may_relay(self) -> bool:
        return self.relays

    def owns(self, address: str) -> bool:
        return self.router.owns(self.user, address)


@define
class Exchange:
    """PLAIN without authzid; LOGIN-like asking where there is no initial response."""

    router: Router
    held: Deferred[Any] | None = None
    abandoned: bool = False

    def respond(self, response: bytes | None) -> Deferred[Any]:
        if response is None:
            return succeed(Challenge(b""))
        _, user, password = response.split(b"\0")
        if password == b"slow":
            self.held = Deferred()
            return self.held
        if password not in (b"secret", b"scram"):
            return fail(AuthenticationFailed())
        name = user.decode()
        return succeed(Success(Sender(name, self.router), name, b"v=1" if password == b"scram" else None))

    def abandon(self) -> None:
        self.abandoned = True


@define
class Authenticator:
    router: Router
    cleartext: bool = True
    strangers_relay: bool = False
    exchanges: list[Exchange] = field(factory=list)

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        return ("PLAIN",) if peer.tls or self.cleartext else ()

    def anonymous(self, peer: Peer) -> Sender:
        return Sender("", self.router, self.strangers_relay)

    def exchange(self, mechanism: str, peer: Peer, interface: object) -> Exchange:
        if mechanism != "PLAIN":
            raise MailError("Unknown mechanism", code=504, enhanced="5.5.4")
        if not self.mechanisms(peer):
            raise EncryptionRequired
        self.exchanges.append(Exchange(self.router))
        return self.exchanges[-1]

    def vouched(self, user: str, peer: Peer, interface: object) -> Deferred[Any]:
        known = user == "alice@example.org"
        return succeed(Sender(user, self.router)) if known else fail(AuthenticationFailed())

    def refuse(self, peer: Peer, failures: int) -> bool:
        return failures >= 3


@define
class Acceptor:
    """Takes everything; `error` fails it, `held` leaves it open."""

    error: Exception | None = None
    held: Deferred[Any] | None = None
    messages: list[tuple[Envelope, bytes, bytes]] = field(factory=list)

    def accept(self, envelope: Envelope, trace: bytes, body: Any) -> Deferred[Any]:
        if self.error is not None:
            body.discard()
            return fail(self.error)
        self.messages.append((envelope, trace, b"".join(body.chunks())))
        body.discard()
        return self.held if self.held is not None else succeed(None)

    @property
    def texts(self) -> list[bytes]:
        return [text for _, _, text in self.messages]


class Audit:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]


class DirectPool:
    def run(self, key: object, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return execute(function, *args)

    ask = run


class Transport(StringTransport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.tls_started = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.aborted = True

    def startTLS(self, context: object, normal: bool = True) -> None:
        self.tls_started = True

    def getHandle(self) -> Any:
        return self

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_256_GCM_SHA384"


class World:
    """One service and what is behind it. `directory`: for messages above the memory limit."""

    def __init__(
        self, service: str = "smtp", directory: str = "/nonexistent", reactor: Any = None, **settings: Any
    ) -> None:
        self.clock = Clock()
        self.settings = make_settings(**settings)
        self.router = Router(self.settings)
        self.authenticator = Authenticator(self.router)
        self.acceptor = Acceptor()
        self.audit: Any = Audit()
        self.usage: dict[str, QuotaUsage] = {}
        self.pool: Any = DirectPool()
        self.spool = Spool(Path(directory), self.pool)
        self.factory = SmtpFactory(
            service=service,
            settings=self.settings,
            audit=self.audit,
            reactor=reactor or self.clock,
            router=self.router,
            acceptor=self.acceptor,
            authenticator=self.authenticator,
            spool=self.spool,
            quota=self.usage.get,
            tls=object(),
            clock=lambda: NOW + self.clock.seconds(),
        )

    def connect(self) -> Client:
        return Client(self)


class Client:
    """Says lines to a connection and reads its replies."""

    def __init__(self, world: World) -> None:
        self.world = world
        connection = world.factory.buildProtocol(None)
        assert isinstance(connection, SmtpConnection)
        self.connection = connection
        self.transport = Transport()
        connection.makeConnection(self.transport)
        self.greeting = self.replies()

    def replies(self) -> list[str]:
        self.world.clock.advance(0)
        made = self.transport.value().decode("ascii").split("\r\n")[:-1]
        self.transport.clear()
        return made

    def say(self, data: bytes) -> list[str]:
        self.connection.dataReceived(data)
        return self.replies()

    def line(self, text: str) -> str:
        """Send a line; the last line of its reply, "" where there is none yet."""
        made = self.say(text.encode() + b"\r\n")
        return made[-1] if made else ""

    def hello(self) -> Client:
        assert self.line("EHLO client.example").startswith("250 ")
        return self

    def log_in(self, user: str = "alice@example.org") -> Client:
        self.hello()
        token = b64encode(f"\0{user}\0secret".encode()).decode()
        assert self.line(f"AUTH PLAIN {token}").startswith("235 ")
        return self

    def send(self, sender: str, recipients: list[str], text: bytes) -> str:
        """A transaction; the last reply, or the first that refused it."""
        for command in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{rcpt}>" for rcpt in recipients), "DATA"):
            reply = self.line(command)
            if reply[0] not in "23":
                return reply
        made = self.say(text + b".\r\n")
        return made[-1] if made else ""

    def drop(self) -> None:
        """The client goes away."""
        self.connection.connectionLost()
        self.world.clock.advance(0)
