"""What runs the POP3 engine on a connection: events out of it, answers out as the client takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mailserver.interfaces import Peer
from mailserver.net.connection import Connection
from mailserver.pop3.engine import Pop3Engine
from mailserver.pop3.events import Event, Listed

TURN = 500  # commands in one reactor turn
TURN_OCTETS = 1024 * 1024  # octets produced in one reactor turn
UNREAD = 16 * 1024  # octets received while an answer is awaited; then reading pauses


class Loop(Connection, ABC):
    """Subclasses make the `engine`, and give `_handle` and `_arm`."""

    engine: Pop3Engine

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._running = False
        self._resting = False  # goes on in the next turn

    @abstractmethod
    def _handle(self, event: Event) -> None:
        """One event of the engine."""

    @abstractmethod
    def _arm(self) -> None:
        """The client has shown a sign of life: its time begins anew."""

    def received(self, data: bytes) -> None:
        self.engine.receive(data)
        self._run()

    def output_drained(self) -> None:
        self._run()

    def _run(self) -> None:
        """Handle what was received, as far as there are answers and the client takes them."""
        if self._running or self._resting or self._closing or not self.open:
            return
        self._running = True
        try:
            if self._handle_events():
                self._arm()
        finally:
            self._running = False
        if self.engine.unread > UNREAD:
            self.pause_input()
        else:
            self.resume_input()

    def _handle_events(self) -> int:
        """The number of events handled. Stops for a turn where there were many (no turn takes long)."""
        engine = self.engine
        count = octets = 0
        while not self.output_full:
            event = engine.next_event()
            if event is None:
                break
            count += 1
            if type(event) is not Listed and not self.count_command():
                break
            self._handle(event)
            data = engine.data_to_send()
            octets += len(data)
            self.send(data)
            if count >= TURN or octets >= TURN_OCTETS:
                self._resting = True
                self.factory.turns.later(self._go_on)
                break
        return count

    def _go_on(self) -> None:
        self._resting = False
        self._run()
