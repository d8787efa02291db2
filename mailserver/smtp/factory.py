"""What makes the connections of an SMTP service, and what they share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mailserver.audit import Audit
from mailserver.delivery.body import Spool
from mailserver.interfaces import IAcceptor, IAuthenticator, IRouter, Peer, QuotaUsage
from mailserver.net.counter import ConnectionCounter
from mailserver.net.factory import ConnectionFactory
from mailserver.smtp import replies, rules
from mailserver.smtp.ids import MessageIds
from mailserver.smtp.policy import Policy
from mailserver.smtp.protocol import SmtpConnection


class SmtpFactory(ConnectionFactory):
    """The services "smtp" (MX), "lmtp", "submission" and "submissions".

    tls:    what `startTLS` wants (`TlsContexts.server(service)`), None where STARTTLS is not possible
    quota:  usage of a mailbox as far as it is known (`IMailStore.quota`)
    clock:  seconds since the epoch
    filters: further policies, asked last
    """

    protocol_class = SmtpConnection

    def __init__(
        self,
        *,
        service: str,
        settings: Any,
        audit: Audit,
        reactor: Any,
        router: IRouter,
        acceptor: IAcceptor,
        authenticator: IAuthenticator,
        spool: Spool,
        quota: Callable[[str], QuotaUsage | None],
        tls: object | None,
        counter: ConnectionCounter | None = None,
        clock: Callable[[], float] = time.time,
        filters: Sequence[Policy] = (),
    ) -> None:
        super().__init__(service=service, settings=settings, audit=audit, reactor=reactor, counter=counter)
        self.rules = rules.service(service, settings, router, quota, clock, filters=filters)
        self.router = router
        self.acceptor = acceptor
        self.authenticator = authenticator
        self.spool = spool
        self.tls = tls
        self.clock = clock
        self.ids = MessageIds(clock)

    def refusal(self, peer: Peer) -> bytes:
        """421 instead of the greeting (RFC 5321, 3.1)."""
        return replies.encode(
            421, "4.7.0", f"{self.settings.now.hostname} Too many connections, try again later"
        )
