"""ESEARCH: a search of several mailboxes, whichever is selected (RFC 7377).

Each mailbox is opened for reading as by EXAMINE, for as long as it is searched. Those that are not there, or
not the user's to read, are passed over in silence (RFC 7377, 2.2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from mailserver.errors import NoSuchMailbox, NotPermitted
from mailserver.imap import replies
from mailserver.imap.commands import Command, Esearch
from mailserver.imap.handlers.contexts import Updating
from mailserver.imap.handlers.search import (
    by_modseq,
    check_charset,
    highest_modseq,
    refused,
    returning_of,
    save,
    send_pieces,
)
from mailserver.imap.handlers.source import MailboxSource
from mailserver.imap.listing import SEPARATOR
from mailserver.imap.search import results
from mailserver.imap.search.tree import search
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import MailboxSet
from mailserver.rights import OTHERS


async def esearch(session: Session, command: Esearch) -> None:
    """The selected mailbox first, then the others in the order of LIST, each once."""
    selects = any(part.which == "SELECTED" for part in command.sources)
    options = returning_of(command).options
    if (selects or "UPDATE" in options) and session.selected is None:
        session.bad(command, "No mailbox is selected")
        return
    if "SAVE" in options and any(part.which != "SELECTED" for part in command.sources):
        session.bad(command, "SAVE is for the selected mailbox")
        return
    if session.selected is not None and refused(session, command):
        return
    try:
        check_charset(command.charset)
        if selects:
            await _search_selected(session, command)
        names = await _names(session, command.sources)
        for name in names:
            if name != session.selected_name:
                await _search_other(session, command, name)
            elif not selects:
                await _search_selected(session, command)
    except BaseException:
        if "SAVE" in options and session.selected is not None:
            session.selected.saved = []
        raise
    session.ok(command)


async def _search_selected(session: Session, command: Esearch) -> None:
    view = session.mailbox
    returning = returning_of(command)
    async with Updating(session, command, _correlators(session, view)) as updating:
        with session.progress() as progress:
            source = MailboxSource(session, view, progress)
            rows = await search(command.key, source.rows, source)
        updating.found(source, rows)
    await _tell(session, command, view, source, rows)
    if "SAVE" in returning.options:
        save(view, [source.uids[row] for row in rows], returning)


async def _search_other(session: Session, command: Esearch, name: str) -> None:
    view = Selected(read_only=True)
    try:
        with session.progress():
            mailbox = await session.owner.open(name, view, True)
    except (NoSuchMailbox, NotPermitted):
        return
    view.attach(mailbox)
    try:
        with session.progress() as progress:
            source = MailboxSource(session, view, progress)
            rows = await search(command.key, source.rows, source)
        await _tell(session, command, view, source, rows)
    finally:
        view.close()


async def _tell(
    session: Session, command: Esearch, view: Selected, source: MailboxSource, rows: Sequence[int]
) -> None:
    """One response, and none where nothing was found (RFC 7377, 2.1)."""
    returning = returning_of(command)
    if not rows or not results.is_told(returning):
        return
    modseq = highest_modseq(source.modseqs, rows, returning) if by_modseq(command) else 0
    found = [source.uids[row] for row in rows]
    correlators = _correlators(session, view)
    await send_pieces(
        session, results.response(command.tag, True, found, returning, correlators, modseq=modseq)
    )


def _correlators(session: Session, view: Selected) -> bytes:
    name = replies.mailbox(view.mailbox.name, session.utf8)
    return b" MAILBOX %b UIDVALIDITY %d" % (name, view.mailbox.uidvalidity)


# --- which mailboxes -------------------------------------------------------------------------------


async def _names(session: Session, sources: Sequence[MailboxSet]) -> list[str]:
    """Mailboxes in these sets, each once; the selected one only where another set holds it."""
    if all(part.which == "SELECTED" for part in sources):
        return []
    subscribed: Collection[str] = ()
    if any(part.which == "SUBSCRIBED" for part in sources):
        subscribed = frozenset(await session.owner.subscriptions())
    folders = await session.owner.folders()
    found = [
        folder.name
        for folder in folders
        if folder.selectable
        and "r" in folder.rights
        and any(_holds(part, folder.name, subscribed) for part in sources)
    ]
    listed = {folder.name for folder in folders}
    named = dict.fromkeys(name for part in sources if part.which == "MAILBOXES" for name in part.names)
    return found + [name for name in named if name not in listed]  # it takes no right to be listed


def _holds(part: MailboxSet, name: str, subscribed: Collection[str]) -> bool:
    """INBOXES are the same as PERSONAL: mail may be delivered to any of them (RFC 5465, 6.3)."""
    if part.which in ("INBOXES", "PERSONAL"):
        return not name.startswith(OTHERS)
    if part.which == "SUBSCRIBED":
        return name in subscribed
    if part.which == "MAILBOXES":
        return name in part.names
    if part.which == "SUBTREE":
        return any(level in part.names for level in _levels(name))
    if part.which == "SUBTREE-ONE":
        return name in part.names or name.rpartition(SEPARATOR)[0] in part.names
    return False


def _levels(name: str) -> Iterator[str]:
    """The name and those above it."""
    while name:
        yield name
        name = name.rpartition(SEPARATOR)[0]


TABLE: dict[type[Command], Handler] = {Esearch: esearch}
