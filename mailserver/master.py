"""The server in several processes (`workers`): this one starts the others and keeps them running.

It opens the ports, as whoever launched it, and hands the sockets to its workers; it takes no connection and
no mail itself. What must be done once is done here before the first worker starts: folders are made and
emptied, the queue is looked through, certificates and extensions are tried. Settings are kept up to date here
as well, so that a worker that has to be started again gets those in force, whatever stands in the file then.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.config.load import Loaded
from mailserver.config.watch import Settings
from mailserver.errors import MailError
from mailserver.interfaces import Listener
from mailserver.net.listen import close, hold
from mailserver.processes.assignment import Assignment, Inherited
from mailserver.processes.bus import make_pair, pack
from mailserver.processes.instance import NAME, InstanceLock, hand_over, hand_over_sockets, new_run
from mailserver.processes.signals import already_stopping
from mailserver.processes.supervisor import Child, Supervisor
from mailserver.processes.table import Table
from mailserver.processes.team import Team
from mailserver.service import Parts, cannot_listen, claim, endpoints, log_ports, told
from mailserver.tls.server import TlsContexts


class Master(Service):
    """As `service.MailServer`, in `workers` processes."""

    log = Logger()

    def __init__(self, loaded: Loaded, reactor: Any) -> None:
        self.settings = Settings(loaded, reactor)
        self.reactor = reactor
        self.listeners: list[Listener] = []
        self._lock = InstanceLock(loaded.config.data_dir / NAME)
        self._secret = b""
        self._run = new_run()
        self._count = loaded.config.workers
        self._parts: Parts | None = None
        self._pairs: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._table: Table | None = None
        self._supervisor = Supervisor(reactor, self._count, self._launch, self._ended)

    def privilegedStartService(self) -> None:
        """Lock data_dir, bind the ports. Ends the launch with one line where one of these cannot be."""
        try:
            self._secret = claim(self.settings.now.data_dir, self._lock)
            hand_over(self.settings.now.data_dir)
        except (MailError, OSError, ValueError) as error:
            raise SystemExit(f"mailserver: {told(error)}") from None
        self._parts = Parts(self.settings, self.reactor, self._secret, Team(run=self._run))
        self._parts.connect()
        refused: list[str] = []
        for service, descriptions in endpoints(self.settings.now):
            for description in descriptions:
                opening = Deferred.fromCoroutine(hold(self.reactor, service, description))
                opening.addCallback(self.listeners.append)
                opening.addErrback(cannot_listen, description, refused)
        if refused:
            raise SystemExit("\n".join(refused))
        hand_over_sockets(self.settings.now.data_dir, self.listeners)

    def startService(self) -> None:
        """Start the workers."""
        assert self._parts is not None
        try:
            TlsContexts(self.settings, self.reactor).stop()
            self._parts.prepare()
            self._parts.queue.close()
        except (MailError, OSError, ValueError) as error:
            raise SystemExit(f"mailserver: {told(error)}") from None
        self._table = Table(self._count)
        self._pairs = {number: make_pair() for number in range(1, self._count + 1)}
        self.settings.start()
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self.reload))
        log_ports(self.listeners)
        self._supervisor.start()
        super().startService()  # type: ignore[no-untyped-call]

    def reload(self) -> None:
        """SIGHUP: read everything again, here and in the workers."""
        self.settings.reload()
        self._supervisor.signal(signal.SIGHUP)

    def stopService(self) -> Deferred[None]:
        """Fires when all workers have ended, each as a server that is alone."""
        super().stopService()  # type: ignore[no-untyped-call]
        already_stopping(self.reactor)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.settings.stop()
        ended = self._supervisor.stop()
        await close(self.listeners)
        await ended
        for pair in self._pairs.values():
            for end in pair:
                end.close()
        self._lock.release()

    # --- workers ----------------------------------------------------------------------------------

    def _launch(self, child: Child) -> None:
        """Descriptors 0 to 2: the assignment, the events, the log. The rest as the assignment says; the last
        is the lock of data_dir, which is free when nobody has it any more."""
        assert self._table is not None
        fds: dict[int, int | str] = {0: "w", 1: 1, 2: "r"}

        def inherited(fd: int) -> int:
            number = len(fds)
            fds[number] = fd
            return number

        told = Assignment(
            number=child.number,
            count=self._count,
            master=os.getpid(),
            run=self._run,
            loaded=Loaded(self.settings.now, self.settings.users),
            secret=self._secret,
            reactor=type(self.reactor).__module__,
            listeners=tuple(
                Inherited(one.service, inherited(one.port.fileno()), int(one.port.addressFamily), one.proxied)
                for one in self.listeners
            ),
            news=inherited(self._pairs[child.number][0].fileno()),
            peers={
                number: inherited(pair[1].fileno())
                for number, pair in self._pairs.items()
                if number != child.number
            },
            table=inherited(self._table.fd),
        )
        inherited(self._lock.fileno())
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = self.reactor.spawnProcess(
            child,
            sys.executable,
            [sys.executable, "-m", "mailserver.worker"],
            env=environment,
            childFDs=fds,
        )
        process.writeToChild(0, told.packed())

    def _ended(self, number: int) -> None:
        """The others need not wait until they notice."""
        if self._table is not None:
            self._table.clear(number)
        news = pack("ended", number)
        for other, (_, writing) in self._pairs.items():
            if other != number:
                try:
                    writing.send(news)
                except OSError:
                    continue
