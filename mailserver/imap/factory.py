"""What makes the connections of an IMAP service, and what they share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mailserver.audit import Audit
from mailserver.imap.protocol import ImapConnection
from mailserver.interfaces import IAuthenticator, Peer
from mailserver.net.counter import ConnectionCounter
from mailserver.net.factory import ConnectionFactory


class ImapFactory(ConnectionFactory):
    """The services "imap" and "imaps".

    spool: makes the body of an APPEND (`delivery.body.Spool`)
    clock: seconds since the epoch
    tls:   what `startTLS` wants (`TlsContexts.server(service)`), None where STARTTLS is not possible
    """

    protocol_class = ImapConnection

    def __init__(
        self,
        *,
        service: str,
        settings: Any,
        audit: Audit,
        reactor: Any,
        authenticator: IAuthenticator,
        spool: Any,
        tls: object | None,
        counter: ConnectionCounter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(service=service, settings=settings, audit=audit, reactor=reactor, counter=counter)
        self.authenticator = authenticator
        self.spool = spool
        self.tls = tls
        self.clock = clock

    def refusal(self, peer: Peer) -> bytes:
        """BYE instead of the greeting (RFC 3501, 7.1.5)."""
        return b"* BYE [UNAVAILABLE] Too many connections from your address\r\n"
