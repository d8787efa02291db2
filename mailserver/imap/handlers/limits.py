"""MESSAGELIMIT and SAVELIMIT: how many messages one command works on (RFC 9738).

Of more messages those with the greatest UIDs are worked on, and the client is told how far that went; what
must be done as a whole is not done at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.errors import MailError
from mailserver.imap.commands import Command, Fetch
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session

Ranges = Sequence[tuple[int, int]]


class TooMany(MailError):
    """More messages than a command that is done as a whole may have (RFC 9738, 3.1)."""

    text = "Too many messages for one command, try fewer"

    def __init__(self, limit: int, last: int = 0) -> None:
        """last: the least UID of as many as there may be, where that is known."""
        super().__init__(imap=code_of(limit, last))


def code_of(limit: int, last: int = 0) -> str:
    return f"MESSAGELIMIT {limit} {last}" if last else f"MESSAGELIMIT {limit}"


def last_uids(uids: Sequence[int], limit: int) -> tuple[Sequence[int], str]:
    """The last of these UIDs (ascending), and the response code where there are more. limit: 0 for none."""
    if not limit or len(uids) <= limit:
        return uids, ""
    return uids[-limit:], code_of(limit, uids[-limit])


def last_ranges(view: Selected, ranges: Ranges, limit: int) -> tuple[Ranges, str]:
    """The same for index ranges of a view."""
    if not limit or sum(stop - start for start, stop in ranges) <= limit:
        return ranges, ""
    kept: list[tuple[int, int]] = []
    left = limit
    for start, stop in reversed(ranges):
        kept.append((max(start, stop - left), stop))
        left -= stop - kept[-1][0]
        if not left:
            break
    return kept[::-1], code_of(limit, view.uids[kept[-1][0]])


def check_partial(session: Session, command: Fetch) -> int:
    """The limit that is left to a FETCH: with PARTIAL none, for a range that is too long is refused."""
    limit = session.message_limit
    if not limit or command.partial is None:
        return limit
    if abs(command.partial.last - command.partial.first) >= limit:
        raise TooMany(limit)
    return 0


def ok(session: Session, command: Command, limited: str, text: str = "", code: str = "") -> None:
    """OK, with what was left undone; a code of its own goes with the reply, the limit's before it (RFC 9738,
    3.1)."""
    if limited and code:
        tell(session, limited)
        limited = ""
    if limited:
        session.ok(command, "Completed for the last messages only", limited)
    else:
        session.ok(command, text, code)


def tell(session: Session, limited: str) -> None:
    """Before a reply that has another code."""
    if limited:
        session.send(b"* NO [%b] Completed for the last messages only\r\n" % limited.encode("ascii"))
