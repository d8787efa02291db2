"""One mail transaction (RFC 5321, 3.3): what is known of it, and what the log and the message tell of it.

`audit` is a `mailserver.audit.Audit`.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define

from mailserver.errors import MailError
from mailserver.interfaces import Envelope, Peer, Recipient
from mailserver.message import trace
from mailserver.smtp.commands import Mail

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

    @property
    def reverse_path(self) -> str:
        return self.mail.reverse_path

    def envelope(self, received_at: float) -> Envelope:
        """The envelope once the message is whole."""
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
        )

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
