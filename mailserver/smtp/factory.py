"""What makes the connections of an SMTP service, and what they share and offer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from mailserver.audit import Audit
from mailserver.config.schema import Config
from mailserver.delivery.body import Spool
from mailserver.interfaces import IAcceptor, IAuthenticator, IRouter, Peer, QuotaUsage
from mailserver.net.counter import ConnectionCounter
from mailserver.net.factory import ConnectionFactory
from mailserver.smtp import replies, rules
from mailserver.smtp.extensions import Options
from mailserver.smtp.ids import MessageIds
from mailserver.smtp.policy import Policy
from mailserver.smtp.protocol import SmtpConnection
from mailserver.smtp.xclient import ALWAYS, WITH_LOG_IN
from mailserver.wire.networks import in_networks


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

    def options(self, config: Config, peer: Peer, connected: str, user: str) -> Options:
        """What a session is offered now. connected: the IP address of who is connected, `peer` being whom it
        tells of; user: who has logged in, "" for nobody."""
        log_in = self.rules.log_in and not user
        # Told by the hour, so that it is worked out once for many; and before the log-in, as few ask again.
        hold = int(config.limits.future_release) if self.rules.log_in else 0
        mechanisms = tuple(self.authenticator.mechanisms(peer)) if log_in else ()
        return Options(
            config.hostname,
            max_size=config.limits.message_size,
            recipients=config.limits.recipients,
            transactions=config.limits.transactions,
            hold=hold,
            deliver_by=ceil(config.limits.min_deliver_by),
            priorities=config.limits.priority_policy,
            hold_until=int(self.clock() + hold) // 3600 * 3600 if hold else 0,
            secure=bool(peer.tls),
            starttls=self.tls is not None and not peer.tls,
            mechanisms=mechanisms,
            needs_tls=log_in and not mechanisms and not peer.tls,
            errors=config.limits.errors,
            junk=config.limits.junk_commands,
            dialect=self.rules.dialect,
            xclient=self._xclient(config, connected),
        )

    def _xclient(self, config: Config, connected: str) -> tuple[str, ...]:
        """What a proxy may tell. Who is one does not change by what it tells."""
        if self.rules.dialect.each or not in_networks(connected, config.proxy.xclient):
            return ()
        return WITH_LOG_IN if self.rules.log_in else ALWAYS
