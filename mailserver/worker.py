"""One of several processes of a server: `python -m mailserver.worker`, started by the master (`master`).

It is told on standard input who it is, inherits the sockets, and is a `MailServer` like one that is alone,
but for three things: it tells the others what it commits and hears what they do (`processes.bus`); the queue
is delivered, and search indexes are filled, by one of them, which holds the queue's lock; and it ends with
the master, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.errors import MailError
from mailserver.net.factory import ConnectionFactory
from mailserver.net.listen import adopt
from mailserver.processes import assignment, cores, records
from mailserver.processes.assignment import Assignment
from mailserver.processes.bus import LARGEST, LOST, Bus, pack
from mailserver.processes.collected import Collected, Mail
from mailserver.processes.table import Interests, SharedCounter, Table
from mailserver.processes.team import Election, Team
from mailserver.queue.values import Lane
from mailserver.service import MailServer, Parts, told
from mailserver.store.changes import Change, Posted
from mailserver.tls.server import TlsContexts

_PR_SET_PDEATHSIG = 1
SOME = 50  # messages that are told of a change that no datagram holds


def main() -> None:
    """Runs until the master says stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the master has it too, and sends SIGTERM
    _end_with_the_master()
    try:
        assigned = assignment.receive()
    except EOFError:
        raise SystemExit(0) from None
    if os.getppid() != assigned.master:  # it ended before the kernel was asked to tell
        raise SystemExit(0)
    roam = cores.settle(assigned.number, assigned.count)
    import_module(assigned.reactor).install()
    from twisted.internet import reactor  # noqa: PLC0415  (installed just now)

    records.begin_logging()
    server = Worker(assigned, reactor, roam)
    server.privilegedStartService()
    server.startService()
    running: Any = reactor
    running.addSystemEventTrigger("before", "shutdown", server.stopService)
    lifeline = _Lifeline()
    running.addReader(lifeline)
    running.addSystemEventTrigger("during", "shutdown", running.removeReader, lifeline)
    running.callWhenRunning(records.send, {"level": records.READY})
    running.run()


def _end_with_the_master() -> None:
    """Where the system can; everywhere else `_Lifeline` does."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@implementer(IReadDescriptor)
class _Lifeline:
    """The pipe on which the assignment came. When it ends the master is gone, and nothing is left to do here
    that a start would not have to do anyway: whatever was promised is on the disk."""

    def fileno(self) -> int:
        return assignment.LIFELINE

    def logPrefix(self) -> str:
        return "master"

    def doRead(self) -> None:
        if not os.read(assignment.LIFELINE, 512):
            os._exit(1)

    def connectionLost(self, reason: Failure) -> None:
        os._exit(1)


class Worker(MailServer):
    """The server of one process, after it was told what it is."""

    def __init__(self, assigned: Assignment, reactor: Any, roam: Callable[[], None]) -> None:
        self._assigned = assigned
        peers = {number: _inherited(fd) for number, fd in assigned.peers.items()}
        self._bus = Bus(reactor, _inherited(assigned.news), peers)
        table = Table(assigned.count, assigned.table)
        counter = SharedCounter(table, assigned.number, assigned.secret)
        self._interests = Interests(table, assigned.number, assigned.secret)
        team = Team(assigned.number, assigned.run, self._bus, counter, roam)
        super().__init__(assigned.loaded, reactor, team)
        self._mail = Collected(reactor, self._tell_of_mail)
        self._election: Election | None = None

    def privilegedStartService(self) -> None:
        """Take over the ports. (Nothing is privileged here.)"""
        try:
            self._tls = TlsContexts(self.settings, self.reactor)
        except (MailError, OSError, ValueError) as error:
            raise SystemExit(f"mailserver: {told(error)}") from None
        parts = self._make_parts(self._assigned.secret)
        factories: dict[str, ConnectionFactory] = {}
        for one in self._assigned.listeners:
            factory = factories.get(one.service)
            if factory is None:
                factory = factories[one.service] = self._make_factory(one.service, parts, self._tls)
            context = self._tls.server(one.service) if factory.implicit_tls else None
            self.listeners.append(adopt(self.reactor, one, factory, context))

    def _open_queue(self, parts: Parts) -> None:
        parts.queue.join()

    def _begin(self, parts: Parts) -> None:
        bus = self._bus
        penalties = parts.authenticator.penalties
        election = self._election = Election(self.reactor, parts.queue.lead, lambda: self._lead(parts))
        parts.store.indexing.fills = False
        parts.store.changes.forward = self._forward
        parts.store.changes.wanted = self._interests.add
        parts.store.read_news = bus.doRead
        parts.queue.enqueued = lambda lanes: bus.tell("enqueued", lanes)
        penalties.told = lambda key, seconds: bus.tell("failed login", (key, seconds))
        self.settings.tell = lambda user: bus.tell("user", user)
        bus.on("user", self.settings.hear)
        bus.on("change", parts.store.changes.arrived)
        bus.on("mail", parts.store.indexing.changed_elsewhere)
        bus.on("enqueued", self._enqueued_elsewhere)
        bus.on("failed login", lambda value: penalties.failed_elsewhere(*value))
        bus.on("ended", lambda number: election.look())
        bus.on(LOST, lambda nothing: self._lost(parts))
        bus.start()
        election.start()

    def _lead(self, parts: Parts) -> None:
        """What one process of all does, from now on this one."""
        self.log.info("this process delivers the queue")
        self._interests.add_mail()
        parts.manager.start()
        parts.store.indexing.fills = True
        parts.store.indexing.start()

    @property
    def _leads(self) -> bool:
        return self._election is not None and self._election.won

    def _forward(self, change: Posted) -> None:
        """What happens to messages is told to who has a use for it. Of a large change only some is told, as
        what follows on nothing: the others read the index."""
        if not isinstance(change, Change):
            self._bus.tell("change", change)
            return
        to = None
        if not change.gone:
            to = self._interests.of(change.user)
            if (change.added or change.removed) and any(one not in to for one in self._interests.of_mail()):
                self._mail.add(change.user, len(change.added), len(change.removed))
            if not to:
                return
        change = evolve(change, by=None)
        data = pack("change", change)
        if len(data) > LARGEST:
            parts = {
                name: getattr(change, name)[:SOME] for name in ("added", "changed", "removed", "renamed")
            }
            data = pack("change", evolve(change, before=-1, **parts))
        self._bus.tell_packed(data, to)

    def _tell_of_mail(self, some: Mail) -> None:
        self._bus.tell_packed(pack("mail", some), self._interests.of_mail())

    def _enqueued_elsewhere(self, lanes: Sequence[Lane]) -> None:
        if self._leads and self._parts is not None:
            self._parts.queue.enqueued(lanes)

    def _lost(self, parts: Parts) -> None:
        parts.store.look_everywhere()
        if self._leads:
            parts.manager.look_again()

    async def _stop(self) -> None:
        if self._election is not None:
            self._election.stop()
        await super()._stop()
        self._mail.stop()
        self._bus.stop()


def _inherited(fd: int) -> socket.socket:
    end = socket.socket(fileno=fd)
    end.setblocking(False)
    return end


if __name__ == "__main__":
    main()
