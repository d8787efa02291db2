"""One job to its recipients: into local mailboxes, or out through the relay."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Sequence
from typing import Any
from typing import Protocol as Shape

from attrs import evolve
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThreadPool

from mailserver.delivery.binary import text_of
from mailserver.delivery.relay import Attempt, Parcel
from mailserver.disk import durable
from mailserver.errors import MailError, TemporaryFailure
from mailserver.interfaces import ILocalDelivery
from mailserver.message.international import is_internationalized
from mailserver.queue.files import Poison
from mailserver.queue.source import JobSource, QueuedBody, TextSource, checked_chunks
from mailserver.queue.values import Job
from mailserver.queue.verdicts import local_outcome, one_envelope
from mailserver.smtp.client.values import Mail, Wishes
from mailserver.wire.lines import size_on_wire


class IRemote(Shape):
    """What the queue knows of delivery.relay.Relay."""

    def destination(self, domain: str) -> str: ...

    def deliver(self, parcel: Parcel) -> Awaitable[Attempt]: ...

    def stop(self) -> None: ...


def _needs_utf8(job: Job) -> bool:
    """Clients say SMTPUTF8 by habit; what is all ASCII may go to any server (RFC 6531, 3.2)."""
    asked = job.message.envelope.smtputf8 and job.message.place.eight_bit
    return asked and is_internationalized(job.head, job.whole)


class Carrier:
    """Chooses the way by the domain of the job: "" is this server."""

    def __init__(self, relay: IRemote, local: ILocalDelivery, reactor: Any) -> None:
        self._relay = relay
        self._local = local
        self._reactor = reactor
        self._converting = DeferredLock()  # a message is in memory as a whole, twice

    async def carry(self, job: Job) -> Attempt:
        """One attempt; outcomes in the order of the job's recipients."""
        domain = job.recipients[0].target.domain
        return await (self._send(job, domain) if domain else self._deliver(job))

    async def _send(self, job: Job, domain: str) -> Attempt:
        message, binary = job.message, job.message.envelope.binary
        mail = Mail(
            message.envelope.reverse_path,
            tuple(recipient.target.address for recipient in job.recipients),
            size=message.place.wire_size,
            eight_bit=message.place.eight_bit,
            binary=binary,
            utf8=_needs_utf8(job),
            wishes=tuple(Wishes(recipient.notify, recipient.orcpt) for recipient in job.recipients),
            ret=message.envelope.ret,
            envid=message.envelope.envid,
            require_tls=bool(message.envelope.require_tls),
            priority=message.envelope.priority,
        )
        parcel = Parcel(
            *(message.envelope.id, domain, mail, lambda: JobSource(job, self._reactor)),
            deliver_by=message.envelope.deliver_by,
        )
        if binary:
            parcel = evolve(parcel, as_text=lambda eight_bit: self._as_text(job, parcel, eight_bit))
        return await self._relay.deliver(parcel)

    async def _as_text(self, job: Job, parcel: Parcel, eight_bit: bool) -> Parcel:
        """The parcel for a server that takes text only. Fails with MailError."""

        def convert() -> tuple[TextSource, int, bool]:
            with durable.told():
                text = text_of(lambda: checked_chunks(job, self._reactor), eight_bit)
                source = TextSource(text, os.path.dirname(job.path), self._reactor)
            return source, size_on_wire(text), not text.isascii()

        pool = self._reactor.getThreadPool()
        try:
            made = self._converting.run(deferToThreadPool, self._reactor, pool, convert)
            source, size, has_eight_bit = await made
        except Poison as error:
            raise TemporaryFailure(cause=error) from error
        mail = evolve(parcel.mail, size=size, eight_bit=has_eight_bit, binary=False)
        return evolve(parcel, mail=mail, open=source.again, as_text=None)

    async def _deliver(self, job: Job) -> Attempt:
        envelope = one_envelope(job.message.envelope, job.recipients)
        targets = [recipient.target for recipient in job.recipients]
        try:
            results: Sequence[Exception | None] = await self._local.deliver(
                envelope, b"", QueuedBody(job), targets
            )
        except MailError as error:
            results = [error] * len(targets)
        return Attempt(tuple(local_outcome(result) for result in results), reached=True)
