"""What the event log is told of the queue's doings."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.audit import Audit
from mailserver.interfaces import Clock
from mailserver.queue.reports import Dropped
from mailserver.queue.values import Job, NewMessage, QueuedRecipient, State, Verdict


class Teller:
    """Outcomes and reports as events."""

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    def report(
        self, job: Job, about: Sequence[QueuedRecipient], report: NewMessage | Dropped | None
    ) -> list[NewMessage]:
        """What is to be queued of a report about these recipients."""
        identity = job.message.envelope.id
        if isinstance(report, Dropped):
            for recipient in about:
                self._audit.event("dropped", id=identity, to=recipient.target.address, reason=report.reason)
            return []
        if report is None:
            return []
        envelope = report.envelope
        self._audit.event(
            "received",
            id=envelope.id,
            sender="<>",
            to=envelope.recipients[0].address,
            size=report.body.size,
            about=identity,
        )
        return [report]

    def outcome(self, job: Job, recipient: QueuedRecipient, verdict: Verdict) -> None:
        """`recipient` as it stands after the verdict."""
        envelope = job.message.envelope
        said = f"{verdict.code} {verdict.status} {verdict.reason}"
        common = {"id": envelope.id, "to": recipient.target.address}
        if verdict.state is State.DELIVERED:
            folder = recipient.target.folder if recipient.target.user else ""
            taken = max(0.0, self._clock() - envelope.received_at)
            self._audit.event("delivered", **common, folder=folder, host=verdict.host, seconds=taken)
        elif verdict.state is State.FAILED:
            self._audit.event("bounced", **common, host=verdict.host, reason=said)
        elif verdict.state is State.EXPIRED:
            self._audit.event("expired", **common, reason=said)
        elif verdict.attempted:
            wait = max(0.0, verdict.next_try - self._clock())
            self._audit.event("deferred", **common, host=verdict.host, reason=said, next=wait)
