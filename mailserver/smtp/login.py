"""AUTH of one connection: the engine's questions carried to a SASL exchange and back (RFC 4954)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.errors import AuthenticationFailed, MailError, TemporaryFailure
from mailserver.interfaces import Challenge, IAuthenticator, IExchange, ISender, Peer, Success
from mailserver.smtp import events
from mailserver.smtp.engine import SmtpEngine

TOO_MANY_FAILURES = ("Too many failed log-ins", 421, "4.7.0")


class LogIn:
    """`begin` and `go_on` answer the engine when the exchange has answered; failures go to `failed`."""

    def __init__(
        self, authenticator: IAuthenticator, engine: SmtpEngine, belongs_to: Callable[[str], None]
    ) -> None:
        self._authenticator = authenticator
        self._engine = engine
        self._belongs_to = belongs_to  # raises where the user may not have the connection
        self._exchange: IExchange | None = None
        self._success: Success | None = None
        self._failures = 0

    def begin(self, event: events.AuthOffered, peer: Peer) -> Deferred[Any]:
        """AUTH. Raises, or fails with, a MailError."""
        command = event.command
        self._exchange = self._authenticator.exchange(command.mechanism, peer, ISender)
        return self._respond(self._exchange, command.initial)

    def go_on(self, event: events.AuthResponse) -> Deferred[Any]:
        """The client's next response."""
        if self._exchange is None:
            raise TemporaryFailure(cause="a SASL response without an exchange")
        return self._respond(self._exchange, event.data)

    def _respond(self, exchange: IExchange, data: bytes | None) -> Deferred[Any]:
        step: Deferred[Any] = exchange.respond(data)
        return step.addCallback(self._stepped)

    def _stepped(self, step: Challenge | Success) -> None:
        if isinstance(step, Challenge):
            self._engine.challenge(step.data)
            return
        self._belongs_to(step.user)
        self._exchange, self._success = None, step
        if step.data is None:
            self._engine.accept()
        else:
            self._engine.challenge(step.data, last=True)

    def avatar(self) -> Any:
        """The exchange is confirmed: who it is (ISender)."""
        success, self._success = self._success, None
        return None if success is None else success.avatar

    def abandon(self) -> None:
        """The client gave up, or is gone: nothing of the exchange may come after this."""
        self._success = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()

    def failed(self, error: MailError, peer: Peer) -> None:
        """Refuse; too many wrong passwords end the connection."""
        self._exchange = self._success = None
        self._engine.refuse(error)
        if isinstance(error, AuthenticationFailed):
            self._failures += 1
            if self._authenticator.refuse(peer, self._failures):
                text, code, enhanced = TOO_MANY_FAILURES
                self._engine.close(MailError(text, code=code, enhanced=enhanced))
