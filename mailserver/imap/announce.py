"""What is announced, and when (RFC 3501, 6.1.1, 6.2.3; RFC 7889)."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.imap.capabilities import ROWS
from mailserver.imap.session import Session

# Written in another way than the name of the row.
_WRITTEN: dict[str, Callable[[Session], str]] = {
    "APPENDLIMIT": lambda session: f"APPENDLIMIT={session.settings.now.limits.message_size}",
    "MESSAGELIMIT": lambda session: f"MESSAGELIMIT={session.message_limit}",
    "SAVELIMIT": lambda session: f"SAVELIMIT={session.save_limit}",
    "LITERAL+": lambda session: session.settings.now.imap.literals,
}


def capabilities(session: Session) -> list[str]:
    """Names for CAPABILITY: the log-in only before log-in, and clear-text log-in only where it is allowed.
    What a rule of the configuration takes away is not there."""
    names = [row.name for row in ROWS if row.announced]
    names += ["MESSAGELIMIT", "SAVELIMIT"]  # of which there is one at most
    if session.account is None:
        names += _before_login(session)
    else:
        names += ["QUOTASET"] if session.administers else []
        names += ["UNAUTHENTICATE"] if session.wire.compressed else ["COMPRESS=DEFLATE", "UNAUTHENTICATE"]
    shown = (name for name in names if session.has(name))
    return [_WRITTEN[name](session) if name in _WRITTEN else name for name in shown]


def _before_login(session: Session) -> list[str]:
    names = ["STARTTLS"] if session.wire.tls_available() else []
    mechanisms = session.wire.authenticator.mechanisms(session.peer)
    if "PLAIN" not in mechanisms:
        names.append("LOGINDISABLED")
    names.extend(f"AUTH={mechanism}" for mechanism in mechanisms)
    return names


def capability_code(session: Session) -> str:
    """The response code of the greeting and of a log-in (RFC 3501, 7.1)."""
    return "CAPABILITY " + " ".join(capabilities(session))
