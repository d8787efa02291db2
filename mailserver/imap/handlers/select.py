"""SELECT and EXAMINE (RFC 3501, 6.3.1, 6.3.2), with resynchronization (RFC 7162, 3.2.5)."""

from __future__ import annotations

from mailserver.imap.commands import Command, Examine, Select
from mailserver.imap.fetch import Plan
from mailserver.imap.handlers.names import tell_selected
from mailserver.imap.handlers.rows import RowSender
from mailserver.imap.handlers.vanished import tell_vanished
from mailserver.imap.resync import changed_since, everything
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import QuickResync


async def select(session: Session, command: Select | Examine) -> None:
    """RFC 3501, 6.3.1: the mailbox selected before is left first, also where this one fails (CASES H23);
    CLOSED tells of that (RFC 7162, 3.2.11; RFC 9051, 6.3.2)."""
    if command.qresync is not None and "QRESYNC" not in session.enabled:
        session.bad(command, "QRESYNC is not enabled")
        return
    if session.selected is not None:
        session.unselect()
        if session.has("CONDSTORE") or session.rev2:
            session.send(b"* OK [CLOSED] Previous mailbox closed\r\n")
    if command.condstore:
        session.enable_condstore()
    selected = Selected(isinstance(command, Examine), session.wake, session.enabled)
    mailbox = await session.patiently(session.owner.open(command.mailbox, selected, selected.read_only))
    selected.attach(mailbox)
    session.select(selected)
    session.send(_selection(selected, session.has("OBJECTID")))
    if session.has("CONDSTORE"):
        session.send(selected.modseq_response())
    await tell_selected(session, command, command.mailbox)
    if command.qresync is not None:
        await _resynchronize(session, selected, command.qresync)
    code = "READ-ONLY" if selected.read_only else "READ-WRITE"
    session.ok(command, code=code)


async def _resynchronize(session: Session, view: Selected, resync: QuickResync) -> None:
    """What has gone and what has changed since, of the messages that the client asks about. Nothing where its
    memory is of another mailbox (RFC 7162, 3.2.5), or this one has none (3.2.5.1)."""
    if resync.uidvalidity != view.mailbox.uidvalidity or not view.keeps_modseqs:
        return
    known = everything(view, resync)
    await tell_vanished(session, view, known, resync.modseq, resync.samples)
    ranges = changed_since(view, view.ranges(known, uid=True) or [], resync.modseq)
    await RowSender(session, view, Plan(uid=True, flags=True, modseq=True)).send_ranges(ranges)


def _selection(selected: Selected, ids: bool) -> bytes:
    """The untagged responses of SELECT; `ids`: with MAILBOXID (RFC 8474, 4.2). RFC 9051, 6.3.2 has no RECENT
    and no UNSEEN, which is a message number (RFC 9586, 3)."""
    mailbox = selected.mailbox
    lines = [selected.flags_responses(), selected.exists_response()]
    unseen = 0 if selected.rev2 or selected.uidonly else mailbox.first_unseen()
    if 0 < unseen <= selected.told:
        lines.append(b"* OK [UNSEEN %d] First unseen\r\n" % unseen)
    lines.append(b"* OK [UIDVALIDITY %d] UIDs valid\r\n" % mailbox.uidvalidity)
    lines.append(b"* OK [UIDNEXT %d] Predicted next UID\r\n" % mailbox.uidnext)
    if ids:
        lines.append(b"* OK [MAILBOXID (%b)] Id of the mailbox\r\n" % mailbox.mailboxid.encode("ascii"))
    return b"".join(lines)


TABLE: dict[type[Command], Handler] = {Select: select, Examine: select}
