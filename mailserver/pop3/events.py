"""What the engine asks for and tells (see `engine`). Reprs hide secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import field, frozen


@frozen
class Options:
    """What a session may do; other values hold after STLS.

    mechanisms: SASL mechanisms offered now; without PLAIN among them USER is refused too
    starttls:   a certificate is there
    secure:     TLS is active
    errors:     wrong commands until the connection closes
    """

    mechanisms: tuple[str, ...] = ()
    starttls: bool = False
    secure: bool = False
    errors: int = 20


@frozen
class Maildrop:
    """The mailbox as it was at log-in: message `n` of the session has index `n - 1` for all of it.

    unique_id: index -> unique-id, 1 to 70 characters 0x21 to 0x7E (RFC 1939, 7)
    """

    sizes: Sequence[int]
    unique_id: Callable[[int], str]


@frozen
class LoginOffered:
    """USER and PASS. Answer `opened` or `refuse`."""

    user: str
    password: bytes = field(repr=False)


@frozen
class AuthOffered:
    """AUTH. Answer `challenge`, `opened` or `refuse`."""

    mechanism: str
    response: bytes | None = field(repr=False)


@frozen
class AuthResponse:
    """A SASL response, decoded. Answer `challenge`, `opened` or `refuse`."""

    data: bytes = field(repr=False)


@frozen
class AuthCancelled:
    """The exchange is over without an answer: the client gave up or sent nonsense. No answer."""


@frozen
class TlsRequested:
    """STLS. Send `data_to_send`, begin the handshake, then call `tls_started`."""


@frozen
class MessageRequested:
    """RETR, or TOP with so many lines of the body. Answer `message`, or `message_began` and, when the
    message has been sent, `message_ended`, or `refuse`."""

    index: int
    lines: int | None = None


@frozen
class UpdateRequested:
    """QUIT with messages marked (RFC 1939, 6). Answer `updated` once they are gone for good, or `refuse`."""

    indexes: tuple[int, ...]


@frozen
class Answered:
    """A command got its reply, which is in `data_to_send`. No answer."""


@frozen
class Listed:
    """A part of a long listing is in `data_to_send`. No answer; ask on when the client reads."""


@frozen
class Closing:
    """The engine is finished; send `data_to_send`, then close."""

    reason: str


Event = (
    LoginOffered
    | AuthOffered
    | AuthResponse
    | AuthCancelled
    | TlsRequested
    | MessageRequested
    | UpdateRequested
    | Answered
    | Listed
    | Closing
)
