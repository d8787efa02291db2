"""Ids of mailboxes and messages (RFC 8474), derived from what outlives the index: nothing is stored for them.

MAILBOXID comes of the account and the folder's UIDVALIDITY, which is unique within the account, stands in a
file of the folder, goes with it when it is renamed, and is never given again.

EMAILID comes of the unique part of the file's name, `TIME.UNIQUE.HOST`, without what was added to it. No body
is read for it; COPY and MOVE keep that part, and a file that another program moves keeps it too. It differs
for messages of equal text, as it must where their internal dates differ. The unique part of a name of ours
suffices; another program's may be as poor as "1", so date and size, which are as immutable, count as well.
"""

from __future__ import annotations

import re
from hashlib import sha256

from mailserver.store import maildir

_OURS = re.compile(r"[0-9]+\.M[0-9]{6}P[0-9]+R[0-9a-f]{8}Q[0-9]+\.[^,:]*")  # as `NameMaker.unique` makes them
_LONGEST = 120  # octets; size, UID, flags and what others add have to have room behind it
_CARRIED = re.compile(r"[0-9]+\.E([0-9a-f]{32})\.")  # as `carrying` makes them


def mailbox_id(user: str, uidvalidity: int) -> str:
    return f"F{uidvalidity:08x}{sha256(user.encode()).hexdigest()[:16]}"


def email_id(name: str, date: int, wire: int) -> str:
    """Of the message with this file name (with its folder), internal date and size on the wire."""
    ours = _OURS.match(name, name.find("/") + 1)
    if ours is not None:
        return _digest(ours[0])
    unique = maildir.base_of(name).partition(",")[0]
    carried = _CARRIED.match(unique)
    return "M" + carried[1] if carried is not None else _digest(f"{unique} {date} {wire}")


def _digest(text: str) -> str:
    return "M" + sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def unique_for(name: str, date: int, wire: int, host: str) -> str:
    """The unique part for a copy of a message, which has its EMAILID."""
    unique = maildir.unique_part(name)
    if len(unique.encode("utf-8", "surrogateescape")) <= _LONGEST:
        return unique
    return carrying(email_id(name, date, wire), date, host)


def carrying(email_id: str, date: int, host: str) -> str:
    """A unique part that gives this EMAILID: for a message whose own is too long for what we add to it."""
    return f"{max(date, 0)}.E{email_id[1:]}.{host}"
