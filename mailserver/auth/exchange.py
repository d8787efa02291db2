"""One SASL exchange between a protocol and the authenticator: `IExchange`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.auth.certificates import CertificateCredentials
from mailserver.auth.checkers import ProvenCredentials
from mailserver.auth.tokens import TokenCredentials
from mailserver.errors import AuthenticationFailed, BadSasl
from mailserver.interfaces import Challenge, IExchange, Success
from mailserver.wire import sasl
from mailserver.wire.scram import Proven, WantsKeys

if TYPE_CHECKING:
    from mailserver.auth.login import Attempt, Authenticator


@implementer(IExchange)
class Exchange:
    """The deferred that `respond` gives is another one than that which runs: after `abandon` the inner one is
    cancelled and the outer never fires (CASES D7)."""

    def __init__(self, authenticator: Authenticator, machine: sasl.Mechanism, attempt: Attempt) -> None:
        self._authenticator = authenticator
        self._machine = machine
        self._attempt = attempt
        self._running: Deferred[Challenge | Success] | None = None
        self._over = False
        self._refused = False  # the client has been told, and only has to say that it knows

    def respond(self, response: bytes | None) -> Deferred[Challenge | Success]:
        if self._over or self._running is not None:
            return fail(BadSasl())
        outer: Deferred[Challenge | Success] = Deferred(lambda _: self.abandon())
        self._running = running = Deferred.fromCoroutine(self._step(response))
        running.addBoth(self._stepped, outer)
        return outer

    def abandon(self) -> None:
        self._over = True
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _stepped(self, result: Any, outer: Deferred[Challenge | Success]) -> None:
        if self._over:  # abandoned
            return
        self._running = None
        self._over = isinstance(result, Failure | Success)
        outer.callback(result)

    async def _step(self, response: bytes | None) -> Challenge | Success:
        authenticator, attempt = self._authenticator, self._attempt
        if self._refused:
            raise AuthenticationFailed
        if attempt.mechanism not in sasl.PASSWORD_MECHANISMS:
            await authenticator.wait(attempt)
        attempt.started = authenticator.reactor.seconds()
        try:
            step = self._machine.respond(response)
        except AuthenticationFailed:
            await authenticator.failed(attempt, "refused by the mechanism")
        if isinstance(step, sasl.Challenge):
            return Challenge(step.data)
        attempt.user = step.user
        if isinstance(step, WantsKeys):
            keys = await authenticator.scram.scram_keys(step.user)
            return Challenge(self._machine.keys(keys).data)
        if isinstance(step, Proven):
            avatar = await authenticator.log_in(attempt, ProvenCredentials(step.user, step.keys))
            return Success(avatar, attempt.user, step.final)
        if isinstance(step, sasl.WantsPassword):
            avatar = await authenticator.check_password(attempt, step.password)
        elif isinstance(step, sasl.WantsCertificate):
            certificate = attempt.peer.channel.certificate() if attempt.peer.channel else None
            avatar = await authenticator.log_in(attempt, CertificateCredentials(step.user, certificate))
        else:
            return await self._with_token(TokenCredentials(step.user, step.token))
        return Success(avatar, attempt.user)

    async def _with_token(self, credentials: TokenCredentials) -> Challenge | Success:
        """A refusal is explained first; the exchange fails with the client's next response."""
        try:
            avatar = await self._authenticator.log_in(self._attempt, credentials)
        except AuthenticationFailed as error:
            refusal = self._attempt.refusal
            told = self._machine.refused(refusal) if refusal is not None else None
            if told is None:
                raise error from None
            self._refused = True
            return Challenge(told.data)
        return Success(avatar, self._attempt.user)
