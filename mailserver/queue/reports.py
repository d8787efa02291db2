"""Which delivery reports are sent, and to whom (RFC 5321, 4.5.5 and 6.1; RFC 3461, 6.2; RFC 3464).

A report goes to the sender of the message, from the null reverse-path. There is never a report about a
message from the null reverse-path, so a report can not cause another one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen

from mailserver.delivery.body import MemoryBody
from mailserver.errors import MailError
from mailserver.interfaces import Envelope, IRouter, Peer, Recipient
from mailserver.message.dsn import Report, ReportedRecipient, render
from mailserver.queue.values import Job, NewMessage, QueuedRecipient, State, Verdict, waits_since


@frozen
class Dropped:
    """A report that was due and can not be sent: the end of the way for the recipients it is about."""

    reason: str


AboutSome = tuple[Sequence[QueuedRecipient], "NewMessage | Dropped | None"]


class Reporter:
    """Makes reports as messages for the queue."""

    def __init__(
        self, settings: Any, router: IRouter, new_id: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._settings = settings
        self._router = router
        self._new_id = new_id

    def settled(
        self, job: Job, recipients: Sequence[QueuedRecipient], verdicts: Sequence[Verdict], now: float
    ) -> Iterator[AboutSome]:
        """What follows from the outcomes of an attempt: recipients, and the report about them."""
        given_up = [r for r in recipients if r.state in (State.FAILED, State.EXPIRED)]
        if given_up:
            yield given_up, self.failed(job, given_up, now)
        done = [
            recipient
            for recipient, verdict in zip(recipients, verdicts, strict=True)
            if verdict.state is State.DELIVERED and _is_told(recipient, verdict)
        ]
        if done:
            yield done, self.succeeded(job, done, now)

    def failed(
        self, job: Job, recipients: Sequence[QueuedRecipient], now: float
    ) -> NewMessage | Dropped | None:
        """About recipients that are given up; None where nobody wants to know."""
        wanted = [r for r in recipients if not r.notify or "FAILURE" in r.notify]
        if not job.message.envelope.reverse_path:
            return Dropped("a report itself, nobody to tell")
        envelope = job.message.envelope
        whole = job.whole if envelope.ret == "FULL" and not envelope.require_tls else None  # RFC 8689, 5
        return self._make(envelope, job.head, [self._failed(r) for r in wanted], now, whole)

    def succeeded(
        self, job: Job, recipients: Sequence[QueuedRecipient], now: float
    ) -> NewMessage | Dropped | None:
        """About recipients, all of one destination, that asked for it and have the message, or whose server
        has it and will not tell (RFC 3461, 5.2.2, 5.2.3)."""
        if not job.message.envelope.reverse_path:
            return None
        action = "delivered" if recipients[0].target.user else "relayed"
        reported = [_reported(r, action, r.status or "2.0.0") for r in recipients]
        return self._make(job.message.envelope, job.head, reported, now)

    def told(
        self, envelope: Envelope, head: bytes, recipients: Sequence[Recipient], now: float, action: str
    ) -> NewMessage | None:
        """About recipients that never were in the queue. `action`: "delivered", or "expanded" of aliases with
        several addresses behind them, which get the message (RFC 3461, 5.2.7.3 c)."""
        if not envelope.reverse_path:
            return None
        reported = [
            ReportedRecipient(recipient.address, action, "2.0.0", orcpt=recipient.orcpt)
            for recipient in recipients
        ]
        report = self._make(envelope, head, reported, now)
        return report if isinstance(report, NewMessage) else None

    def delayed(
        self, job: Job, recipients: Sequence[QueuedRecipient], now: float, overdue: bool = False
    ) -> NewMessage | Dropped | None:
        """About recipients that are still tried. overdue: the time that the message was to be delivered by is
        over (RFC 2852, 4.1.3)."""
        if not job.message.envelope.reverse_path:
            return None
        until = waits_since(job.message.envelope) + self._settings.now.relay.expire_after
        wanted = [r for r in recipients if not r.notify or "DELAY" in r.notify]
        reported = [
            _reported(r, "delayed", "4.4.7" if overdue else r.status or "4.4.7", until) for r in wanted
        ]
        return self._make(job.message.envelope, job.head, reported, now)

    def _failed(self, recipient: QueuedRecipient) -> ReportedRecipient:
        if recipient.state is State.EXPIRED:  # RFC 3463, X.4.7: delivery time expired
            return _reported(recipient, "failed", "5.4.7")
        return _reported(recipient, "failed", recipient.status or "5.0.0")

    def _make(
        self,
        original: Envelope,
        head: bytes,
        recipients: Sequence[ReportedRecipient],
        now: float,
        whole: bytes | None = None,
    ) -> NewMessage | Dropped | None:
        if not recipients:
            return None
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
            header=head,
            envid=original.envid,
            hold=original.hold,
            whole=whole,
            deliver_by=original.deliver_by.at if original.deliver_by is not None else None,
        )
        recipient = Recipient(sender, targets, frozenset(("NEVER",)))  # RFC 3461, 6.2
        peer = Peer("127.0.0.1", protocol="queue")
        body = MemoryBody(render(report))
        envelope = Envelope(
            *(identity, "", (recipient,), peer),
            helo=config.hostname,
            received_at=now,
            smtputf8=not sender.isascii(),
            require_tls=original.require_tls,
            priority=original.priority,  # RFC 6710, 4.6
        )
        return NewMessage(envelope, b"", body, tuple((recipient, target) for target in targets))


def _is_told(recipient: QueuedRecipient, verdict: Verdict) -> bool:
    """Does the sender want to hear of this success from us (RFC 3461, 5.2), or have to (RFC 2852, 4.1.4)?"""
    if verdict.relayed:
        return "NEVER" not in recipient.notify
    return not verdict.reported and "SUCCESS" in recipient.notify


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
