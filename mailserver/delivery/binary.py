"""Binary messages (RFC 3030) on their way to what takes text only: mailboxes, and servers without BINARYMIME.

They are kept as they came until then: a next host that takes them gets every octet, and with it every
signature. A message that has no text form is refused, or comes back, with 5.6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.delivery.body import MemoryBody, Pool
from mailserver.errors import MailError
from mailserver.interfaces import Envelope, ILocalDelivery, IMessageBody, Target
from mailserver.message.binary import NotConvertible, as_text

_ONE_AT_A_TIME = "binary messages"  # each is in memory as a whole, twice


def text_of(chunks: Callable[[], Iterable[bytes]], eight_bit: bool = True) -> bytes:
    """[disk] A binary message with LF line ends. Raises MailError."""
    try:
        return as_text(b"".join(chunks()), eight_bit=eight_bit)
    except NotConvertible as error:
        text = f"A binary message that cannot be converted: {error}"
        raise MailError(text, code=554, enhanced="5.6.1") from None


@implementer(ILocalDelivery)
class TextDelivery:
    """Local delivery that takes binary messages too, and gives text to the one behind it."""

    def __init__(self, local: ILocalDelivery, pool: Pool) -> None:
        self._local = local
        self._pool = pool

    def deliver(
        self, envelope: Envelope, trace: bytes, body: IMessageBody, targets: Sequence[Target]
    ) -> Deferred[Sequence[Exception | None]]:
        """See ILocalDelivery."""
        if not envelope.binary:
            return self._local.deliver(envelope, trace, body, targets)
        made = self._pool.run(_ONE_AT_A_TIME, text_of, body.chunks)
        return made.addCallback(self._deliver_text, envelope, trace, targets)

    def _deliver_text(self, text: bytes, envelope: Envelope, trace: bytes, targets: Sequence[Target]) -> Any:
        kind = "7BIT" if text.isascii() else "8BITMIME"
        return self._local.deliver(evolve(envelope, body_type=kind), trace, MemoryBody(text), targets)
