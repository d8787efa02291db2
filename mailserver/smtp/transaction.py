"""One mail transaction (RFC 5321, 3.3): what is known of it, and what the log and the message tell of it.

`audit` is a `mailserver.audit.Audit`.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define

from mailserver.errors import MailError
from mailserver.interfaces import DeliverBy, Envelope, Peer, Recipient
from mailserver.message import trace
from mailserver.message.headers import Headers
from mailserver.smtp.commands import Mail
from mailserver.smtp.extensions import date_time

LOGGED_RECIPIENTS = 100


@define
class Transaction:
    """One mail transaction as far as it has come."""

    id: str
    peer: Peer
    helo: str
    extended: bool
    sender: Any  # ISender
    mail: Mail
    started: float  # seconds since the epoch
    recipients: list[Recipient] = Factory(list)
    release_at: float = 0.0  # not sent before that (RFC 4865)
    priority: int = 0  # as it is granted (RFC 6710)

    @property
    def reverse_path(self) -> str:
        return self.mail.reverse_path

    def envelope(self, received_at: float, head: bytes) -> Envelope:
        """The envelope once the message is whole; `head` has its header."""
        mail = self.mail
        return Envelope(
            id=self.id,
            reverse_path=mail.reverse_path,
            recipients=tuple(self.recipients),
            peer=self.peer,
            helo=self.helo,
            user=self.sender.user,
            received_at=received_at,
            smtputf8=mail.smtputf8,
            body_type=mail.body,
            ret=mail.ret,
            envid=mail.envid,
            release_at=self.release_at,
            hold=self._hold,
            deliver_by=None if mail.by is None else DeliverBy(self.started + mail.by.seconds, mail.by),
            priority=self.priority,
            require_tls=True if mail.require_tls else tls_wish(head),
        )

    @property
    def _hold(self) -> str:
        """As reports tell it (RFC 4865, 5.1.2)."""
        if self.mail.hold_for is not None:
            return f"for;{self.mail.hold_for}"
        if self.mail.hold_until is not None:
            return f"until;{date_time(self.mail.hold_until)}"
        return ""

    def received_field(self, hostname: str, when: float) -> bytes:
        """Our Received field; it names the recipient only where there is no other."""
        only = self.recipients[0].address if len(self.recipients) == 1 else ""
        return trace.received(
            peer=self.peer,
            helo=self.helo,
            extended=self.extended,
            authenticated=bool(self.sender.user),
            hostname=hostname,
            message_id=self.id,
            recipient=only,
            when=when,
            utf8=self.mail.smtputf8,
            lmtp=self.peer.protocol == "lmtp",
            priority=self.mail.priority,
        )

    def log_rejected(self, audit: Any, error: MailError, recipient: str = "") -> None:
        """The message was refused, or the one recipient where that is given."""
        audit.event(
            "rejected",
            id=self.id,
            ip=self.peer.ip,
            sender=self.reverse_path,
            to=recipient or self._listed(),
            code=f"{error.code} {error.enhanced}",
            reason=error.text if error.cause is None else f"{error.text}: {error.cause}",
        )

    def _listed(self) -> str:
        """Recipients for one log line."""
        addresses = [recipient.address for recipient in self.recipients[:LOGGED_RECIPIENTS]]
        if len(addresses) < len(self.recipients):
            addresses.append(f"… {len(self.recipients)} in all")
        return ",".join(addresses)


def tls_wish(head: bytes) -> bool | None:
    """False for a header that says "TLS-Required: No" (RFC 8689, 3): the sender rather has the message read
    than kept back. None where nothing is said."""
    ends = [end for end in (head.find(b"\n\n"), head.find(b"\n\r\n")) if end >= 0]
    header = b"\n" + (head[: min(ends)] if ends else head).lower()
    if b"\ntls-required:" not in header:
        return None
    values = Headers(head).get_all(b"tls-required")
    return False if [value.lower() for value in values] == [b"no"] else None
