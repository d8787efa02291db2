"""Commands that change messages: STORE, COPY, MOVE, EXPUNGE; and those that leave or check a mailbox
(RFC 3501, 6.4; RFC 3691; RFC 4315; RFC 6851)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.errors import MessageGone, NoSuchMailbox
from mailserver.imap.commands import Check, Close, Command, Copy, Expunge, Move, Store, Unselect
from mailserver.imap.fetch import Plan
from mailserver.imap.handlers.batches import uids_of
from mailserver.imap.handlers.fetch import RowSender
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import SequenceSet
from mailserver.interfaces import CopyResult, StoreMode

READ_ONLY = "The mailbox is read-only"
NO_SUCH_NUMBER = "No such message number"


def _flags_plan(uid: bool) -> Plan:
    return Plan(uid, flags=True, date=False, size=False, cached=(), headers=(), contents=(), seen=False)


async def store(session: Session, command: Store) -> None:
    """RFC 3501, 6.4.6. The client is told the flags of every message it named, unless .SILENT; what other
    sessions changed meanwhile it is told in any case.

    Messages that others expunged: the rest is changed, then NO (RFC 2180, 4.2.3); UID STORE ignores them.
    """
    view = session.mailbox
    if view.read_only:
        session.no(command, READ_ONLY, "READ-ONLY")
        return
    ranges = view.ranges(command.numbers, command.uid)
    if ranges is None:
        session.bad(command, NO_SUCH_NUMBER)
        return
    mailbox = view.mailbox
    mask = mailbox.flag_mask(command.flags, command.mode is not StoreMode.REMOVE)
    uids = uids_of(view, ranges)
    if uids:
        await mailbox.store(uids, command.mode, mask, command.unchanged_since, view)
        told = view.tell_keywords()
        if told:
            session.send(told)
        if not command.silent:
            await RowSender(session, view, _flags_plan(command.uid)).send_ranges(ranges)
    if not command.uid and any(map(view.is_removed, uids)):
        session.no(command, MessageGone.text, "EXPUNGEISSUED")
    else:
        session.ok(command)


def _copied(session: Session, result: CopyResult) -> str:
    """COPYUID (RFC 4315, 3), "" where nothing was copied."""
    if not result.target or not session.has("UIDPLUS"):
        return ""
    return f"COPYUID {result.uidvalidity} {uid_set(result.source)} {uid_set(result.target)}"


def uid_set(uids: Sequence[int]) -> str:
    """UIDs in their order, neighbours as ranges: 1:3,7."""
    parts: list[str] = []
    start = last = 0
    for uid in (*uids, 0):
        if uid == last + 1 and last:
            last = uid
            continue
        if last:
            parts.append(str(start) if start == last else f"{start}:{last}")
        start = last = uid
    return ",".join(parts)


async def _transfer(session: Session, command: Copy | Move) -> CopyResult | None:
    """What COPY and MOVE have in common; None where the answer was given."""
    view = session.mailbox
    ranges = view.ranges(command.numbers, command.uid)
    if ranges is None:
        session.bad(command, NO_SUCH_NUMBER)
        return None
    uids = uids_of(view, ranges)
    if command.uid:
        uids = [uid for uid in uids if not view.is_removed(uid)]
    elif any(map(view.is_removed, uids)):  # all or none (RFC 3501, 6.4.7; RFC 2180, 4.4)
        raise MessageGone
    if not uids:
        session.ok(command, "Nothing to do: no such message")
        return None
    try:
        if isinstance(command, Move):
            return await view.mailbox.move(uids, command.mailbox, view)
        return await view.mailbox.copy(uids, command.mailbox)
    except NoSuchMailbox as error:
        session.no(command, error.text, "TRYCREATE")  # RFC 3501, 6.4.7
        return None


async def copy(session: Session, command: Copy) -> None:
    """RFC 3501, 6.4.7: all or none."""
    result = await _transfer(session, command)
    if result is not None:
        session.ok(command, code=_copied(session, result))


async def move(session: Session, command: Move) -> None:
    """RFC 6851, 3.3: COPYUID goes out before the EXPUNGE responses, which `ok` tells."""
    if session.mailbox.read_only:
        session.no(command, READ_ONLY, "READ-ONLY")
        return
    result = await _transfer(session, command)
    if result is None:
        return
    code = _copied(session, result)
    if code:
        session.send(f"* OK [{code}] Moved\r\n".encode())
    session.ok(command)


async def expunge(session: Session, command: Expunge) -> None:
    """RFC 3501, 6.4.3; with `uids` UID EXPUNGE (RFC 4315, 2.1)."""
    view = session.mailbox
    if view.read_only:
        session.no(command, READ_ONLY, "READ-ONLY")
        return
    uids = None if command.uids is None else _known(view, command.uids)
    if uids is None or uids:
        await view.mailbox.expunge(uids, view)
    session.ok(command)


def _known(view: Selected, numbers: SequenceSet) -> list[int]:
    return uids_of(view, view.ranges(numbers, uid=True) or [])


async def close(session: Session, command: Close) -> None:
    """RFC 3501, 6.4.2: expunges without a word, unless the mailbox is read-only."""
    view = session.mailbox
    try:
        if not (view.read_only or view.gone):
            await view.mailbox.expunge(None, view)
    finally:
        session.unselect()
    session.ok(command)


async def unselect(session: Session, command: Unselect) -> None:
    """RFC 3691"""
    session.unselect()
    session.ok(command)


async def check(session: Session, command: Check) -> None:
    """RFC 3501, 6.4.1: also looks for what other programs did to the mailbox."""
    await session.mailbox.mailbox.refresh()
    session.ok(command)


TABLE: dict[type[Command], Handler] = {
    Store: store,
    Copy: copy,
    Move: move,
    Expunge: expunge,
    Close: close,
    Unselect: unselect,
    Check: check,
}
