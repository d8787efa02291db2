"""What the tests of log-in share: a clock that is a reactor, threads that run when told, a log in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mailserver.auth.certificates import CertificateChecker
from mailserver.auth.checkers import UsersChecker
from mailserver.auth.login import Authenticator
from mailserver.auth.pool import HashPool
from mailserver.auth.realm import Realm
from mailserver.auth.tokens import TokenChecker
from mailserver.auth.users import Directory
from mailserver.interfaces import IAccount, IMailStore, IRouter, Peer
from tests.helpers.settings import StubSettings, make_settings

TLS_PEER = Peer("192.0.2.1", 1234, "TLSv1.3 x", "imaps")
CLEAR_PEER = Peer("192.0.2.1", 1234, "", "imap")


class ThreadClock(Clock):
    """A Clock that takes calls from threads, which here are calls like any other."""

    def callFromThread(self, function: Callable[..., object], *args: Any) -> None:
        function(*args)


class ManualPool:
    """Stands for a ThreadPool. `automatic`: work is done at once; else `work()` does what has been queued."""

    def __init__(self, automatic: bool = True) -> None:
        self.automatic = automatic
        self.queued: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.calls = 0
        self.size = 0
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False
        self.work()

    def adjustPoolsize(self, least: int, most: int) -> None:
        self.size = most

    def callInThread(self, function: Callable[..., object], *args: Any) -> None:
        self.calls += 1
        if self.automatic:
            function(*args)
        else:
            self.queued.append((function, args))

    def work(self) -> None:
        while self.queued:
            function, args = self.queued.popleft()
            function(*args)


class MemoryAudit:
    """Events as dicts."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []

    def event(self, event: str, /, **fields: object) -> None:
        self.events.append({"event": event, **fields})


@implementer(IAccount)
@frozen
class StubAccount:
    user: str


@implementer(IMailStore)
class StubStore:
    def __init__(self) -> None:
        self.failure: Exception | None = None

    def account(self, user: str) -> Deferred[Any]:
        answer: Deferred[Any] = succeed(StubAccount(user))
        if self.failure is not None:
            failure = self.failure
            answer.addCallback(lambda _: raise_(failure))
        return answer

    def quota(self, user: str) -> None:
        return None


def raise_(error: Exception) -> None:
    raise error


@implementer(IRouter)
class StubRouter:
    def resolve(self, address: str) -> tuple[()]:
        return ()

    def is_local_domain(self, domain: str) -> bool:
        return domain == "example.org"

    def owns(self, user: str, address: str) -> bool:
        return address == user


class World:
    """An authenticator with everything around it."""

    def __init__(
        self, users: Any = None, *, automatic: bool = True, introspect: Any = None, **overrides: Any
    ) -> None:
        self.introspect = introspect
        self.settings: StubSettings = make_settings(users, **overrides)
        self.clock = ThreadClock()
        self.threads = ManualPool(automatic)
        self.pool = HashPool(self.clock, self.settings, self.threads)
        self.audit = MemoryAudit()
        self.store = StubStore()
        directory = Directory(self.settings)
        checkers: list[Any] = [
            UsersChecker(directory, self.pool, self.settings, self.clock.seconds, b"s" * 32),
            CertificateChecker(directory),
            AllowAnonymousAccess(),
        ]
        if introspect is not None:
            checkers.append(TokenChecker(directory, self.settings, introspect, self.clock.seconds))
        realm: Any = Realm(self.settings, StubRouter(), self.store)
        self.authenticator = Authenticator(self.clock, self.settings, self.audit, Portal(realm, checkers))

    def login(self, user: str, password: bytes, peer: Peer = TLS_PEER, interface: Any = IAccount) -> Outcome:
        return Outcome(self.authenticator.login(user, password, peer, interface))

    def results(self) -> list[object]:
        """Results in the log."""
        return [event["result"] for event in self.audit.events]


class Outcome:
    """What a Deferred came to: `value` or `error`, `fired`."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.deferred = deferred
        self.fired = 0
        self.value: Any = None
        self.error: Any = None
        deferred.addCallbacks(self._succeeded, self._failed)

    def _succeeded(self, value: Any) -> None:
        self.fired += 1
        self.value = value

    def _failed(self, failure: Any) -> None:
        self.fired += 1
        self.error = failure.value
