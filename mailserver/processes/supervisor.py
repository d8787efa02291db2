"""Child processes that are kept running: started again when they end, told of signals, and stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.processes.records import Records

STEADY = 20.0  # seconds a child has to live to be started again at once
FIRST_PAUSE = 0.2  # before the next start of one that did not; doubles with each
LONGEST_PAUSE = 30.0
STOP_SECONDS = 60.0  # then what has not ended is killed


class Child(ProcessProtocol):
    """One process. Its standard error is its log (`records`)."""

    transport: Any

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        self.number = number
        self.started = supervisor.reactor.seconds()
        self.ready = False
        self._early: list[int] = []
        self._supervisor = supervisor
        self._records = Records(f"worker {number}", self._ready)

    def _ready(self) -> None:
        self.ready = True
        self._supervisor.ready(self)
        for number in self._early:
            self.signal(number)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._records.feed(data)

    def processEnded(self, reason: Failure) -> None:
        self._records.end()
        self._supervisor.ended(self, _how(reason.value))

    def signal(self, number: int) -> None:
        """SIGHUP waits until it is understood."""
        if number == signal.SIGHUP and not self.ready:
            self._early = [number]
            return
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            return


class Supervisor:
    """launch: starts a process for a Child. ended: called with the number of one that has ended, before it is
    started again."""

    log = Logger()

    def __init__(
        self, reactor: Any, count: int, launch: Callable[[Child], object], ended: Callable[[int], object]
    ) -> None:
        self.reactor = reactor
        self._count = count
        self._launch = launch
        self._when_ended = ended
        self._children: dict[int, Child] = {}
        self._failures: dict[int, int] = {}
        self._pauses: dict[int, Any] = {}
        self._stopping = False
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        for number in range(1, self._count + 1):
            self._start(number)

    def _start(self, number: int) -> None:
        self._pauses.pop(number, None)
        child = self._children[number] = Child(self, number)
        try:
            self._launch(child)
        except OSError as error:  # no process, no memory, no descriptor left
            self.ended(child, f"cannot be started: {error}")

    def ready(self, child: Child) -> None:
        self.log.info("worker {number} is process {pid}", number=child.number, pid=child.transport.pid)

    def ended(self, child: Child, how: str) -> None:
        number = child.number
        del self._children[number]
        self._when_ended(number)
        if self._stopping:
            if not self._children and self._stopped is not None:
                self._stopped.callback(None)
            return
        if self.reactor.seconds() - child.started >= STEADY:
            self._failures.pop(number, None)
        failures = self._failures[number] = self._failures.get(number, 0) + 1
        pause = min(FIRST_PAUSE * 2 ** (failures - 2), LONGEST_PAUSE) if failures > 1 else 0.0
        self.log.error("worker {n} {how}; next start in {pause:g} s", n=number, how=how, pause=pause)
        self._pauses[number] = self.reactor.callLater(pause, self._start, number)

    def signal(self, number: int) -> None:
        """To all."""
        for child in list(self._children.values()):
            child.signal(number)

    def stop(self) -> Deferred[None]:
        """Fires when all have ended."""
        self._stopping = True
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        if not self._children:
            return succeed(None)
        self._stopped = Deferred()
        self.signal(signal.SIGTERM)
        kill = self.reactor.callLater(STOP_SECONDS, self.signal, signal.SIGKILL)

        def done(result: None) -> None:
            if kill.active():
                kill.cancel()

        return self._stopped.addCallback(done)


def _how(error: Any) -> str:
    killed = getattr(error, "signal", None)
    if killed is not None:
        return f"was killed by signal {killed}"
    return f"ended with status {getattr(error, 'exitCode', None)}"
