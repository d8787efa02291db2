"""FETCH and UID FETCH: which messages and what of them (RFC 3501, 6.4.5); `rows` sends them.

A message that another session expunged before this one was told is left out; FETCH then ends with NO
[EXPUNGEISSUED] (RFC 2180, 4.1.3; RFC 5530), UID FETCH with OK, for the EXPUNGE follows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from mailserver.errors import MailError, MessageGone
from mailserver.imap.commands import Command, Fetch
from mailserver.imap.fetch import compile_plan
from mailserver.imap.handlers.batches import part_of, uids_of
from mailserver.imap.handlers.limits import check_partial, last_ranges, ok, tell
from mailserver.imap.handlers.rows import RowSender
from mailserver.imap.handlers.vanished import tell_vanished
from mailserver.imap.resync import changed_since
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.interfaces import Flag, StoreMode


async def fetch(session: Session, command: Fetch) -> None:
    """RFC 3501, 6.4.5 and 6.4.8; RFC 7162, 3.1.4 and 3.2.4."""
    view = session.mailbox
    plan = compile_plan(command.items, command.uid)
    limit = check_partial(session, command)
    if plan.modseq and not session.takes_modseq(command):
        return
    known = view.ranges(command.numbers, command.uid)
    if known is None:
        session.bad(command, "No such message number")
        return
    ranges = part_of(known, command.partial)
    if command.vanished and not view.qresync:
        session.bad(command, "QRESYNC is not enabled")
        return
    if command.changed_since is not None:
        if command.vanished:
            await tell_vanished(session, view, command.numbers, command.changed_since)
        ranges = changed_since(view, ranges, command.changed_since)
    ranges, limited = last_ranges(view, ranges, limit)
    if plan.seen and not view.read_only and await set_seen(view, ranges):
        plan = evolve(plan, flags=True, uid=plan.uid or view.condstore, modseq=plan.modseq or view.condstore)
    sender = RowSender(session, view, plan)
    await sender.send_ranges(ranges)
    if sender.unknown:
        tell(session, limited)
        session.no(command, "Unknown content transfer encoding", "UNKNOWN-CTE")
    elif sender.gone and not command.uid:
        tell(session, limited)
        session.no(command, MessageGone.text, "EXPUNGEISSUED")
    else:
        ok(session, command, limited)


async def set_seen(view: Selected, ranges: Sequence[tuple[int, int]]) -> bool:
    """\\Seen on all messages asked for, in one commit; true where flags changed. A mailbox that cannot be
    written does not keep anyone from reading."""
    flags, unseen = view.mailbox.flags, []
    index_of = view.mailbox.index_of
    if view.current:
        for start, stop in ranges:
            unseen += [i for i, bits in enumerate(flags[start:stop], start) if not bits & Flag.SEEN]
        uids = [view.uids[i] for i in unseen]
    else:
        rows = ((uid, index_of(uid)) for uid in uids_of(view, ranges))
        uids = [uid for uid, row in rows if row >= 0 and not flags[row] & Flag.SEEN]
    if not uids:
        return False
    try:
        result = await view.mailbox.store(uids, StoreMode.ADD, Flag.SEEN.value, None, view)
    except MailError:
        return False
    return bool(result.changed)


TABLE: dict[type[Command], Handler] = {Fetch: fetch}
