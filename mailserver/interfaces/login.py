"""Log-in, as the protocols know it: avatars, and exchanges of a mechanism."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mailserver.interfaces.envelope import Peer


class ISender(Interface):
    """Avatar of an SMTP client: anonymous (user "") or a user that logged in."""

    user = Attribute("the user, '' for the anonymous sender: str")

    def may_relay() -> bool:
        """May mail to other people's domains be handed in?"""

    def owns(address: str) -> bool:
        """May mail be sent from this address?"""


class IChannel(Interface):
    """What log-in may know of the TLS connection that it happens on."""

    def bindings(kind: str) -> Sequence[bytes]:
        """The channel binding data of a type ("tls-exporter", "tls-server-end-point"), any of which is
        right; empty for a type that this connection does not have."""

    def certificate() -> Any:
        """The client's certificate (cryptography.x509.Certificate), signed by an authority that the
        configuration trusts for this; None where there is none."""


class IAuthenticator(Interface):
    """Log-in for all three protocols over one `cred` portal, with delay, cache and audit."""

    def mechanisms(peer: Peer) -> Sequence[str]:
        """SASL mechanisms to announce to this peer now; none where clear text is refused."""

    def anonymous(peer: Peer) -> Any:
        """The ISender of a client that has not logged in."""

    def login(user: str, password: bytes, peer: Peer, interface: type[Interface]) -> Deferred[Any]:
        """The avatar for a clear-text password. Fails with AuthenticationFailed, EncryptionRequired,
        Busy; a failure fires after the penalty delay."""

    def exchange(
        mechanism: str, peer: Peer, interface: type[Interface], withheld: Collection[str] = ()
    ) -> IExchange:
        """Start a SASL exchange. `withheld`: mechanisms that were not announced to this client, although
        `mechanisms` names them. Raises MailError 504 5.5.4 (unknown, withheld), EncryptionRequired."""

    def vouched(user: str, peer: Peer, interface: type[Interface]) -> Deferred[Any]:
        """The avatar of a user for whom a proxy speaks that we trust: it has seen the proof, and none is
        asked for. Fails as `login`."""

    def refuse(peer: Peer, failures: int) -> bool:
        """True where the connection has failed `failures` times and must be closed."""


class IExchange(Interface):
    """One SASL exchange (RFC 4422) as seen by a protocol. Data is after base64 decoding."""

    def respond(response: bytes | None) -> Deferred[Challenge | Success]:
        """Next step; None where the client sent no initial response. Fails with AuthenticationFailed
        (after the penalty delay), BadSasl, Busy."""

    def abandon() -> None:
        """The client cancelled or is gone; no callback comes after this."""


@frozen
class Challenge:
    """What the server sends next, before base64."""

    data: bytes


@frozen
class Success:
    """The exchange is over. `data`: the mechanism's last word to the client (SCRAM), None for none."""

    avatar: Any
    user: str
    data: bytes | None = None
