"""What the SMTP engine tells and asks its protocol. Questions stop the engine until they are answered."""

from __future__ import annotations

from attrs import field, frozen

from mailserver.errors import MailError
from mailserver.smtp.commands import Auth, Mail, Rcpt


@frozen
class MailOffered:
    """MAIL. Answer `accept` or `refuse`."""

    command: Mail


@frozen
class RecipientOffered:
    """RCPT. Answer `accept` or `refuse`."""

    command: Rcpt


@frozen
class BodyReceived:
    """A piece of the message, CRLF line ends, dots unstuffed; pieces do not end inside a CRLF. No answer."""

    data: bytes


@frozen
class BodyFailed:
    """The message breaks a rule: what came of it can be forgotten, the rest is dropped. No answer."""


@frozen
class BodyRefused:
    """A message that failed was read to its end and refused by the engine itself. No answer."""

    error: MailError


@frozen
class BodyEnded:
    """The message is whole. Answer `accept` when it is durable, or `refuse`. `size`: octets as received."""

    size: int


@frozen
class AuthOffered:
    """AUTH. Answer `challenge`, `accept` or `refuse`."""

    command: Auth


@frozen
class AuthResponse:
    """A SASL response, decoded. Answer `challenge`, `accept` or `refuse`."""

    data: bytes = field(repr=False)  # a secret


@frozen
class AuthCancelled:
    """The exchange is over without an answer: the client gave up or sent nonsense. No answer."""


@frozen
class Authenticated:
    """235 was sent: what the last `accept` was about now holds. No answer."""


@frozen
class ClientTold:
    """XCLIENT, from who may say so. Answer `accept`, and the session begins anew, or `refuse`."""

    argument: bytes


@frozen
class TlsRequested:
    """STARTTLS. Answer `accept`, send `data_to_send`, begin the handshake, then call `tls_started`."""


@frozen
class Closing:
    """The engine is finished; send `data_to_send`, then close. `reason` is "quit" or says what was wrong."""

    reason: str


Event = (
    MailOffered
    | RecipientOffered
    | BodyReceived
    | BodyFailed
    | BodyRefused
    | BodyEnded
    | AuthOffered
    | AuthResponse
    | AuthCancelled
    | Authenticated
    | ClientTold
    | TlsRequested
    | Closing
)
