"""How names of mailboxes are told (RFC 3348; RFC 6154, 2; RFC 9051, 6.3.9.7)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from mailserver.errors import MailError
from mailserver.imap import replies
from mailserver.imap.commands import Command
from mailserver.imap.listing import SPECIAL_USES, Listed, list_one
from mailserver.imap.session import Session

# Attributes of LIST that come with a capability (RFC 3348; RFC 6154, 2).
ATTRIBUTES = {
    "CHILDREN": ("\\HasChildren", "\\HasNoChildren"),
    "SPECIAL-USE": tuple(SPECIAL_USES.values()),
}


def liner(session: Session, name: str = "LIST") -> Callable[[Listed], bytes]:
    """How an entry is told to this client; some attributes are not, to some."""
    hidden = frozenset(a for name, some in ATTRIBUTES.items() if not session.has(name) for a in some)
    utf8 = session.utf8

    def line(entry: Listed) -> bytes:
        if hidden:
            entry = evolve(entry, attributes=tuple(a for a in entry.attributes if a not in hidden))
        return replies.listing(name, entry, utf8)

    return line


async def tell_selected(session: Session, command: Command, name: str) -> None:
    """The LIST of the mailbox that becomes the selected one (RFC 9051, 6.3.2)."""
    if session.rev2:
        entry = await _entry(session, name)
        session.send(liner(session)(evolve(entry, old_name=_given(command, name))))


async def tell_normalised(session: Session, command: Command, *names: str) -> None:
    """LIST with OLDNAME for those of these mailboxes that the client called otherwise."""
    if session.rev2 and command.given:
        line = liner(session)
        for name in names:
            given = _given(command, name)
            if given:
                session.send(line(evolve(await _entry(session, name), old_name=given)))


async def _entry(session: Session, name: str) -> Listed:
    """What LIST tells of it. Never fails: what the command did has been done."""
    try:
        return list_one(await session.owner.folders(), name)
    except MailError:
        return Listed((), name)


def _given(command: Command, name: str) -> str:
    """What the client called the mailbox, "" where it called it by its name."""
    return next((given for given, meant in command.given if meant == name), "")
