"""What runs the IMAP engine on a connection: events out of it, a bounded number in a turn of the reactor.

Commands run one after another. Reading stops while a client has more waiting than it is entitled to or does
not read what it asked for; a run of pipelined commands gives the reactor a turn every `COMMANDS_PER_TURN`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from mailserver.imap.engine import Engine
from mailserver.imap.events import Event
from mailserver.interfaces import Peer
from mailserver.net.connection import Connection

COMMANDS_PER_TURN = 50
READ_AHEAD = 128 * 1024  # octets that may wait behind a command before reading stops


class Loop(Connection, ABC):
    """Subclasses give `_handle`, `_held_up` and `_executing`."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.engine = Engine()
        self._running = False
        self._run_later = False

    @abstractmethod
    def _handle(self, event: Event) -> None:
        """One event of the engine."""

    @abstractmethod
    def _held_up(self) -> bool:
        """Does something else come first, whatever the engine has?"""

    @abstractmethod
    def _executing(self) -> bool:
        """Is a command under way?"""

    def _feed(self, data: bytes) -> None:
        """Bytes came."""
        self.engine.receive(data)
        self._run()
        if self.engine.waiting > READ_AHEAD and not self._reading_on():
            self.pause_input()

    def _reading_on(self) -> bool:
        """Will what waits be used without more from elsewhere?"""
        return not (self._executing() or self._run_later or self.output_full or self._held_up())

    def _run(self) -> None:
        """Take events until the engine waits: for bytes, for a command, for the client to read."""
        if self._running or self._run_later:
            return
        self._running = True
        engine, left = self.engine, COMMANDS_PER_TURN
        try:
            while self._may_go_on():
                event = engine.next_event()
                self.send(engine.data_to_send())
                if event is None:
                    break
                self._handle(event)
                left -= 1
                if not left:
                    break
        finally:
            self._running = False
        if not left:
            self._run_soon()
        elif engine.waiting <= READ_AHEAD:
            self.resume_input()

    def _may_go_on(self) -> bool:
        return self.open and not (self._closing or self.output_full or self._held_up())

    def _run_soon(self) -> None:
        """Go on where no `_run` is on the stack to do so."""
        if not self._running and not self._run_later:
            self._run_later = True
            self.factory.turns.later(self._run_now)

    def _run_now(self) -> None:
        self._run_later = False
        self._run()

    def breathe(self) -> Deferred[None]:
        """Fire in the next turn of the reactor; fail when the client is gone."""
        turn: Deferred[None] = Deferred()
        self.factory.turns.later(lambda: self._turn(turn))
        return turn

    def _turn(self, turn: Deferred[None]) -> None:
        if self.open:
            turn.callback(None)
        else:
            turn.errback(ConnectionLost())
