"""Which delivery reports are sent, and to whom (RFC 5321, 4.5.5 and 6.1; RFC 3461, 6.2; RFC 3464).

A report goes to the sender of the message, from the null reverse-path. There is never a report about a
message from the null reverse-path, so a report can not cause another one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from mailserver.delivery.body import MemoryBody
from mailserver.errors import MailError
from mailserver.interfaces import Envelope, IRouter, Peer, Recipient
from mailserver.message.dsn import Report, ReportedRecipient, render
from mailserver.queue.values import Job, NewMessage, QueuedRecipient, State


@frozen
class Dropped:
    """A report that was due and can not be sent: the end of the way for the recipients it is about."""

    reason: str


class Reporter:
    """Makes reports as messages for the queue."""

    def __init__(
        self, settings: Any, router: IRouter, new_id: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._settings = settings
        self._router = router
        self._new_id = new_id

    def failed(
        self, job: Job, recipients: Sequence[QueuedRecipient], now: float
    ) -> NewMessage | Dropped | None:
        """About recipients that are given up; None where nobody wants to know."""
        wanted = [r for r in recipients if not r.notify or "FAILURE" in r.notify]
        if not job.message.envelope.reverse_path:
            return Dropped("a report itself, nobody to tell")
        return self._make(job, [self._failed(r) for r in wanted], now)

    def delayed(
        self, job: Job, recipients: Sequence[QueuedRecipient], now: float
    ) -> NewMessage | Dropped | None:
        """About recipients that are still tried."""
        if not job.message.envelope.reverse_path:
            return None
        until = job.message.envelope.received_at + self._settings.now.relay.expire_after
        wanted = [r for r in recipients if not r.notify or "DELAY" in r.notify]
        return self._make(job, [_reported(r, "delayed", r.status or "4.4.7", until) for r in wanted], now)

    def _failed(self, recipient: QueuedRecipient) -> ReportedRecipient:
        if recipient.state is State.EXPIRED:  # RFC 3463, X.4.7: delivery time expired
            return _reported(recipient, "failed", "5.4.7")
        return _reported(recipient, "failed", recipient.status or "5.0.0")

    def _make(
        self, job: Job, recipients: Sequence[ReportedRecipient], now: float
    ) -> NewMessage | Dropped | None:
        if not recipients:
            return None
        original = job.message.envelope
        sender = original.reverse_path
        try:
            targets = tuple(self._router.resolve(sender))
        except MailError as error:
            return Dropped(f"no way back to {sender}: {error.text}")
        if not targets:
            return Dropped(f"no way back to {sender}")
        config = self._settings.now
        identity = self._new_id()
        report = Report(
            *(identity, config.hostname, sender, now, original.received_at),
            recipients=recipients,
            header=job.head,
            envid=original.envid,
        )
        recipient = Recipient(sender, targets, frozenset(("NEVER",)))  # RFC 3461, 6.2
        peer = Peer("127.0.0.1", protocol="queue")
        envelope = Envelope(identity, "", (recipient,), peer, helo=config.hostname, received_at=now)
        body = MemoryBody(render(report))
        return NewMessage(envelope, b"", body, tuple((recipient, target) for target in targets))


def _reported(
    recipient: QueuedRecipient, action: str, status: str, retry_until: float = 0.0
) -> ReportedRecipient:
    said = " ".join(part for part in (str(recipient.code or ""), recipient.status, recipient.reason) if part)
    return ReportedRecipient(
        recipient.target.address,
        action,
        status,
        diagnostic=said,
        from_smtp=bool(recipient.host),
        remote=recipient.host,
        last_attempt=recipient.last_attempt,
        retry_until=retry_until,
        orcpt=recipient.orcpt,
    )
