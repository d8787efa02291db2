"""What a process knows of the others of its server. Most servers are one process, and that is `alone`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailserver.net.counter import ConnectionCounter
from mailserver.processes.bus import Bus
from mailserver.processes.instance import new_run

LOOK_SECONDS = 1.0


@frozen
class Team:
    """number: of this process, from 1; 0 where it is alone. run: names this start of the server. roam: called
    in a thread that computes for long without the interpreter's lock (`cores`)."""

    number: int = 0
    run: str = field(factory=new_run)
    bus: Bus | None = None
    counter: ConnectionCounter = field(factory=ConnectionCounter)
    roam: Callable[[], None] = lambda: None

    @property
    def part(self) -> str:
        """The name of this process's own folder, where each has one; "" where it is alone."""
        return f"w{self.number}" if self.number else ""


class Election:
    """One process of a team does what may be done once only. `lead` takes the lock, if it is free, and that
    goes with the process; `elected` is called once, in the one that has it."""

    log = Logger()

    def __init__(self, reactor: Any, lead: Callable[[], bool], elected: Callable[[], None]) -> None:
        self.won = False
        self._lead = lead
        self._elected = elected
        self._looking = LoopingCall(self.look)
        self._looking.clock = reactor

    def start(self) -> None:
        self._looking.start(LOOK_SECONDS, now=True)

    def stop(self) -> None:
        """It does not stand any more."""
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """The one before may have ended."""
        if self.won or not self._looking.running:
            return
        try:
            self.won = self._lead()
        except OSError as error:
            self.log.error("the queue cannot be locked: {error}", error=error)
            return
        if self.won:
            self._looking.stop()
            self._elected()
