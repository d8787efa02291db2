"""LIST and LSUB (RFC 3501, 6.3.8, 6.3.9), LIST with options (RFC 5258), STATUS in it (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from mailserver.errors import MailError, NoSuchMailbox
from mailserver.imap import replies
from mailserver.imap.commands import Command, List, ListExtended, Lsub
from mailserver.imap.handlers.mailboxes import status_values
from mailserver.imap.handlers.names import liner
from mailserver.imap.listing import Listed, list_folders, list_subscribed
from mailserver.imap.listing_extended import list_extended
from mailserver.imap.metadata import chosen
from mailserver.imap.session import Handler, Session

LINES_PER_TURN = 500  # of LIST, between two turns of the reactor
MANY = 2000  # names times patterns, from which on they are compared in a thread


async def list_mailboxes(session: Session, command: List) -> None:
    """RFC 3501, 6.3.8, with the attributes of RFC 3348 and RFC 6154, 2."""
    if not command.pattern:
        session.send(replies.root(command.NAME))
    else:
        folders = await session.owner.folders()
        await _send_list(session, command, list_folders(folders, command.reference + command.pattern))
    session.ok(command)


async def list_subscriptions(session: Session, command: Lsub) -> None:
    """RFC 3501, 6.3.9"""
    if not command.pattern:
        session.send(replies.root(command.NAME))
    else:
        names = await session.owner.subscriptions()
        existing = [folder.name for folder in await session.owner.folders()]
        pattern = command.reference + command.pattern
        await _send_list(session, command, list_subscribed(names, existing, pattern))
    session.ok(command)


async def list_with_options(session: Session, command: ListExtended) -> None:
    """RFC 5258, 3"""
    folders = await session.owner.folders()
    asked = "SUBSCRIBED" in command.selection | command.returned
    names = await session.owner.subscriptions() if asked else ()
    if (len(folders) + len(names)) * len(command.patterns) > MANY:
        entries = await session.in_thread(lambda: list_extended(folders, names, command))
    else:
        entries = list_extended(folders, names, command)
    if command.status or command.metadata:
        for entry in entries:
            await _send_with_more(session, command, entry)
    else:
        await _send_list(session, command, entries)
    session.ok(command)


async def _send_with_more(session: Session, command: ListExtended, entry: Listed) -> None:
    """LIST, then STATUS and METADATA where the mailbox can be selected and was not only listed for what is
    below it. One that has gone meanwhile is told so; other troubles only cost what was asked for beside LIST
    (RFC 5819, 2; RFC 9590, 3)."""
    more = b""
    if entry.selected:
        try:
            if command.status:
                values = await status_values(session, entry.name, command.status)
                more += replies.status(entry.name, values, session.utf8)
            if command.metadata:
                entries = await session.owner.metadata(entry.name)
                found, _ = chosen(entries, command.metadata, 0, None)
                more += replies.metadata(entry.name, found, session.utf8)
        except NoSuchMailbox:
            more, entry = b"", evolve(entry, attributes=("\\NonExistent", *entry.attributes))
        except MailError:
            pass
    session.send(_liner(session, command)(entry) + more)
    await session.drained()


async def _send_list(session: Session, command: Command, entries: list[Listed]) -> None:
    line = _liner(session, command)
    for start in range(0, len(entries), LINES_PER_TURN):
        if start:
            await session.breathe()
        session.send(b"".join(map(line, entries[start : start + LINES_PER_TURN])))


def _liner(session: Session, command: Command) -> Callable[[Listed], bytes]:
    """What makes the response for an entry, with MYRIGHTS where the client asks for it (RFC 8440, 3)."""
    line = liner(session, command.NAME)
    if not isinstance(command, ListExtended) or "MYRIGHTS" not in command.returned:
        return line

    def with_rights(entry: Listed) -> bytes:
        told = replies.my_rights(entry.name, entry.rights, session.utf8) if entry.rights else b""
        return line(entry) + told

    return with_rights


TABLE: dict[type[Command], Handler] = {
    List: list_mailboxes,
    ListExtended: list_with_options,
    Lsub: list_subscriptions,
}
