"""The server as one Twisted service: the one place where the parts are wired together.

`Parts` builds every part without touching the disk or a socket, lets the configured extensions change them,
and connects them; `MailServer` opens and closes them in order. Of several processes each has a `MailServer`
of its own (`worker`), and what they share was made before by the one that started them (`master`).

Ports are bound in `privilegedStartService`, before twistd gives up its privileges; everything else happens
after that, as the user the server runs as.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.audit import Audit
from mailserver.auth.certificates import CertificateChecker
from mailserver.auth.checkers import UsersChecker
from mailserver.auth.introspection import Introspector
from mailserver.auth.login import Authenticator
from mailserver.auth.pool import HashPool
from mailserver.auth.realm import Realm
from mailserver.auth.tokens import TokenChecker
from mailserver.auth.users import Directory
from mailserver.config.extensions import find_extension
from mailserver.config.load import Loaded
from mailserver.config.schema import Config
from mailserver.config.watch import Settings
from mailserver.delivery.accept import Acceptor
from mailserver.delivery.binary import TextDelivery
from mailserver.delivery.body import Spool as BodySpool
from mailserver.delivery.local import LocalDelivery
from mailserver.delivery.mx import HostFinder, has_null_mx, names_of_hosts_file
from mailserver.delivery.relay import Relay
from mailserver.delivery.routes import Router
from mailserver.disk import durable
from mailserver.disk.group_commit import GroupWriter
from mailserver.disk.threads import Inbox, OrderedPool, share_evenly
from mailserver.dns.resolver import Resolver, SystemServers, parse_server
from mailserver.errors import MailError
from mailserver.imap.factory import ImapFactory
from mailserver.interfaces import ILocalDelivery, IRouter, Listener
from mailserver.net.factory import ConnectionFactory
from mailserver.net.listen import close, listen, shown
from mailserver.net.polling import quicken
from mailserver.pop3.factory import Pop3Factory
from mailserver.processes.collector import calm
from mailserver.processes.instance import NAME, InstanceLock, hand_over, hand_over_sockets
from mailserver.processes.signals import already_stopping
from mailserver.processes.team import Team
from mailserver.queue.manager import QueueManager
from mailserver.queue.reports import Reporter
from mailserver.queue.spool import Spool as QueueSpool
from mailserver.smtp.factory import SmtpFactory
from mailserver.smtp.policy import Policy
from mailserver.smtp.room import QueueRoom
from mailserver.smtp.senders import NoNullMx
from mailserver.store.store import MailStore
from mailserver.tls.client import verified_context
from mailserver.tls.server import TlsContexts

SERVICES = ("smtp", "lmtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
SALT_FILE = "salt"  # in data_dir: what invented SCRAM salts are made of


class Parts:
    """Every part of one server, made from the settings, not yet started.

    Extensions may replace or add to these before `connect`:

    router:   IRouter, who gets what
    local:    ILocalDelivery
    filters:  smtp.policy.Policy objects, asked after the built-in rules
    checkers: ICredentialsChecker objects of the portal; the first for a kind of credentials counts
    store:    IMailStore, for log-ins on IMAP and POP3
    """

    def __init__(self, settings: Settings, reactor: Any, secret: bytes, team: Team | None = None) -> None:
        now = settings.now
        self.settings = settings
        self.team = team = team or Team()
        self.reactor = reactor
        self.audit = Audit(audit_path(now.log.file, now.data_dir), now.log.format, self._at_turn_end)
        inbox = Inbox(reactor, reactor.seconds)
        self.threads = OrderedPool(inbox)
        self.writer = GroupWriter(inbox)
        self.store = MailStore(
            settings, reactor, self.threads, self.writer, inbox, run=team.run, part=team.part
        )
        self.router: IRouter = Router(settings)
        self.bodies = BodySpool(
            now.queue_dir / "bodies" / team.part,
            self.threads,
            together=lambda: int(settings.now.limits.message_memory),
        )
        self.queue = QueueSpool(now.queue_dir, reactor)
        self.hashing = HashPool(reactor, settings, roam=team.roam)
        self.local: ILocalDelivery = LocalDelivery(self.store)
        self.filters: list[Policy] = []
        directory = Directory(settings)
        self.checkers: list[Any] = [
            AllowAnonymousAccess(),
            UsersChecker(directory, self.hashing, settings, reactor.seconds, secret),
            CertificateChecker(directory),
            TokenChecker(directory, settings, Introspector(reactor, verified_context), reactor.seconds),
        ]

    def connect(self) -> None:
        """Make what holds on to other parts; nothing may be replaced any more."""
        for name in self.settings.now.extensions:
            find_extension(name)(self)
        settings, reactor = self.settings, self.reactor
        reporter = Reporter(settings, self.router)
        self.resolver = self._resolver()
        hosts = HostFinder(self.resolver.query, lambda: settings.now, local_names=names_of_hosts_file)
        local = TextDelivery(self.local, self.threads)
        self.acceptor = Acceptor(local, self.queue, reporter, self.audit, reactor)
        self.manager = QueueManager(
            settings,
            self.queue,
            relay=Relay(settings, reactor, hosts),
            local=local,
            reporter=reporter,
            audit=self.audit,
            reactor=reactor,
        )
        realm: Any = Realm(settings, self.router, self.store)
        portal = Portal(realm)
        for checker in reversed(self.checkers):  # of two for one kind, the portal takes the last
            portal.registerChecker(checker)
        self.authenticator = Authenticator(reactor, settings, self.audit, portal)

    def prepare(self) -> None:
        """[disk] What one process does before all others: folders are made, and emptied of what an earlier
        server left, the queue is looked through. Raises MailError, OSError."""
        self.store.spool.prepare()
        self.bodies.clean()
        self.queue.prepare()

    def _at_turn_end(self, call: Callable[[], None]) -> None:
        self.reactor.callLater(0, call)

    def _resolver(self) -> Resolver:
        system = SystemServers()

        def servers() -> list[tuple[str, int]]:
            configured = self.settings.now.relay.resolver
            return [parse_server(configured)] if configured else system()

        return Resolver(self.reactor, servers)


def audit_path(configured: Path | None, data_dir: Path) -> Path | None:
    """Where events go: the file that is configured, else standard output (None), else data_dir/mail.log
    where standard output leads nowhere (a daemon's)."""
    if configured is not None:
        return configured
    try:
        status = os.fstat(1)
    except OSError:
        return data_dir / "mail.log"
    nowhere = stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev
    return data_dir / "mail.log" if nowhere else None


class MailServer(Service):
    """The whole server."""

    log = Logger()

    def __init__(self, loaded: Loaded, reactor: Any, team: Team | None = None) -> None:
        self.team = team or Team()
        self.settings = Settings(loaded, reactor)
        self.reactor = reactor
        self.factories: list[ConnectionFactory] = []
        self.listeners: list[Listener] = []
        self._tls: TlsContexts | None = None
        self._parts: Parts | None = None
        self._lock = InstanceLock(loaded.config.data_dir / NAME)

    # --- start ------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Lock data_dir, read certificates, bind the ports. Ends the launch with one line where one of these
        cannot be."""
        try:
            secret = claim(self.settings.now.data_dir, self._lock)
            self._tls = TlsContexts(self.settings, self.reactor)
            hand_over(self.settings.now.data_dir)
        except (MailError, OSError, ValueError) as error:
            raise SystemExit(f"mailserver: {told(error)}") from None
        parts = self._make_parts(secret)
        refused: list[str] = []
        for service, descriptions in endpoints(self.settings.now):
            factory = self._make_factory(service, parts, self._tls)
            for description in descriptions:
                context = self._tls.server(service) if factory.implicit_tls else None
                opening = Deferred.fromCoroutine(listen(self.reactor, description, factory, context))
                opening.addCallback(self.listeners.append)
                opening.addErrback(cannot_listen, description, refused)
        if refused:
            raise SystemExit("\n".join(refused))
        hand_over_sockets(self.settings.now.data_dir, self.listeners)

    def _make_parts(self, secret: bytes) -> Parts:
        self._parts = Parts(self.settings, self.reactor, secret, self.team)
        self._parts.connect()
        return self._parts

    def _make_factory(self, service: str, parts: Parts, tls: TlsContexts) -> ConnectionFactory:
        factory = make_factory(service, parts, tls)
        self.factories.append(factory)
        return factory

    def startService(self) -> None:
        """Open the store and the queue; from now on mail is taken."""
        parts = self._parts
        assert parts is not None
        try:
            parts.audit.open()
            parts.store.start()
            parts.bodies.clean()
            self._open_queue(parts)
        except (MailError, OSError) as error:
            raise SystemExit(f"mailserver: {told(error)}") from None
        parts.threads.start()
        parts.writer.start()
        parts.hashing.start()
        self._begin(parts)
        self.settings.start()
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self.reload))
        quicken(self.reactor)
        share_evenly()
        calm()
        super().startService()  # type: ignore[no-untyped-call]

    def _open_queue(self, parts: Parts) -> None:
        parts.queue.open()

    def _begin(self, parts: Parts) -> None:
        """What one process alone does."""
        parts.manager.start()
        log_ports(self.listeners)

    def reload(self) -> None:
        """SIGHUP: read everything again, and open the log anew (log rotation)."""
        self.settings.reload()
        if self._parts is not None:
            with suppress(OSError):
                self._parts.audit.open()

    # --- stop -------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """No new connections; open transactions end; what was accepted is on the disk before we go."""
        super().stopService()  # type: ignore[no-untyped-call]
        already_stopping(self.reactor)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.settings.stop()
        await close(self.listeners)
        await gatherResults([factory.stop() for factory in self.factories], consumeErrors=True)
        if self._parts is not None:
            await self._stop_parts(self._parts)
        if self._tls is not None:
            self._tls.stop()
        self._lock.release()

    async def _stop_parts(self, parts: Parts) -> None:
        for step in (
            parts.manager.stop,
            parts.store.stop,
            parts.threads.stop,
            parts.writer.stop,
            parts.queue.close,
        ):
            try:
                await step()
            except Exception:
                self.log.failure("{step} failed while the server stopped", step=step.__qualname__)
        parts.hashing.stop()
        parts.audit.close()


def told(error: Exception) -> object:
    """What is wrong, for the operator."""
    return getattr(error, "cause", None) or error


def claim(data_dir: Path, lock: InstanceLock) -> bytes:
    """[disk] data_dir is there and ours alone; the secret that stands in it. Raises MailError, OSError,
    ValueError."""
    durable.make_dirs(str(data_dir))
    lock.acquire()
    return read_secret(data_dir / SALT_FILE)


def endpoints(config: Config) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Services that listen, each with its endpoint strings."""
    for service in SERVICES:
        descriptions: tuple[str, ...] = getattr(config.listen, service)
        if descriptions:
            yield service, descriptions


def cannot_listen(failure: Failure, description: str, refused: list[str]) -> None:
    """Noted rather than raised: a Deferred would swallow the end of the launch."""
    if not isinstance(failure.value, CannotListenError | ValueError | OSError):
        failure.raiseException()
    why = getattr(failure.value, "socketError", failure.value)
    refused.append(f"mailserver: cannot listen on {description}: {why}")


def log_ports(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        place = shown(listener.port.getHost())
        MailServer.log.info("{service} on {place}", service=listener.service, place=place)


def make_factory(service: str, parts: Parts, tls: TlsContexts) -> ConnectionFactory:
    """The factory of one service of [listen]."""
    common: dict[str, Any] = {
        "service": service,
        "settings": parts.settings,
        "audit": parts.audit,
        "reactor": parts.reactor,
        "authenticator": parts.authenticator,
        "counter": parts.team.counter,
        "tls": None if service in ("submissions", "imaps", "pop3s") else tls.server(service),
    }
    if service in ("imap", "imaps"):
        return ImapFactory(spool=parts.bodies, **common)
    if service in ("pop3", "pop3s"):
        return Pop3Factory(**common)
    null_mx = partial(has_null_mx, parts.resolver.query)
    own = (NoNullMx(parts.settings, parts.router, null_mx, parts.reactor),) if service == "smtp" else ()
    return SmtpFactory(
        router=parts.router,
        acceptor=parts.acceptor,
        spool=parts.bodies,
        quota=parts.store.quota,
        filters=(QueueRoom(parts.settings, parts.queue.count), *own, *parts.filters),
        **common,
    )


def read_secret(path: Path) -> bytes:
    """[disk] 32 random octets, made once. Raises OSError, MailError, ValueError."""
    with suppress(FileNotFoundError):
        secret = path.read_bytes()
        if len(secret) != 32:
            raise ValueError(f"{path} is damaged: remove it, and a new one is made")
        return secret
    secret = os.urandom(32)
    durable.write_file_atomic(str(path), secret)
    return secret
