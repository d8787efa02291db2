"""Domains that senders claim (RFC 7505, 4.2; CASES G9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.errors import MailError
from mailserver.interfaces import IRouter
from mailserver.smtp.policy import Answer, Policy
from mailserver.smtp.transaction import Transaction

SECONDS = 5.0  # that a sender waits for DNS


class NoNullMx(Policy):
    """At MAIL from a stranger: a domain that says of itself that it takes no mail sends none either, for no
    answer and no report could reach it. Asked where limits.refuse_null_mx says so; what DNS does not tell in
    time refuses nobody.

    has_null_mx: asks DNS about a domain
    """

    def __init__(
        self, settings: Any, router: IRouter, has_null_mx: Callable[[str], Deferred[bool]], reactor: Any
    ) -> None:
        self._settings = settings
        self._router = router
        self._has_null_mx = has_null_mx
        self._reactor = reactor

    def on_sender(self, transaction: Transaction) -> Answer:
        domain = transaction.reverse_path.rpartition("@")[2]
        sender = transaction.sender
        if not self._settings.now.limits.refuse_null_mx or not domain or domain.startswith("["):
            return None
        if sender.user or sender.may_relay() or self._router.is_local_domain(domain):
            return None
        asked = self._has_null_mx(domain).addTimeout(SECONDS, self._reactor)
        return asked.addErrback(lambda failure: False).addCallback(_refuse)


def _refuse(is_null: bool) -> None:
    if is_null:
        raise MailError("Sender domain does not accept mail (null MX)", code=550, enhanced="5.7.27")
