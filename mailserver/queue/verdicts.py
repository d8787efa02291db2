"""From the replies of an attempt to what is recorded for each recipient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve

from mailserver.config.schema import Relay
from mailserver.delivery.relay import Outcome
from mailserver.errors import MailError
from mailserver.interfaces import Envelope, Recipient
from mailserver.queue import schedule
from mailserver.queue.values import QueuedRecipient, State, Verdict
from mailserver.smtp.client.answers import local_reply

REASON = 1000  # characters of a reply that are kept


def judge(
    relay: Relay,
    recipients: Sequence[QueuedRecipient],
    outcomes: Sequence[Outcome],
    now: float,
    chance: Callable[[], float],
) -> list[Verdict]:
    """One verdict for each recipient: 2xx is delivered, 5xx failed, all else waits by the schedule."""
    verdicts = []
    for recipient, outcome in zip(recipients, outcomes, strict=True):
        reply = outcome.reply
        state, next_try = State.WAITING, 0.0
        if reply.positive:
            state = State.DELIVERED
        elif reply.permanent:
            state = State.FAILED
        else:
            next_try = now + schedule.retry_delay(relay, recipient.attempts + 1, chance())
        verdicts.append(
            Verdict(
                *(recipient.row, state, now, next_try, reply.code, reply.status),
                reason=reply.text[:REASON],
                host=outcome.host,
                reported=outcome.reports,
                relayed=outcome.relayed,
            )
        )
    return verdicts


def local_outcome(result: Exception | None) -> Outcome:
    """What local delivery said, as a reply."""
    if result is None:
        return Outcome(local_reply(250, "2.0.0", "delivered"))
    if isinstance(result, MailError):
        return Outcome(local_reply(result.code, result.enhanced, result.text))
    return Outcome(local_reply(451, "4.3.0", "an error of this server"))


def unchanged(
    recipient: QueuedRecipient, state: State, now: float, *, warned: bool = False, overdue: bool = False
) -> Verdict:
    """A verdict that keeps what the last attempt brought."""
    return Verdict(
        *(recipient.row, state, now, recipient.next_try, recipient.code, recipient.status),
        *(recipient.reason, recipient.host),
        attempted=False,
        warned=warned,
        overdue=overdue,
    )


def one_envelope(envelope: Envelope, recipients: Sequence[QueuedRecipient]) -> Envelope:
    """The envelope with these recipients, for local delivery."""
    return evolve(
        envelope,
        recipients=tuple(Recipient(r.address, (r.target,), r.notify, r.orcpt) for r in recipients),
    )
