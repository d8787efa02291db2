"""What runs the SMTP engine on a connection: events out of it, answers into it, output as it comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailserver.delivery.body import Body
from mailserver.errors import MailError, ServiceUnavailable
from mailserver.interfaces import Peer
from mailserver.net.connection import Connection
from mailserver.net.timer import disarm
from mailserver.smtp import events
from mailserver.smtp.engine import SmtpEngine

MAX_WAITING = 64 * 1024  # octets that wait behind an open question before reading stops
EVENTS_AT_ONCE = 100  # then other connections have their turn


class Loop(Connection, ABC):
    """Subclasses make the `engine`, and give `_handle`, `_arm` and `_went_wrong`."""

    engine: SmtpEngine

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._running = False
        self._stopping = False
        self._body: Body | None = None  # of the message that is coming in
        self._later: IDelayedCall | None = None

    @abstractmethod
    def _handle(self, event: events.Event) -> None:
        """One event of the engine."""

    @abstractmethod
    def _arm(self) -> None:
        """The client has shown a sign of life: its time begins anew."""

    @abstractmethod
    def _went_wrong(self, failure: Failure) -> None:
        """What was to answer a question has failed."""

    def _run(self) -> None:
        """Handle what the engine has, send what it says, until it needs bytes or an answer."""
        if self._running:
            return
        self._running = True
        try:
            self._handle_events()
        except Exception:
            self.log.failure("a connection from {ip} broke the SMTP server", ip=self.peer.ip)
            self.abort()
        finally:
            self._running = False
        out = self.engine.data_to_send()
        if out:
            self.send(out)
        if self.engine.question is not None:
            self.set_deadline(None)  # we are the slow ones now
        elif out:
            self._arm()  # a whole command is a sign of life; single octets are not (CASES E1)
        if self.engine.buffered > MAX_WAITING or (self._body is not None and self._body.full):
            self.pause_input()
        else:
            self.resume_input()

    def _handle_events(self) -> None:
        engine = self.engine
        for _ in range(EVENTS_AT_ONCE):
            if not self.open or (self._body is not None and self._body.full):
                return
            event = engine.next_event()
            if event is None:
                return
            self._handle(event)
        if self._later is None:
            self._later = self.factory.reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._later = None
        self._run()

    def _cancel_later(self) -> None:
        disarm(self._later)
        self._later = None

    def _answered(self) -> None:
        """A question was answered: the engine goes on."""
        if self._stopping:
            self.engine.close(ServiceUnavailable())
        self._run()

    def _accept(self, text: str = "Ok", enhanced: str = "") -> None:
        self.engine.accept(text, enhanced)
        self._answered()

    def _refuse(self, error: MailError) -> None:
        self.engine.refuse(error)
        self._answered()

    def _guard(
        self,
        function: Callable[..., Deferred[Any] | None],
        *args: Any,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Call what answers a question, and `then` once it has; whatever goes wrong in it is the answer."""
        try:
            waiting = function(*args)
        except Exception:
            self._went_wrong(Failure())  # type: ignore[no-untyped-call]
            return
        if waiting is not None:
            if then is not None:
                waiting.addCallback(lambda _: then())
            waiting.addErrback(self._went_wrong)
