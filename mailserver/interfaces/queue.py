"""What becomes of a message that was taken: final delivery, the queue; and the ports it came by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

from mailserver.interfaces.envelope import Envelope, IMessageBody, Recipient, Target


class ILocalDelivery(Interface):
    """Final delivery into accounts of this server."""

    def deliver(
        envelope: Envelope, trace: bytes, body: IMessageBody, targets: Sequence[Target]
    ) -> Deferred[Sequence[Exception | None]]:
        """Durable and visible when fired; one outcome per target, None for delivered. Many calls at
        once become one batch (group commit)."""


class IQueue(Interface):
    """The durable queue."""

    def enqueue(
        envelope: Envelope, trace: bytes, body: IMessageBody, targets: Sequence[tuple[Recipient, Target]]
    ) -> Deferred[None]:
        """Durable when fired; the manager is woken."""


Clock = Callable[[], float]
"""Seconds since the epoch."""


@frozen
class Listener:
    """An open port: the name of its service in [listen] and its Twisted port. proxied: each connection begins
    with a PROXY header."""

    service: str
    port: Any = field(eq=False)
    proxied: bool = False
