"""What makes the connections of a POP3 service, and what they share."""

from __future__ import annotations

from typing import Any

from mailserver.audit import Audit
from mailserver.errors import TooManyConnections
from mailserver.interfaces import IAuthenticator, Peer
from mailserver.net.connection import Connection
from mailserver.net.counter import ConnectionCounter
from mailserver.net.factory import ConnectionFactory
from mailserver.pop3 import replies
from mailserver.pop3.protocol import Pop3Connection


class Pop3Factory(ConnectionFactory):
    """Connections of the services pop3 and pop3s.

    tls: the connection creator for STLS, None where it is not offered
    """

    def __init__(
        self,
        *,
        service: str,
        settings: Any,
        authenticator: IAuthenticator,
        audit: Audit,
        reactor: Any,
        tls: object | None = None,
        counter: ConnectionCounter | None = None,
    ) -> None:
        super().__init__(service=service, settings=settings, audit=audit, reactor=reactor, counter=counter)
        self.authenticator = authenticator
        self.tls = tls

    def make(self, peer: Peer) -> Connection:
        return Pop3Connection(peer)

    def refusal(self, peer: Peer) -> bytes:
        return replies.err(TooManyConnections.text, TooManyConnections.pop3)
