"""Room in the queue: nobody fills it alone, be it a mistake or a stolen password."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.errors import LimitReached
from mailserver.interfaces import Target
from mailserver.smtp.commands import Rcpt
from mailserver.smtp.policy import Answer, Policy
from mailserver.smtp.transaction import Transaction

Count = Callable[[str, int], Deferred[int] | None]


class QueueRoom(Policy):
    """At RCPT to another server, or of a message that is held back (RFC 4865, 6), for whoever has too
    many messages in the queue (limits.queued_messages).

    count: how many messages a sender (a user, or what a stranger calls himself) has; None where these are
    known to be fewer than the number given. Reports, from the null path, are not counted.
    """

    def __init__(self, settings: Any, count: Count) -> None:
        self._settings = settings
        self._count = count

    def on_recipient(self, transaction: Transaction, rcpt: Rcpt, targets: Sequence[Target]) -> Answer:
        most = self._settings.now.limits.queued_messages
        sender = transaction.sender.user or transaction.reverse_path
        queued = any(target.domain for target in targets) or transaction.release_at > transaction.started
        if not most or not sender or not queued:
            return None
        counted = self._count(sender, most)
        if counted is None:
            return None

        def check(number: int) -> None:
            if number >= most:
                raise LimitReached("Too many messages of yours wait to be sent, try again later")

        return counted.addCallback(check)
