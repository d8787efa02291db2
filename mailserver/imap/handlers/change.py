"""Commands that change messages: STORE, COPY, MOVE, EXPUNGE; and those that leave or check a mailbox
(RFC 3501, 6.4; RFC 3691; RFC 4315; RFC 6851)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

from mailserver.errors import MessageGone, NoSuchMailbox
from mailserver.imap.commands import Check, Close, Command, Copy, Expunge, Move, Store, Unselect
from mailserver.imap.fetch import Plan
from mailserver.imap.handlers.batches import uids_of
from mailserver.imap.handlers.limits import TooMany, last_ranges, last_uids, ok, tell
from mailserver.imap.handlers.rows import RowSender
from mailserver.imap.resync import runs
from mailserver.imap.selected import Selected
from mailserver.imap.session import Handler, Session
from mailserver.imap.values import SequenceSet
from mailserver.interfaces import CopyResult, Flag, StoreMode, StoreResult

READ_ONLY = "The mailbox is read-only"
NO_SUCH_NUMBER = "No such message number"


async def store(session: Session, command: Store) -> None:
    """RFC 3501, 6.4.6; RFC 7162, 3.1.3. The client is told the flags of every message it named, unless
    .SILENT; what other sessions changed meanwhile it is told in any case.

    Messages that others expunged: the rest is changed, then NO (RFC 2180, 4.2.3); UID STORE ignores them.
    """
    view = session.mailbox
    if command.unchanged_since is not None and not session.takes_modseq(command):
        return
    if view.read_only:
        session.no(command, READ_ONLY, "READ-ONLY")
        return
    named = view.ranges(command.numbers, command.uid)
    if named is None:
        session.bad(command, NO_SUCH_NUMBER)
        return
    ranges, limited = last_ranges(view, named, session.message_limit)
    mailbox = view.mailbox
    mask = mailbox.flag_mask(command.flags, command.mode is not StoreMode.REMOVE)
    uids = uids_of(view, ranges)
    code = ""
    if uids:
        with session.progress():
            result = await mailbox.store(uids, command.mode, mask, command.unchanged_since, view)
        session.send(view.tell_keywords())
        await _tell_stored(session, command, ranges, result)
        code = _modified(view, command, result)
    if not command.uid and any(map(view.is_removed, uids)):
        tell(session, limited)
        session.no(command, MessageGone.text, code or "EXPUNGEISSUED")
    else:
        ok(session, command, limited, "Conditional STORE failed" if code else "", code)


_SILENT = Plan(uid=True, modseq=True)


@cache
def _spoken(uid: bool, modseq: bool) -> Plan:
    return Plan(uid=uid, flags=True, modseq=modseq)


async def _tell_stored(
    session: Session, command: Store, ranges: Sequence[tuple[int, int]], result: StoreResult
) -> None:
    """MODSEQ is told even if .SILENT (RFC 7162, 3.1.3), and the flags of messages that failed a condition, so
    that the client need not ask why."""
    view = session.mailbox
    condstore = view.condstore
    silent, spoken = _SILENT, _spoken(command.uid or condstore, condstore)
    if command.unchanged_since is None:
        if not command.silent:
            await RowSender(session, view, spoken).send_ranges(ranges)
        elif condstore:
            changed = runs(view.indices_of(result.changed))
            await RowSender(session, view, silent).send_ranges(changed)
        return
    failed = set(result.modified)
    done = [index for start, stop in ranges for index in range(start, stop) if view.uids[index] not in failed]
    plan = silent if command.silent else spoken
    await RowSender(session, view, plan).send_ranges(runs(done))
    await RowSender(session, view, spoken).send_ranges(runs(view.indices_of(result.modified)))


def _modified(view: Selected, command: Store, result: StoreResult) -> str:
    """The MODIFIED response code: UIDs of a UID STORE, else numbers; "" where no message failed."""
    if not result.modified:
        return ""
    failed = result.modified if command.uid else [view.number_of(uid) for uid in result.modified]
    return f"MODIFIED {uid_set(failed)}"


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


async def _transfer(session: Session, command: Copy | Move) -> tuple[CopyResult, str] | None:
    """What COPY and MOVE have in common: the result, and the code of what a limit left undone. None where the
    answer was given."""
    view = session.mailbox
    ranges = view.ranges(command.numbers, command.uid)
    if ranges is None:
        session.bad(command, NO_SUCH_NUMBER)
        return None
    uids: Sequence[int] = uids_of(view, ranges)
    if command.uid:
        uids = [uid for uid in uids if not view.is_removed(uid)]
    elif any(map(view.is_removed, uids)):  # all or none (RFC 3501, 6.4.7; RFC 2180, 4.4)
        raise MessageGone
    if not uids:
        session.ok(command, "Nothing to do: no such message")
        return None
    uids, limited = _limited(session, command, uids)
    try:
        with session.progress() as progress:
            told = partial(progress.reach, goal=len(uids))
            if isinstance(command, Move):
                result = await view.mailbox.move(uids, command.mailbox, view, told)
            else:
                result = await view.mailbox.copy(uids, command.mailbox, told)
    except NoSuchMailbox as error:
        session.no(command, error.text, "TRYCREATE")  # RFC 3501, 6.4.7
        return None
    session.put(command.mailbox, result.target)
    return result, limited


def _limited(session: Session, command: Copy | Move, uids: Sequence[int]) -> tuple[Sequence[int], str]:
    """COPY is done as a whole, MOVE need not be (RFC 9738, 3.1)."""
    if isinstance(command, Move):
        return last_uids(uids, session.message_limit)
    limit = session.save_limit
    kept, limited = last_uids(uids, limit)
    if limited:
        raise TooMany(limit, kept[0])
    return kept, ""


async def copy(session: Session, command: Copy) -> None:
    """RFC 3501, 6.4.7: all or none."""
    done = await _transfer(session, command)
    if done is not None:
        session.ok(command, code=_copied(session, done[0]))


async def move(session: Session, command: Move) -> None:
    """RFC 6851, 3.3: COPYUID goes out before the EXPUNGE responses, which `ok` tells."""
    if session.mailbox.read_only:
        session.no(command, READ_ONLY, "READ-ONLY")
        return
    done = await _transfer(session, command)
    if done is None:
        return
    result, limited = done
    code = _copied(session, result)
    if code:
        session.send(f"* OK [{code}] Moved\r\n".encode())
    ok(session, command, limited)


async def expunge(session: Session, command: Expunge) -> None:
    """RFC 3501, 6.4.3; with `uids` UID EXPUNGE (RFC 4315, 2.1), which alone is limited (RFC 9738, 3.1)."""
    view = session.mailbox
    if view.read_only:
        session.no(command, READ_ONLY, "READ-ONLY")
        return
    uids, limited = None, ""
    if command.uids is not None:
        uids, limited = last_uids(_deleted(view, command.uids), session.message_limit)
    if uids is None or uids:
        with session.progress():
            await view.mailbox.expunge(uids, view)
    ok(session, command, limited)


def _deleted(view: Selected, numbers: SequenceSet) -> list[int]:
    """UIDs of messages in the set that are marked."""
    mailbox, bit = view.mailbox, Flag.DELETED.value
    known = [(uid, mailbox.index_of(uid)) for uid in uids_of(view, view.ranges(numbers, uid=True) or [])]
    return [uid for uid, row in known if row >= 0 and mailbox.flags[row] & bit]


async def close(session: Session, command: Close) -> None:
    """RFC 3501, 6.4.2: expunges without a word, unless the mailbox is read-only."""
    view = session.mailbox
    try:
        if not (view.read_only or view.gone) and "e" in view.mailbox.rights:  # RFC 4314, 4: CLOSE
            with session.progress():
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
