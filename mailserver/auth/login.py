"""Log-in for all protocols over one cred portal: `IAuthenticator`.

Whatever is wrong, the client reads one text, and reads it late (`auth.penalty`). Every attempt is one
`login` event. SCRAM-SHA-256 is announced where every enabled user has keys for it, and taken from anybody;
EXTERNAL to a client whose certificate names a user, OAUTHBEARER and XOAUTH2 where a provider is configured.

Without TLS nothing is announced or taken unless `auth.allow_cleartext`, SCRAM neither: it keeps the password
from the wire, but who listens can try passwords on the exchange at home (RFC 5802, 9), and who stands between
takes the session. Somebody who strips STARTTLS must not get even that.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from attrs import define
from twisted.cred.credentials import Anonymous
from twisted.cred.error import LoginFailed
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import Interface, implementer

from mailserver.audit import Audit
from mailserver.auth.cache import SuccessCache
from mailserver.auth.certificates import ICertificate
from mailserver.auth.checkers import (
    IConditional,
    IProvenUser,
    IScramSource,
    PasswordCredentials,
    VouchedCredentials,
)
from mailserver.auth.exchange import Exchange
from mailserver.auth.penalty import Penalties
from mailserver.auth.tokens import IToken, TokenRefused
from mailserver.errors import AuthenticationFailed, EncryptionRequired, MailError, TemporaryFailure
from mailserver.interfaces import IAuthenticator, IExchange, ISender, Peer
from mailserver.wire import sasl
from mailserver.wire.bearer import Refusal
from mailserver.wire.scram import UNBOUND, Binding

MAX_LOGGED_NAME = 256


@define
class Attempt:
    """One attempt to log in, from the password or proof on."""

    peer: Peer
    mechanism: str
    interface: type[Interface]
    user: str = ""
    started: float = 0.0
    refusal: Refusal | None = None  # why a token was refused


@implementer(IAuthenticator)
class Authenticator:
    """reactor: IReactorTime. portal: with checkers for IUsernamePassword and IAnonymous, and for IProvenUser,
    ICertificate and IToken where there is SCRAM, EXTERNAL, OAUTHBEARER. nonce: makes the server's part of a
    SCRAM nonce."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Any,
        audit: Audit,
        portal: Portal,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(18),
    ) -> None:
        self.reactor = reactor
        self._settings = settings
        self._audit = audit
        self._portal = portal
        self._nonce = nonce
        self._penalties = Penalties(settings, reactor.seconds)
        self._trusted = SuccessCache(reactor.seconds, lambda: settings.now.auth.cache)
        source = portal.checkers.get(IProvenUser)
        self.scram: Any = source if IScramSource.providedBy(source) else None
        self._certificates = _conditional(portal.checkers.get(ICertificate))
        self._tokens = _conditional(portal.checkers.get(IToken))

    @property
    def penalties(self) -> Penalties:
        return self._penalties

    # --- IAuthenticator ---------------------------------------------------------------------------

    def mechanisms(self, peer: Peer) -> Sequence[str]:
        if self._in_clear(peer):
            return ()
        names = list(sasl.PASSWORD_MECHANISMS)
        if self.scram is not None and self.scram.scram_offered():
            names += [sasl.SCRAM, sasl.SCRAM_PLUS] if peer.channel is not None else [sasl.SCRAM]
        if self._certificates is not None and self._certificates.offered(peer):
            names.append(sasl.EXTERNAL)
        if self._tokens is not None and self._tokens.offered(peer):
            names += sasl.TOKEN_MECHANISMS
        return names

    def login(self, user: str, password: bytes, peer: Peer, interface: type[Interface]) -> Deferred[Any]:
        mechanism = "USER" if peer.protocol.startswith("pop3") else "LOGIN"
        attempt = Attempt(peer, mechanism, interface, user)
        if self._in_clear(peer):
            self._note(attempt, "refused", "not encrypted")
            return fail(EncryptionRequired())
        return Deferred.fromCoroutine(self.check_password(attempt, password))

    def vouched(self, user: str, peer: Peer, interface: type[Interface]) -> Deferred[Any]:
        attempt = Attempt(peer, "XCLIENT", interface, user)
        return Deferred.fromCoroutine(self.log_in(attempt, VouchedCredentials(user)))

    def exchange(
        self, mechanism: str, peer: Peer, interface: type[Interface], withheld: Collection[str] = ()
    ) -> IExchange:
        name = mechanism.upper()
        machine = None
        if name not in withheld and self._is_possible(name, peer):
            machine = sasl.start(name, self._nonce(), self._binding(name, peer, withheld))
        if machine is None:
            raise MailError("Unrecognized authentication type", code=504, enhanced="5.5.4")
        if self._in_clear(peer):
            self._note(Attempt(peer, name, interface), "refused", "not encrypted")
            raise EncryptionRequired
        return Exchange(self, machine, Attempt(peer, name, interface))

    def _is_possible(self, name: str, peer: Peer) -> bool:
        """Can an exchange be begun? (In clear text it is refused with its own error.)"""
        if name == sasl.SCRAM:
            return self.scram is not None
        if name == sasl.SCRAM_PLUS:
            return self.scram is not None and (peer.channel is not None or self._in_clear(peer))
        if name == sasl.EXTERNAL or name in sasl.TOKEN_MECHANISMS:
            source = self._certificates if name == sasl.EXTERNAL else self._tokens
            return source is not None and source.offered(peer)
        return True

    def _binding(self, name: str, peer: Peer, withheld: Collection[str]) -> Binding:
        if peer.channel is None:
            return UNBOUND
        offered = sasl.SCRAM_PLUS not in withheld and sasl.SCRAM_PLUS in self.mechanisms(peer)
        return Binding(name == sasl.SCRAM_PLUS, offered, peer.channel.bindings)

    def refuse(self, peer: Peer, failures: int) -> bool:
        return bool(failures >= self._settings.now.auth.max_failures)

    def anonymous(self, peer: Peer) -> Any:
        """The ISender of a client that has not logged in."""
        avatars: list[Any] = []
        self._portal.login(Anonymous(), peer, ISender).addCallback(lambda found: avatars.append(found[1]))
        return avatars[0]

    # --- for exchanges ----------------------------------------------------------------------------

    async def check_password(self, attempt: Attempt, password: bytes) -> Any:
        """The avatar for a name and password. Raises AuthenticationFailed when it is time, Busy …"""
        ip = attempt.peer.ip
        tag = self._trusted.tag(ip.encode(), attempt.user.encode("utf-8", "replace"), password)
        if tag not in self._trusted:  # the very log-in that was right a moment ago need not wait
            await self.wait(attempt)
        attempt.started = self.reactor.seconds()
        avatar = await self.log_in(attempt, PasswordCredentials(attempt.user, password))
        self._trusted.add(tag)
        return avatar

    async def wait(self, attempt: Attempt) -> None:
        """Until the failures of that address, and with that name, are answered."""
        seconds = self._penalties.wait(attempt.peer.ip, attempt.user)
        if seconds > 0:
            await deferLater(self.reactor, seconds)

    async def log_in(self, attempt: Attempt, credentials: Any) -> Any:
        """Ask the portal; the result is noted."""
        avatar: Any
        try:
            _, avatar, _ = await self._portal.login(credentials, attempt.peer, attempt.interface)
        except LoginFailed as error:
            attempt.refusal = error.refusal if isinstance(error, TokenRefused) else None
            await self.failed(attempt, str(error))
        except MailError as error:
            self._note(attempt, "unavailable", type(error).__name__)
            raise
        except CancelledError:
            raise
        except Exception as error:
            self.log.failure("log-in of {user} went wrong", user=attempt.user)
            self._note(attempt, "unavailable", type(error).__name__)
            raise TemporaryFailure(cause=error) from None
        self._penalties.succeeded(attempt.peer.ip)
        attempt.user = avatar.user
        self._note(attempt, "ok")
        return avatar

    async def failed(self, attempt: Attempt, reason: str) -> NoReturn:
        """Count and note the failure, and raise AuthenticationFailed when its time has come."""
        seconds = self._penalties.failed(attempt.peer.ip, attempt.started, attempt.user)
        self._note(attempt, "failed", reason)
        if seconds > 0:
            await deferLater(self.reactor, seconds)
        raise AuthenticationFailed

    def _note(self, attempt: Attempt, result: str, reason: str = "") -> None:
        self._audit.event(
            "login",
            service=attempt.peer.protocol,
            ip=attempt.peer.ip,
            user=attempt.user[:MAX_LOGGED_NAME],
            mechanism=attempt.mechanism,
            result=result,
            reason=reason,
        )

    def _in_clear(self, peer: Peer) -> bool:
        return not peer.tls and not self._settings.now.auth.allow_cleartext


def _conditional(checker: Any) -> Any:
    """A checker that says itself when its mechanism is of use; None for any other."""
    return checker if IConditional.providedBy(checker) else None
