"""Taking the responsibility for a message (RFC 5321, 6.1): local copies at once, all else through the queue.

- All targets local: delivered directly, one copy for each mailbox; what failed for the moment only is
  queued, so that nobody is told "no" about a message that others have (CASES F7).
- A remote target among them, a success that is to be reported (RFC 3461), a time that it is held until
  (RFC 4865), or one that it should have been delivered by (RFC 2852): everything is enqueued, which is
  durable; the queue delivers, and tells.
- Nothing was delivered and nothing can be queued: the error, and nothing was kept.

An LMTP client (RFC 2033) wants an outcome for each recipient, and has a queue of its own: what fails for a
mailbox here is told, and not queued. Only what an alias leads to besides is ours to queue: other servers, and
mailboxes that failed where the alias has reached others already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailserver.errors import MailError, TemporaryFailure
from mailserver.interfaces import Envelope, IAcceptor, IMessageBody, Recipient, Target

LOGGED_RECIPIENTS = 100
_LINE_END = re.compile(r"[\x00\r\n]")
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
        if _is_forged(envelope):
            body.discard()
            return fail(_forged())
        lists = [recipient for recipient in envelope.recipients if _expands(recipient)]
        pairs = one_copy_each([_within(recipient) for recipient in envelope.recipients])
        later = envelope.release_at > envelope.received_at or _became_late(envelope)
        if later or any(target.domain or "SUCCESS" in recipient.notify for recipient, target in pairs):
            taken = self._enqueue(envelope, trace, body, pairs)
            taken.addCallback(self._tell, envelope, body.size)
        else:
            taken = self._deliver(envelope, trace, body, pairs)
        if lists:
            head = _quoted(trace, body)
            taken.addCallback(lambda _: self._report_lists(envelope, head, lists))
        return taken.addBoth(_discard, body)

    def accept_each(
        self, envelope: Envelope, trace: bytes, body: IMessageBody
    ) -> Deferred[Sequence[MailError | None]]:
        """See IAcceptor."""
        if _is_forged(envelope):
            body.discard()
            return fail(_forged())
        taken = Deferred.fromCoroutine(self._accept_each(envelope, trace, body))
        return taken.addBoth(_discard, body)

    async def _accept_each(
        self, envelope: Envelope, trace: bytes, body: IMessageBody
    ) -> Sequence[MailError | None]:
        begun = self._reactor.seconds()
        recipients = [_within(recipient) for recipient in envelope.recipients]
        targets = [target for _, target in one_copy_each(recipients) if target.user]
        try:
            outcomes = (await self._local.deliver(envelope, trace, body, targets)) if targets else ()
        except MailError as error:
            outcomes = [error] * len(targets)
        known = {_key(target): outcome for target, outcome in zip(targets, outcomes, strict=True)}
        ends = [_End(recipient, known) for recipient in recipients]
        rest = [pair for end in ends for pair in end.rest]
        failure = None
        if rest:
            try:
                await self._enqueue(envelope, trace, body, one_copy_each_of(rest))
            except MailError as error:
                failure = error
        answers = [failure if end.rest and failure is not None else end.error for end in ends]
        taken = [
            recipient
            for recipient, answer in zip(envelope.recipients, answers, strict=True)
            if answer is None
        ]
        if taken:
            delivered = [target for target in targets if known[_key(target)] is None]
            ours = evolve(envelope, recipients=tuple(taken))
            self._tell(None, ours, body.size, delivered, self._reactor.seconds() - begun)
            head = _quoted(trace, body)
            await self._report_each(ours, head, taken)
        return answers

    async def _report_each(self, envelope: Envelope, head: bytes, taken: Sequence[Recipient]) -> None:
        """Reports of success, where it was asked for; of what was queued the queue tells."""
        wanted = [recipient for recipient in taken if "SUCCESS" in recipient.notify]
        lists = [recipient for recipient in wanted if _expands(recipient)]
        done = [r for r in wanted if not _expands(r) and all(target.user for target in r.targets)]
        for some, action in ((lists, "expanded"), (done, "delivered")):
            told = self._report_lists(envelope, head, some, action) if some else None
            if told is not None:
                await told

    def _report_lists(
        self, envelope: Envelope, head: bytes, lists: Sequence[Recipient], action: str = "expanded"
    ) -> Deferred[None] | None:
        """Tell the sender of addresses that stand for several (RFC 3461, 5.2.7.3 c), or of another good end.
        The message is ours already: what goes wrong here is for the log only."""
        now = envelope.received_at or self._reactor.seconds()
        report = self._reporter.told(envelope, head, lists, now, action)
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

    def _deliver(
        self, envelope: Envelope, trace: bytes, body: IMessageBody, pairs: Sequence[Pair]
    ) -> Deferred[None]:
        begun = self._reactor.seconds()

        def delivered(outcomes: Sequence[Exception | None]) -> Deferred[None] | None:
            failed = [(pair, error) for pair, error in zip(pairs, outcomes, strict=True) if error is not None]
            if len(failed) == len(pairs):
                raise worst([error for _, error in failed])
            done = [target for (_, target), error in zip(pairs, outcomes, strict=True) if error is None]
            seconds = self._reactor.seconds() - begun
            if not failed:
                self._tell(None, envelope, body.size, done, seconds)
                return None
            queued = self._enqueue(envelope, trace, body, [pair for pair, _ in failed])
            return queued.addCallback(self._tell, envelope, body.size, done, seconds)

        delivering: Deferred[Any] = self._local.deliver(envelope, trace, body, [pair[1] for pair in pairs])
        return delivering.addCallback(delivered)

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
                priority=envelope.priority or None,
            )
            for target in delivered:
                self._audit.event(
                    "delivered", id=envelope.id, to=target.user, folder=target.folder, seconds=seconds
                )
        except Exception:
            self.log.failure("the event log failed")


def _is_forged(envelope: Envelope) -> bool:
    """Something of it would be more than one line in a header, a report or a command to the next host. SMTP
    lets no such thing in; who else hands in messages (an extension) is not to either (CASES G23)."""
    texts = [envelope.reverse_path, envelope.envid]
    for recipient in envelope.recipients:
        texts += [recipient.address, recipient.orcpt]
        texts += [target.address for target in recipient.targets]
    return _LINE_END.search("".join(texts)) is not None


def _forged() -> MailError:
    return MailError("Line end or NUL in the envelope", code=553, enhanced="5.1.7")


def _became_late(envelope: Envelope) -> bool:
    """The time to deliver it by was over before the message had come as a whole."""
    by = envelope.deliver_by
    return by is not None and by.is_over(envelope.received_at) and by.by.seconds > 0


def _expands(recipient: Recipient) -> bool:
    """True for an alias of several addresses whose sender wants to hear of its success."""
    return len(recipient.targets) > 1 and "SUCCESS" in recipient.notify


def _within(recipient: Recipient) -> Recipient:
    """What is still to be reported by those who deliver."""
    if not _expands(recipient):
        return recipient
    return evolve(recipient, notify=(recipient.notify - {"SUCCESS"}) or frozenset(("NEVER",)))


def _quoted(trace: bytes, body: IMessageBody) -> bytes:
    """What reports have of the message; they are text, though it be binary."""
    return trace + body.head(HEAD).replace(b"\r\n", b"\n")


def _key(target: Target) -> tuple[str, str]:
    """What gets one copy."""
    return (target.user, target.folder) if target.user else ("", target.address)


def one_copy_each(recipients: Sequence[Recipient]) -> list[Pair]:
    """Each mailbox and each remote address once, however many recipients lead to it (CASES C15)."""
    return one_copy_each_of([(recipient, target) for recipient in recipients for target in recipient.targets])


def one_copy_each_of(pairs: Sequence[Pair]) -> list[Pair]:
    """The same, of pairs."""
    seen: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        seen.setdefault(_key(pair[1]), pair)
    return list(seen.values())


class _End:
    """What delivery brought one recipient of LMTP. error: what to tell where it is not ours. rest: what is to
    be queued, so that it is."""

    def __init__(self, recipient: Recipient, known: Mapping[tuple[str, str], Exception | None]) -> None:
        failed: list[tuple[Target, Exception]] = []
        for target in recipient.targets:
            error = known.get(_key(target))
            if error is not None:
                failed.append((target, error))
        away = [target for target in recipient.targets if target.domain]
        self.rest: list[Pair] = []
        self.error: MailError | None = None
        if failed and len(failed) == len(recipient.targets):
            self.error = worst([error for _, error in failed])
        else:
            self.rest = [(recipient, target) for target in (*away, *(target for target, _ in failed))]


def worst(errors: Sequence[Exception]) -> MailError:
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
