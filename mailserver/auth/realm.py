"""The realm: from a user's address to what a protocol works with (an `ISender` or an `IAccount`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import ANONYMOUS
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from mailserver.interfaces import IAccount, IMailStore, IRouter, ISender, Peer
from mailserver.wire.networks import in_networks

Avatar = tuple[type[Interface], Any, Callable[[], None]]


@implementer(ISender)
class AnonymousSender:
    """Nobody logged in. Relays from `relay.networks` only."""

    user = ""

    def __init__(self, settings: Any, peer: Peer) -> None:
        self._settings = settings
        self._ip = peer.ip

    def may_relay(self) -> bool:
        return in_networks(self._ip, self._settings.now.relay.networks)

    def owns(self, address: str) -> bool:
        return False


@implementer(ISender)
class UserSender:
    """A user that logged in: relays, from its own addresses."""

    def __init__(self, user: str, router: IRouter) -> None:
        self.user = user
        self._router = router

    def may_relay(self) -> bool:
        return True

    def owns(self, address: str) -> bool:
        return self._router.owns(self.user, address)


@implementer(IRealm)
class Realm:
    """The mind is the `Peer`."""

    def __init__(self, settings: Any, router: IRouter, store: IMailStore) -> None:
        self._settings = settings
        self._router = router
        self._store = store

    def requestAvatar(
        self, avatarId: Any, mind: Any, *interfaces: type[Interface]
    ) -> Avatar | Deferred[Avatar]:
        """An avatar for the first interface that fits; NotImplementedError where none does."""
        for interface in interfaces:
            if interface is ISender and avatarId is ANONYMOUS:
                return ISender, AnonymousSender(self._settings, mind), _leave
            if interface is ISender:
                return ISender, UserSender(avatarId, self._router), _leave
            if interface is IAccount and avatarId is not ANONYMOUS:
                return self._store.account(avatarId).addCallback(_account)
        raise NotImplementedError(f"no avatar for {interfaces!r}")


def _account(account: IAccount) -> Avatar:
    return IAccount, account, _leave


def _leave() -> None:
    """Avatars hold nothing that a log-out would have to give back."""
