"""GETMETADATA and SETMETADATA (RFC 5464, 4.2, 4.3)."""

from __future__ import annotations

from mailserver.imap import replies
from mailserver.imap.commands import Command, GetMetadata, SetMetadata
from mailserver.imap.metadata import chosen
from mailserver.imap.session import Handler, Session


async def get_metadata(session: Session, command: GetMetadata) -> None:
    entries = await session.owner.metadata(command.mailbox)
    found, longest = chosen(entries, command.entries, command.depth, command.maxsize)
    if found:
        session.send(replies.metadata(command.mailbox, found, session.utf8))
    session.ok(command, code=f"METADATA LONGENTRIES {longest}" if longest else "")


async def set_metadata(session: Session, command: SetMetadata) -> None:
    """All or none."""
    await session.owner.set_metadata(
        command.mailbox, {entry.lower(): value for entry, value in command.values}
    )
    session.ok(command)


TABLE: dict[type[Command], Handler] = {GetMetadata: get_metadata, SetMetadata: set_metadata}
