"""Checkers for the cred portal: what is presented, and who says whether it is right.

Another back end is one class: an `ICredentialsChecker` for `IUsernamePassword` whose `requestAvatarId` gives
the user's address; with `IScramSource` too, it does SCRAM.
"""

from __future__ import annotations

import functools
import hmac
import os
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface, implementer

from mailserver.auth.cache import SuccessCache
from mailserver.auth.passwords import DUMMY, is_cheap, is_possible, plain_password, scram_keys, verify
from mailserver.auth.pool import HashPool
from mailserver.auth.users import Directory
from mailserver.config.schema import User
from mailserver.interfaces import Peer
from mailserver.wire.scram import ScramKeys, derive_keys, fake_keys, salt_for

MAX_SCRAM_NAMES = 10_000


class IProvenUser(ICredentials):
    """Somebody who has proven, by SCRAM, to know the password behind some keys."""

    username = Attribute("the name as it was given: str")
    keys = Attribute("the keys that the proof was checked against: ScramKeys")


class IVouchedUser(ICredentials):
    """Somebody whose log-in a proxy has seen that we trust."""

    username = Attribute("the name as it was given: str")


@implementer(IVouchedUser)
@frozen
class VouchedCredentials:
    """See IVouchedUser."""

    username: str


class IConditional(Interface):
    """What a checker is that is not of use to every client."""

    def offered(peer: Peer) -> bool:
        """May this client log in with it, and so be told of the mechanism?"""


class IScramSource(Interface):
    """What a checker of `IProvenUser` gives before the proof."""

    def scram_offered() -> bool:
        """Is SCRAM of use to every user, and so to be announced?"""

    def scram_keys(name: str) -> Deferred[ScramKeys]:
        """The keys of a name. A name that is unknown, disabled or without keys gets some that look real, and
        takes as long. Fails with Busy."""


@implementer(IUsernamePassword)
@frozen
class PasswordCredentials:
    """A name and a password in clear, as they came."""

    username: str
    password: bytes = field(repr=False)

    def checkPassword(self, password: bytes) -> bool:
        """For checkers that have the password itself."""
        return hmac.compare_digest(self.password, password)


@implementer(IProvenUser)
@frozen
class ProvenCredentials:
    """See IProvenUser."""

    username: str
    keys: ScramKeys = field(repr=False)


@implementer(ICredentialsChecker, IScramSource)
class UsersChecker:
    """The users files. secret: what salts for SCRAM are made of; the same in all processes and after a
    restart, so that invented salts cannot be told from stored ones by their change."""

    credentialInterfaces = (IUsernamePassword, IProvenUser, IVouchedUser)

    def __init__(
        self,
        directory: Directory,
        pool: HashPool,
        settings: Any,
        clock: Callable[[], float],
        secret: bytes | None = None,
    ) -> None:
        self._directory = directory
        self._pool = pool
        self._settings = settings
        self._secret = secret or os.urandom(32)
        self._cache = SuccessCache(clock, lambda: settings.now.auth.cache)
        self._scram: dict[str, tuple[str, ScramKeys]] = {}  # name -> the stored text and its keys

    def requestAvatarId(self, credentials: Any) -> Any:
        """The user's address, or a Deferred of it. Raises or fails with UnauthorizedLogin (its text is for
        the log) and Busy."""
        if IProvenUser.providedBy(credentials):
            return self._check_proven(credentials.username, credentials.keys)
        if IVouchedUser.providedBy(credentials):
            return self._check_vouched(credentials.username)
        return self._check_password(credentials.username, credentials.password)

    # --- passwords --------------------------------------------------------------------------------

    def _check_password(self, name: str, password: bytes) -> str | Deferred[str]:
        user = self._directory.find(name)
        if user is None:
            return self._refuse_slowly(password, "unknown user")
        if user.disabled:
            return self._refuse_slowly(password, "disabled user")
        if not is_possible(password):
            return self._refuse_slowly(password, "impossible password")
        if is_cheap(user.password):
            if verify(user.password, password):
                return user.address
            return self._refuse_slowly(password, "wrong password")
        tag = self._cache.tag(user.address.encode(), user.password.encode(), password)
        if tag in self._cache:
            return user.address
        return Deferred.fromCoroutine(self._hash(user, password, tag))

    async def _hash(self, user: User, password: bytes, tag: bytes) -> str:
        if not await self._pool.run(functools.partial(verify, user.password, password), tag):
            raise UnauthorizedLogin("wrong password")
        if not self._is_current(user):
            raise UnauthorizedLogin("password changed meanwhile")
        self._cache.add(tag)
        return user.address

    def _is_current(self, user: User) -> bool:
        """Were the users files not changed while the hash ran (CASES D13)?"""
        now = self._directory.find(user.address)
        return now is not None and not now.disabled and _same(now.password, user.password)

    def _refuse_slowly(self, password: bytes, reason: str) -> Deferred[str]:
        """A hash is run for those too whom none could let in (CASES D1)."""

        def refuse(matched: bool) -> str:
            raise UnauthorizedLogin(reason)

        hashed = password if is_possible(password) else b"-"
        return self._pool.run(functools.partial(verify, DUMMY, hashed)).addCallback(refuse)

    # --- SCRAM ------------------------------------------------------------------------------------

    def scram_offered(self) -> bool:
        """See Directory.scram_for_all."""
        return self._directory.scram_for_all()

    def scram_keys(self, name: str) -> Deferred[ScramKeys]:
        return Deferred.fromCoroutine(self._keys(name))

    async def _keys(self, name: str) -> ScramKeys:
        """Names that are seen for the first time cost one derivation, whatever stands behind them."""
        user = self._directory.find(name)
        stored = user.password if user is not None and not user.disabled else ""
        key = user.address if user is not None else self._directory.canonical(name) or name
        known = self._scram.get(key)
        if known is not None and _same(known[0], stored):
            return known[1]
        derive = functools.partial(self._derive, key, stored, *self._directory.scram_shape())
        keys = await self._pool.run(derive)
        self._scram.pop(key, None)
        while len(self._scram) >= MAX_SCRAM_NAMES:
            del self._scram[next(iter(self._scram))]
        self._scram[key] = stored, keys
        return keys

    def _derive(self, key: str, stored: str, iterations: int, salt_size: int) -> ScramKeys:
        """In a thread."""
        salt = salt_for(key, self._secret, salt_size)
        keys = scram_keys(stored, salt, iterations)
        if keys is None or plain_password(stored) is None:
            derive_keys(b"-", salt, iterations)  # as long as a {PLAIN} one takes
        return keys if keys is not None else fake_keys(key, self._secret, iterations, salt_size)

    def _check_proven(self, name: str, proven: ScramKeys) -> Deferred[str]:
        """The proof was right for these keys: are they still the user's?"""

        def check(keys: ScramKeys) -> str:
            user = self._directory.find(name)
            if user is None or user.disabled or not _same_keys(keys, proven):
                raise UnauthorizedLogin("not the keys of an enabled user")
            return user.address

        return self.scram_keys(name).addCallback(check)

    def _check_vouched(self, name: str) -> str:
        user = self._directory.find(name)
        if user is None or user.disabled:
            raise UnauthorizedLogin("no enabled user")
        return user.address


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _same_keys(one: ScramKeys, other: ScramKeys) -> bool:
    return hmac.compare_digest(one.stored_key, other.stored_key) and one.salt == other.salt
