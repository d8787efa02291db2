"""The states of an SMTP session and the one table of what may come when (RFC 5321, 4.1.4)."""

from __future__ import annotations

from enum import IntEnum, auto

from mailserver.smtp.commands import (
    Auth,
    Bdat,
    CommandError,
    Data,
    Foreign,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
    Xclient,
)
from mailserver.smtp.dialects import SMTP, Dialect


class State(IntEnum):
    """Where a session stands. Numbers, for these are looked up quickest, and so at every command."""

    START = auto()  # connected, or TLS begun: no HELO yet
    READY = auto()  # after HELO or EHLO: no transaction
    MAIL = auto()  # MAIL was accepted, no recipient yet
    RCPT = auto()  # at least one recipient was accepted
    BODY = auto()  # after 354: everything is message text until CRLF.CRLF
    CHUNK = auto()  # after BDAT: so many octets are message text
    CHUNKED = auto()  # between the chunks of a message
    AUTH = auto()  # the next line is a SASL response
    TLS = auto()  # 220 to STARTTLS was sent: plain text is over
    CLOSED = auto()


# The one table of the protocol: command -> state it may come in -> state once it is done. What is not here
# is 503 (RFC 5321, 4.1.4). SAME keeps the state.
SAME = None
IN_A_MESSAGE = (State.BODY, State.CHUNK)
_TRANSACTION = (State.READY, State.MAIL, State.RCPT, State.CHUNKED)
_COMMANDS = (State.START, *_TRANSACTION)
TRANSITIONS: dict[type, dict[State, State | None]] = {
    Helo: dict.fromkeys(_COMMANDS, State.READY),
    Mail: {State.READY: State.MAIL},
    Rcpt: {State.MAIL: State.RCPT, State.RCPT: State.RCPT},
    Data: {State.RCPT: State.BODY},
    Bdat: {State.RCPT: State.CHUNK, State.CHUNKED: State.CHUNK},
    Rset: {State.START: SAME, **dict.fromkeys(_TRANSACTION, State.READY)},
    StartTls: {State.READY: State.TLS},
    Auth: {State.READY: State.AUTH},
    Xclient: {State.START: SAME, State.READY: State.START},
    Noop: dict.fromkeys(_COMMANDS, SAME),
    Vrfy: dict.fromkeys(_COMMANDS, SAME),
    Help: dict.fromkeys(_COMMANDS, SAME),
    Quit: dict.fromkeys(_COMMANDS, State.CLOSED),
    Foreign: dict.fromkeys(_COMMANDS, State.CLOSED),
}

# RFC 2920, 3.1: these must be the last command of a group. A client that sends on does not know what it
# talks to (an attack by way of another protocol), or wants clear text to pass for encrypted (CASES A14, B1).
MUST_END_A_GROUP = (Helo, Data, StartTls)


def out_of_order(kind: type, state: State, offered_recipients: int, dialect: Dialect = SMTP) -> CommandError:
    """The refusal of a command that may not come now. `offered_recipients`: RCPTs of this transaction.
    LMTP wants 503 in any case (RFC 2033, 4.2)."""
    if state is State.START:
        text = f"Send {dialect.first_hello} first"
    elif state is State.CHUNKED:
        text = "Send the next chunk, or RSET"
    elif kind in (Data, Bdat) and state is State.MAIL and offered_recipients:
        return CommandError("No valid recipients", code=503 if dialect.each else 554, enhanced="5.5.1")
    elif kind in (Rcpt, Data, Bdat):
        text = "Send MAIL first" if state is State.READY else "Send RCPT first"
    elif kind is Mail:
        text = "Sender already given"
    else:
        text = "Not allowed within a transaction"
    return CommandError(text, code=503, enhanced="5.5.1")
