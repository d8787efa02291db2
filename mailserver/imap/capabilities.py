"""What is announced, and when (RFC 3501, 6.1.1, 6.2.3; RFC 7889; RFC 9208)."""

from __future__ import annotations

from mailserver.imap.session import Session

COMPLETE = (
    *("IMAP4rev1", "SASL-IR", "LITERAL+", "ID", "IDLE", "NAMESPACE", "CHILDREN", "UIDPLUS", "UNSELECT"),
    *("MOVE", "SPECIAL-USE", "CREATE-SPECIAL-USE", "ENABLE", "LIST-EXTENDED", "LIST-STATUS", "STATUS=SIZE"),
)
QUOTA = ("QUOTA", "QUOTA=RES-STORAGE")


def capabilities(session: Session) -> list[str]:
    """Names for CAPABILITY: the log-in only before log-in, and clear-text log-in only where it is allowed."""
    names = [*COMPLETE, f"APPENDLIMIT={session.settings.now.limits.message_size}", *QUOTA]
    if session.account is None:
        if session.wire.tls_available():
            names.append("STARTTLS")
        mechanisms = session.wire.authenticator.mechanisms(session.peer)
        if "PLAIN" not in mechanisms:
            names.append("LOGINDISABLED")
        names.extend(f"AUTH={mechanism}" for mechanism in mechanisms)
    return names


def capability_code(session: Session) -> str:
    """The response code of the greeting and of a log-in (RFC 3501, 7.1)."""
    return "CAPABILITY " + " ".join(capabilities(session))
