"""Log-in by an access token that a provider of the administrator's choice vouches for (RFC 7628, RFC 7662).

The provider is asked about each token once in `auth.oauth.cache`; what it says of one that is no good is
not kept, for it may be good the next moment. Tokens are not kept either: entries go by keyed hashes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import Attribute, implementer

from mailserver.auth.checkers import IConditional
from mailserver.auth.users import Directory
from mailserver.config.schema import OAuth
from mailserver.interfaces import Peer
from mailserver.wire.bearer import Refusal

MAX_ENTRIES = 10_000

Introspect = Callable[[OAuth, str], Awaitable[Mapping[str, Any]]]


class IToken(ICredentials):
    """Who has an access token."""

    username = Attribute("the name that was asked for, '' for whom the token is about: str")
    token = Attribute("the token: str")


@implementer(IToken)
@frozen
class TokenCredentials:
    """See IToken."""

    username: str
    token: str = field(repr=False)


class TokenRefused(UnauthorizedLogin):
    """`refusal`: what the client may know of it."""

    def __init__(self, reason: str, refusal: Refusal) -> None:
        super().__init__(reason)
        self.refusal = refusal


@frozen
class _Good:
    """What the provider said: whose the token is, what for, for which services, and until when (monotonic)
    we believe it."""

    user: str
    scope: frozenset[str]
    audience: frozenset[str]
    until: float


@implementer(ICredentialsChecker, IConditional)
class TokenChecker:
    """introspect: asks the provider (`introspection.Introspector`). clock: monotonic; wall: since the epoch,
    which is what tokens expire by."""

    credentialInterfaces = (IToken,)

    def __init__(
        self,
        directory: Directory,
        settings: Any,
        introspect: Introspect,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._introspect = introspect
        self._clock = clock
        self._wall = wall
        self._key = os.urandom(32)
        self._known: dict[bytes, _Good] = {}  # oldest first
        self._known_by: OAuth | None = None

    def offered(self, peer: Peer) -> bool:
        """Tokens are passwords that work elsewhere too: never in clear (RFC 7628, 3; RFC 6750, 5.3)."""
        return self._settings.now.auth.oauth is not None and bool(peer.tls)

    def requestAvatarId(self, credentials: Any) -> Any:
        """The user's address. Fails with TokenRefused, CannotAuthenticate, Busy."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        oauth: OAuth | None = self._settings.now.auth.oauth
        if oauth is None:
            raise UnauthorizedLogin("no provider is configured")
        if not credentials.token:
            raise TokenRefused("no token", _refusal(oauth, "invalid_token"))
        good = await self._ask(oauth, credentials.token)
        if good is None:
            raise TokenRefused("not an active token", _refusal(oauth, "invalid_token"))
        if oauth.audience and oauth.audience not in good.audience:
            raise TokenRefused("a token for another service", _refusal(oauth, "invalid_token"))
        if oauth.scope and oauth.scope not in good.scope:
            raise TokenRefused("a token for something else", _refusal(oauth, "insufficient_scope"))
        user = self._directory.find(good.user)
        if user is None or user.disabled:
            raise TokenRefused("not a token of an enabled user", _refusal(oauth, "invalid_token"))
        wanted = self._directory.find(credentials.username) if credentials.username else user
        if wanted is None or wanted.address != user.address:
            raise TokenRefused("a token of somebody else", _refusal(oauth, "invalid_token"))
        return user.address

    async def _ask(self, oauth: OAuth, token: str) -> _Good | None:
        """What is known of a token, or what the provider says; None for one that is not active."""
        if oauth != self._known_by:
            self._known.clear()
            self._known_by = oauth
        tag = hashlib.blake2b(token.encode(), digest_size=16, key=self._key).digest()
        good = self._known.get(tag)
        if good is not None and self._clock() < good.until:
            return good
        good = self._good(oauth, await self._introspect(oauth, token))
        self._known.pop(tag, None)
        if good is not None and oauth == self._known_by and good.until > self._clock():
            while len(self._known) >= MAX_ENTRIES:
                del self._known[next(iter(self._known))]
            self._known[tag] = good
        return good

    def _good(self, oauth: OAuth, answer: Mapping[str, Any]) -> _Good | None:
        """RFC 7662, 2.2"""
        expires, user, scope = answer.get("exp"), answer.get(oauth.user_claim), answer.get("scope")
        if answer.get("active") is not True or not isinstance(user, str) or not user:
            return None
        left = oauth.cache
        if isinstance(expires, int | float) and not isinstance(expires, bool):
            left = min(left, expires - self._wall())
            if expires <= self._wall():
                return None
        words = scope.split() if isinstance(scope, str) else ()
        aud = answer.get("aud")
        named = [aud] if isinstance(aud, str) else aud if isinstance(aud, list) else ()
        audience = frozenset(one for one in named if isinstance(one, str))
        return _Good(user, frozenset(words), audience, self._clock() + left)


def _refusal(oauth: OAuth, status: str) -> Refusal:
    return Refusal(status, oauth.scope, oauth.openid_configuration)
