"""IMAP on a connection in memory: a test reads as the dialog.

client = ImapClient(login=True)
client.dialog("C: a1 NOOP  (next line)  S: a1 OK NOOP completed")

`C:` lines are sent with CRLF, `S:` lines are all that comes, in order; a `…` in one stands for anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from mailserver.delivery.body import Spool
from mailserver.errors import AuthenticationFailed, BadSasl, EncryptionRequired, MailError
from mailserver.imap.factory import ImapFactory
from mailserver.interfaces import Challenge, Success
from tests.helpers.fake_store import FakeAccount
from tests.helpers.settings import make_settings
from tests.helpers.threads import ImmediatePool, immediate_inbox


class FakeExchange:
    """PLAIN, and a mechanism X-STEPS with a challenge, a response and a last word."""

    def __init__(self, owner: FakeAuthenticator, mechanism: str) -> None:
        self._owner = owner
        self._mechanism = mechanism
        self._asked = 0
        self.abandoned = False

    def respond(self, response: bytes | None) -> Deferred[Any]:
        assert not self.abandoned
        if self._owner.hold is not None:
            return self._owner.hold
        self._asked += 1
        if self._mechanism == "X-STEPS":
            return succeed(
                Challenge(b"who?") if self._asked == 1 else Success(self._owner.account, "alice", b"v=proof")
            )
        if response is None:
            return succeed(Challenge(b""))
        words = response.split(b"\0")
        if len(words) != 3:
            return fail(BadSasl())
        if words[0] not in (b"", words[1]) or words[2] != b"secret":
            return fail(AuthenticationFailed())
        return succeed(Success(self._owner.account, words[1].decode()))

    def abandon(self) -> None:
        self.abandoned = True


class FakeAuthenticator:
    """Everyone's password is "secret". `hold`: a Deferred that log-ins wait for."""

    def __init__(self, account: FakeAccount, cleartext: bool = True) -> None:
        self.account = account
        self.cleartext = cleartext
        self.hold: Deferred[Any] | None = None
        self.passwords: list[bytes] = []
        self.exchanges: list[FakeExchange] = []

    def mechanisms(self, peer: Any) -> tuple[str, ...]:
        return ("PLAIN", "X-STEPS") if self.cleartext or peer.tls else ()

    def login(self, user: str, password: bytes, peer: Any, interface: Any) -> Deferred[Any]:
        if not (self.cleartext or peer.tls):
            return fail(EncryptionRequired())
        self.passwords.append(password)
        if self.hold is not None:
            return self.hold
        return succeed(self.account) if password == b"secret" else fail(AuthenticationFailed())

    def exchange(self, mechanism: str, peer: Any, interface: Any, withheld: Any = ()) -> FakeExchange:
        if mechanism not in ("PLAIN", "X-STEPS") or mechanism in withheld:
            raise MailError("Unrecognized authentication mechanism", code=504, enhanced="5.5.4")
        made = FakeExchange(self, mechanism)
        self.exchanges.append(made)
        return made

    def refuse(self, peer: Any, failures: int) -> bool:
        return failures >= 3


class FakeAudit:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))


class Transport(StringTransport):
    """`aborted`, `tls`: what the connection asked for. `stall`/`drain`: the client reads or not."""

    aborted = False
    tls: object = None

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True

    def startTLS(self, context: object, normal: bool) -> None:
        self.tls = context

    @property
    def paused(self) -> bool:
        return bool(self.producerState == "paused")


class ImapServer:
    """A factory on a reactor in memory."""

    def __init__(self, account: FakeAccount | None = None, tls: object = None, **overrides: Any) -> None:
        self.account = account or FakeAccount()
        self.reactor = MemoryReactorClock()
        self.audit = FakeAudit()
        self.authenticator = FakeAuthenticator(self.account)
        self.settings = make_settings(**overrides)
        self.factory = ImapFactory(
            service="imap",
            settings=self.settings,
            audit=self.audit,  # type: ignore[arg-type]
            reactor=self.reactor,
            authenticator=self.authenticator,  # type: ignore[arg-type]
            spool=Spool(Path("/nonexistent"), ImmediatePool(immediate_inbox())),
            tls=tls,
        )

    def slow(self) -> None:
        """From now on the store answers in a later turn of the reactor."""
        self.account.clock = self.reactor

    def settle(self) -> None:
        """Turns of the reactor until nothing is due."""
        for _ in range(10_000):
            due = [c for c in self.reactor.getDelayedCalls() if c.getTime() <= self.reactor.seconds()]
            if not due:
                return
            self.reactor.advance(0)
        raise AssertionError("the reactor never rests")


class ImapClient:
    """One connection."""

    def __init__(self, server: ImapServer | None = None, login: bool = False, select: str = "") -> None:
        self.server = server or ImapServer()
        self.account = self.server.account
        self.transport = Transport()
        self.connection: Any = self.server.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1234))
        self.connection.makeConnection(self.transport)
        self.greeting = self.take()
        if login or select:
            self.send(b"l LOGIN alice@example.org secret\r\n")
        if select:
            self.send(b"s SELECT %b\r\n" % select.encode())
        self.take()

    def send(self, data: bytes) -> bytes:
        """Everything that comes back before the reactor rests."""
        self.feed(data)
        self.server.settle()
        return self.take()

    def feed(self, data: bytes) -> None:
        if not self.transport.disconnecting:
            self.connection.dataReceived(data)

    def take(self) -> bytes:
        sent: bytes = self.transport.value()
        self.transport.clear()
        return sent

    def say(self, line: str) -> list[str]:
        """Send a line; the lines that come back."""
        return self.send(line.encode("latin-1") + b"\r\n").decode("latin-1").splitlines()

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.server.settle()

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting)

    def dialog(self, script: str) -> None:
        expected: list[str] = []
        received: list[str] = []
        for line in [*script.strip().splitlines(), "C: "]:
            side, text = line.strip()[:2], line.strip()[3:]
            assert side in ("C:", "S:"), line
            if side == "S:":
                expected.append(text)
                continue
            compare(received, expected)
            expected = []
            received = self.say(text) if line != "C: " else []


def compare(received: list[str], expected: list[str]) -> None:
    same = len(received) == len(expected) and all(map(_fits, received, expected))
    assert same, "expected\n  " + "\n  ".join(expected) + "\nreceived\n  " + "\n  ".join(received)


def _fits(line: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), line) is not None
