"""Taking the responsibility for a message (RFC 5321, 6.1): local copies at once, all else through the queue.

- All targets local: delivered directly, one copy for each mailbox; what failed for the moment only is
  queued, so that nobody is told "no" about a message that others have (CASES F7).
- A remote target among them, or a success that is to be reported (RFC 3461): everything is enqueued, which is
  durable; the queue delivers, and tells.
- Nothing was delivered and nothing can be queued: the error, and nothing was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.errors import MailError, TemporaryFailure
from mailserver.interfaces import Envelope, IAcceptor, IMessageBody, Recipient, Target

LOGGED_RECIPIENTS = 100
HEAD = 64 * 1024  # octets of a message that a report may quote from
Pair = tuple[Recipient, Target]


@implementer(IAcceptor)
class Acceptor:
    """IAcceptor over ILocalDelivery and IQueue. `audit` gets "received" for each message that is ours from
    now on, and "delivered" for each copy that is in its mailbox already; the queue tells the rest.

    reporter: queue.reports.Reporter
    """

    log = Logger()

    def __init__(self, local: Any, queue: Any, reporter: Any, audit: Any, reactor: IReactorTime) -> None:
        self._local = local
        self._queue = queue
        self._reporter = reporter
        self._audit = audit
        self._reactor = reactor

    def accept(self, envelope: Envelope, trace: bytes, body: IMessageBody) -> Deferred[None]:
        """See IAcceptor."""
        lists = [recipient for recipient in envelope.recipients if _expands(recipient)]
        pairs = one_copy_each([_within(recipient) for recipient in envelope.recipients])
        if any(target.domain or "SUCCESS" in recipient.notify for recipient, target in pairs):
            taken = self._enqueue(envelope, trace, body, pairs)
            taken.addCallback(self._tell, envelope, body.size)
        else:
            taken = self._deliver(envelope, trace, body, pairs)
        if lists:
            head = trace + body.head(HEAD).replace(b"\r\n", b"\n")
            taken.addCallback(lambda _: self._report_lists(envelope, head, lists))
        return taken.addBoth(_discard, body)

    def _report_lists(
        self, envelope: Envelope, head: bytes, lists: Sequence[Recipient]
    ) -> Deferred[None] | None:
        """Tell the sender of addresses that stand for several (RFC 3461, 5.2.7.3 c). The message is ours
        already: what goes wrong here is for the log only."""
        now = envelope.received_at or self._reactor.seconds()
        report = self._reporter.expanded(envelope, head, lists, now)
        if report is None:
            return None
        queued: Deferred[None] = self._queue.enqueue(
            report.envelope, report.trace, report.body, report.targets
        )
        return queued.addErrback(lambda failure: self.log.warn("no report: {error}", error=failure.value))

    def _enqueue(
        self, envelope: Envelope, trace: bytes, body: IMessageBody, pairs: Sequence[Pair]
    ) -> Deferred[None]:
        queued: Deferred[None] = self._queue.enqueue(envelope, trace, body, pairs)
        return queued

    @inlineCallbacks
    def _deliver(self, envelope: Envelope, trace: bytes, body: IMessageBody, pairs: Sequence[Pair]) -> Any:
        begun = self._reactor.seconds()
        targets = [target for _, target in pairs]
        outcomes = yield self._local.deliver(envelope, trace, body, targets)
        failed = [(pair, error) for pair, error in zip(pairs, outcomes, strict=True) if error is not None]
        if len(failed) == len(pairs):
            raise worst([error for _, error in failed])
        if failed:
            yield self._enqueue(envelope, trace, body, [pair for pair, _ in failed])
        delivered = [target for target, error in zip(targets, outcomes, strict=True) if error is None]
        self._tell(None, envelope, body.size, delivered, self._reactor.seconds() - begun)

    def _tell(
        self,
        result: None,
        envelope: Envelope,
        size: int,
        delivered: Sequence[Target] = (),
        seconds: float = 0.0,
    ) -> None:
        """The log; from here on nothing may turn the message into a failure (CASES F12)."""
        try:
            self._audit.event(
                "received",
                id=envelope.id,
                ip=envelope.peer.ip,
                sender=envelope.reverse_path,
                to=listed([recipient.address for recipient in envelope.recipients]),
                size=size,
                user=envelope.user,
            )
            for target in delivered:
                self._audit.event(
                    "delivered", id=envelope.id, to=target.user, folder=target.folder, seconds=seconds
                )
        except Exception:
            self.log.failure("the event log failed")


def _expands(recipient: Recipient) -> bool:
    """True for an alias of several addresses whose sender wants to hear of its success."""
    return len(recipient.targets) > 1 and "SUCCESS" in recipient.notify


def _within(recipient: Recipient) -> Recipient:
    """What is still to be reported by those who deliver."""
    if not _expands(recipient):
        return recipient
    return evolve(recipient, notify=(recipient.notify - {"SUCCESS"}) or frozenset(("NEVER",)))


def one_copy_each(recipients: Sequence[Recipient]) -> list[Pair]:
    """Each mailbox and each remote address once, however many recipients lead to it (CASES C15)."""
    seen: set[tuple[str, str]] = set()
    pairs: list[Pair] = []
    for recipient in recipients:
        for target in recipient.targets:
            key = (target.user, target.folder) if target.user else ("", target.address)
            if key not in seen:
                seen.add(key)
                pairs.append((recipient, target))
    return pairs


def worst(errors: Sequence[Exception]) -> Exception:
    """What to tell where all failed: a temporary error if there is one, for then a retry makes sense."""
    known = [error if isinstance(error, MailError) else TemporaryFailure(cause=error) for error in errors]
    return next((error for error in known if error.temporary), known[0])


def listed(addresses: Sequence[str]) -> str:
    """Recipients for one log line."""
    shown = ",".join(addresses[:LOGGED_RECIPIENTS])
    return shown if len(addresses) <= LOGGED_RECIPIENTS else f"{shown},… {len(addresses)} in all"


def _discard(result: Any, body: IMessageBody) -> Any:
    body.discard()
    return result
