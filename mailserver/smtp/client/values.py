"""Values of the SMTP client engine: options, a transaction, states with their time-outs, events."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import evolve, field, frozen

from mailserver.interfaces import By
from mailserver.smtp.client.answers import Reply


class State(Enum):
    """Where the session stands; each state waits for the thing named."""

    GREETING = "greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    HANDSHAKE = "TLS handshake"
    AUTH = "AUTH"
    READY = "next message"
    ENVELOPE = "MAIL, RCPT, DATA"
    BODY = "body"
    END = "end of data"
    QUIT = "QUIT"
    CLOSED = "closed"


# RFC 5321, 4.5.3.2; seconds. None: the driver's own limit for an idle session holds.
TIMEOUTS: dict[State, float | None] = {
    State.GREETING: 300.0,
    State.EHLO: 300.0,
    State.HELO: 300.0,
    State.STARTTLS: 120.0,
    State.HANDSHAKE: 60.0,
    State.AUTH: 120.0,
    State.READY: None,
    State.ENVELOPE: 300.0,
    State.BODY: 180.0,  # for each block that does not get out
    State.END: 600.0,  # RFC 5321, 4.5.3.2.6: less makes duplicates
    State.QUIT: 10.0,
    State.CLOSED: None,
}
DATA_TIMEOUT = 120.0  # RFC 5321, 4.5.3.2.4


class TlsUse(Enum):
    """NEVER: clear text. MAY: where offered. MUST: or no mail."""

    NEVER = 0
    MAY = 1
    MUST = 2


@frozen
class ClientOptions:
    """How a session is opened. `clear_auth`: the password may go over a connection without TLS."""

    hostname: str
    tls: TlsUse = TlsUse.MAY
    username: str = ""
    password: str = field(default="", repr=False)
    clear_auth: bool = False
    secure: bool = False  # implicit TLS (RFC 8314): inside TLS from the first octet
    lmtp: bool = False  # RFC 2033


@frozen
class Wishes:
    """What the sender wants to be told about a recipient (RFC 3461, 4.1, 4.2), empty where nothing was
    said."""

    notify: frozenset[str] = frozenset()
    orcpt: str = ""


@frozen
class Mail:
    """One transaction. size: octets of the body on the wire, before dot-stuffing. binary: the body goes as it
    is, by BDAT (RFC 3030). wishes: one for each recipient, or none at all. ret, envid: RFC 3461, 4.3, 4.4.
    require_tls: RFC 8689, 4.2.1. by: what is left of the time now (RFC 2852). priority:
    RFC 6710."""

    reverse_path: str
    recipients: tuple[str, ...]
    size: int = 0
    eight_bit: bool = False
    binary: bool = False
    utf8: bool = False
    wishes: tuple[Wishes, ...] = ()
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
    by: By | None = None
    priority: int = 0

    def part(self, indexes: Sequence[int]) -> Mail:
        """The same for some of the recipients."""
        return evolve(
            self,
            recipients=tuple(self.recipients[index] for index in indexes),
            wishes=tuple(self.wishes[index] for index in indexes) if self.wishes else (),
        )


@frozen
class StartTls:
    """Do the handshake now; nothing received in clear is left."""


@frozen
class Ready:
    """A transaction may be started. `extensions`: EHLO keyword to its parameters."""

    extensions: dict[str, str]


@frozen
class SendBody:
    """354 came: write the body and its final dot, then call `body_sent`. chunk: BDAT has announced so many
    octets instead: write just these."""

    chunk: int | None = None


@frozen
class TransactionDone:
    """One reply for each recipient, in the order of `Mail.recipients`."""

    replies: tuple[Reply, ...]


@frozen
class Failed:
    """The session is over before its time. `stage` says what it waited for."""

    reply: Reply
    stage: State


@frozen
class Finished:
    """QUIT was answered; close."""


Event = StartTls | Ready | SendBody | TransactionDone | Failed | Finished
