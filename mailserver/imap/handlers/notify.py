"""NOTIFY (RFC 5465): the command, and telling what it asked for, between commands and in IDLE.

`tell` sends for as long as something is due. The connection runs it only while no command is executed, and
executes none meanwhile, so that no response stands in the middle of another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from attrs import evolve

from mailserver.errors import MailError
from mailserver.imap import replies
from mailserver.imap.commands import Command, Notify
from mailserver.imap.grammar.mailboxes import STATUS_ITEMS
from mailserver.imap.handlers.mailboxes import status_values
from mailserver.imap.handlers.rows import RowSender
from mailserver.imap.listing import Listed, parents_of
from mailserver.imap.listing_extended import attributes_of
from mailserver.imap.notify import FLAGS, NEW, NameTold, Notifier
from mailserver.imap.session import Handler, Session

OVERFLOW = b"* OK [NOTIFICATIONOVERFLOW] Too much to tell: notifications are off\r\n"


async def notify(session: Session, command: Notify) -> None:
    """RFC 5465, 3.1. As NOOP, it tells what there is of the selected mailbox. What was in force before stays
    so where this one fails."""
    if session.selected is not None:
        await session.selected.mailbox.refresh()
        session.tell_everything()
    made = Notifier(command.groups)
    if made.watches:
        made.end = session.owner.watch(lambda event: session.hear(event, made), foreign=True)
    try:
        if made.needs_subscriptions:
            made.subscribed = set(await session.owner.subscriptions())
        await _look_at_mailboxes(session, made, command.status)
    except BaseException:
        made.stop()
        raise
    session.set_notifier(made)
    session.ok(command)


async def _look_at_mailboxes(session: Session, made: Notifier, status: bool) -> None:
    """STATUS, where it is wanted, of every mailbox that messages are watched in, but for the selected one;
    and which of them this user may not read (RFC 5465, 3.1)."""
    if not made.watches:
        return
    selected = session.selected_name
    for folder in await session.owner.folders():
        wanted = made.wanted(folder.name) if folder.selectable and folder.name != selected else ()
        if wanted and "r" not in folder.rights:
            session.send(replies.listing("LIST", Listed(("\\NoAccess",), folder.name), session.utf8))
            continue
        items = _status_items(wanted) if status else ()
        if items:
            with suppress(MailError):
                values = await status_values(session, folder.name, items)
                session.send(replies.status(folder.name, values, session.utf8))
            await session.drained()


def _status_items(events: Collection[str]) -> list[str]:
    if NEW not in events:
        return []
    items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
    if FLAGS in events:
        items += ["UNSEEN", *({"HIGHESTMODSEQ"} & STATUS_ITEMS)]
    return items


# --- telling --------------------------------------------------------------------------------------


async def tell(session: Session) -> None:
    """Everything that is due, in its order for each mailbox: EXISTS before FETCH, LIST as it is now."""
    while (notifier := session.notifier) is not None and notifier.due:
        notifier.due = False
        if notifier.overflown:
            notifier.overflown = False
            session.send(OVERFLOW)
        await _tell_selected(session, notifier)
        lines = _status_lines(session, notifier)
        if lines:
            session.send(b"".join(lines))
        names = notifier.take_names()
        if names:
            with suppress(MailError):
                await _tell_names(session, names)
        await session.drained()


async def _tell_selected(session: Session, notifier: Notifier) -> None:
    view = session.selected
    if view is None or view.gone or not notifier.tells_messages:
        return
    session.tell_unasked(allow_expunge=session.idle or not notifier.delays_expunge)
    ranges = notifier.take_new(view)
    if ranges and notifier.plan is not None:
        await RowSender(session, view, notifier.plan).send_ranges(ranges)


def _status_lines(session: Session, notifier: Notifier) -> list[bytes]:
    modseq = not session.enabled.isdisjoint(("CONDSTORE", "QRESYNC"))
    selected = session.selected_name
    lines: list[bytes] = []
    for name, waiting in notifier.take_mailboxes(selected).items():
        values = waiting.values(modseq)
        if values:
            lines.append(replies.status(name, values, session.utf8))
    lines += [
        replies.metadata_changed(name, keys, session.utf8) for name, keys in notifier.take_metadata().items()
    ]
    return lines


async def _tell_names(session: Session, names: Sequence[NameTold]) -> None:
    """LIST with all attributes as they are now (RFC 5465, 5.4, 5.5)."""
    folders = await session.owner.folders()
    existing = {folder.name: folder for folder in folders if folder.selectable}
    subscribed = {folder.name for folder in folders if folder.subscribed}
    if any(told.subscription for told in names):
        subscribed.update(await session.owner.subscriptions())
    parents = parents_of(existing)
    for told in names:
        attributes = attributes_of(existing.get(told.name), told.name in parents)
        if told.name in subscribed:
            attributes += ("\\Subscribed",)
        entry = Listed(attributes, told.name)
        session.send(replies.listing("LIST", evolve(entry, old_name=told.old), session.utf8))
        await session.drained()


TABLE: dict[type[Command], Handler] = {Notify: notify}
