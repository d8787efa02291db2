"""The states of a POP3 session and the one table of what may follow what (RFC 1939, 3 to 6)."""

from __future__ import annotations

from enum import Enum, auto

from mailserver.pop3.commands import (
    Auth,
    Capa,
    Dele,
    Lang,
    List,
    Mechanisms,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    Utf8,
)


class State(Enum):
    """Where a session stands (RFC 1939, 3)."""

    AUTHORIZATION = auto()
    NAMED = auto()  # AUTHORIZATION, and USER was given
    SASL = auto()  # AUTHORIZATION, and the next line is a SASL response
    TLS = auto()  # +OK to STLS was sent: clear text is over
    TRANSACTION = auto()
    UPDATE = auto()
    CLOSED = auto()


# The one table of the protocol: command -> state it may come in -> state once it is done. What is not here is
# -ERR. SAME keeps the state.
SAME = None
_BEFORE = (State.AUTHORIZATION, State.NAMED)
_ANY = (*_BEFORE, State.TRANSACTION)
TRANSITIONS: dict[type, dict[State, State | None]] = {
    User: dict.fromkeys(_BEFORE, State.NAMED),
    Pass: {State.NAMED: State.TRANSACTION},
    Auth: dict.fromkeys(_BEFORE, State.TRANSACTION),
    Mechanisms: dict.fromkeys(_BEFORE, SAME),
    Stls: dict.fromkeys(_BEFORE, State.TLS),
    Utf8: dict.fromkeys(_BEFORE, SAME),
    Capa: dict.fromkeys(_ANY, SAME),
    Lang: dict.fromkeys(_ANY, SAME),
    Stat: {State.TRANSACTION: SAME},
    List: {State.TRANSACTION: SAME},
    Uidl: {State.TRANSACTION: SAME},
    Retr: {State.TRANSACTION: SAME},
    Top: {State.TRANSACTION: SAME},
    Dele: {State.TRANSACTION: SAME},
    Noop: {State.TRANSACTION: SAME},
    Rset: {State.TRANSACTION: SAME},
    Quit: {State.AUTHORIZATION: State.CLOSED, State.NAMED: State.CLOSED, State.TRANSACTION: State.UPDATE},
}
# A refused log-in leaves nothing of itself; a refused update closes all the same.
REFUSED: dict[type, State] = {
    Pass: State.AUTHORIZATION,
    Auth: State.AUTHORIZATION,
    Quit: State.CLOSED,
}
