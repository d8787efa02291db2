"""[disk] What sessions do to a mailbox, each a function for `Ledger.run`.

The index is the truth of flags and UIDs: it is committed, then told, then the caller is answered. File
names follow in the background (`rename_dirty`), for a row is marked until they have, and the mark survives
a crash. What removes or makes files does that first and durably, then commits: a crash in between
leaves files without rows or rows without files, and reading the directories mends both.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from mailserver.disk import durable
from mailserver.errors import NoSpace, TemporaryFailure
from mailserver.interfaces import KEYWORD, IMailboxListener, MailboxStatus, StoreMode, StoreResult
from mailserver.store import files, maildir, object_ids
from mailserver.store.index.database import Index
from mailserver.store.index.rows import Columns, Folder, Row
from mailserver.store.ledger import Ledger
from mailserver.store.reconcile import refresh


@frozen
class Loaded:
    """A mailbox as it was when the lock was held. `lasting`: its numbers are written down, so that MODSEQ
    cannot go back."""

    number: int
    columns: Columns
    keywords: Sequence[str]
    uidvalidity: int
    uidnext: int
    modseq: int
    recent_from: int
    writable: bool
    lasting: bool


def load(ledger: Ledger, opened: Index, directory: str) -> Loaded:
    """The whole mailbox, after a look at the directories."""
    refresh(ledger, opened, directory)
    folder = ledger.folder(opened, directory)
    ledger.following.begin(folder)
    path = ledger.folder_path(directory)
    return Loaded(
        ledger.following.number,
        opened.load(folder),
        tuple(ledger.keywords_of(folder).names),
        folder.uidvalidity,
        folder.uidnext,
        folder.modseq,
        folder.recent_from,
        os.access(os.path.join(path, "cur"), os.W_OK),
        os.access(path, os.W_OK),
    )


def status(ledger: Ledger, opened: Index, directory: str, *, look: bool = True) -> MailboxStatus:
    """`look`: at the directories first."""
    if look:
        refresh(ledger, opened, directory)
    folder = ledger.folder(opened, directory)
    lasting = os.access(ledger.folder_path(directory), os.W_OK)
    return evolve(
        folder.status,
        highestmodseq=folder.modseq if lasting else 0,
        mailboxid=object_ids.mailbox_id(ledger.user, folder.uidvalidity),
    )


def set_flags(
    ledger: Ledger,
    opened: Index,
    directory: str,
    uids: Sequence[int],
    *,
    mode: StoreMode,
    mask: int,
    keywords: Mapping[int, str],
    unchanged_since: int | None,
    by: IMailboxListener | None,
    within: int = -1,
) -> StoreResult:
    """STORE. A message whose flags stay what they were keeps its MODSEQ (RFC 7162, 3.1.3). keywords: those in
    `mask`, whose numbers are the caller's. within: bits that may be changed."""
    folder = ledger.folder(opened, directory)
    if keywords:
        mask = ledger.keywords_of(folder).translated(mask, keywords)
    modified: list[int] = []
    changed: list[Row] = []
    for row in opened.rows(folder, uids):
        if unchanged_since is not None and not _unchanged(row, unchanged_since, mode, mask):
            modified.append(row.uid)
            continue
        old = row.flags
        if mode is StoreMode.ADD:
            new = old | mask
        elif mode is StoreMode.REMOVE:
            new = old & ~mask
        else:
            new = mask
        new = old & ~within | new & within
        if new != old:
            folder.count_flags(old, new)
            if (new ^ old) & maildir.LETTER_BITS:
                row.dirty = row.dirty or 1
            row.flags = new
            changed.append(row)
    if changed:
        ledger.numbering.reserve(folder)
        folder.modseq += 1
        for row in changed:
            row.modseq = folder.modseq
        ledger.save_keywords(folder)
        with opened.transaction():
            opened.set_flags(folder, changed)
            opened.save_folder(folder)
        ledger.dirty.add(directory)
        ledger.tell_of(folder, changed=[(row.uid, row.flags) for row in changed], by=by)
    return StoreResult(tuple(row.uid for row in changed), tuple(modified))


def _unchanged(row: Row, since: int, mode: StoreMode, mask: int) -> bool:
    """The test of UNCHANGEDSINCE. Where nothing but keywords is added or removed, 0 asks whether the message
    has none of them: what is not there has no mod-sequence (RFC 7162, 3.1.3, example 7)."""
    if not since and mode is not StoreMode.REPLACE and mask >> KEYWORD << KEYWORD == mask:
        return not row.flags & mask
    return row.modseq <= since


def remove(
    ledger: Ledger,
    opened: Index,
    directory: str,
    uids: Sequence[int] | None,
    *,
    deleted_only: bool,
    by: IMailboxListener | None,
) -> Sequence[int]:
    """EXPUNGE, or POP3's removal. The files are gone for good when this returns; where one cannot be
    removed, those before it are, and the failure is told."""
    folder = ledger.folder(opened, directory)
    rows = opened.rows(folder, uids)
    if deleted_only:
        rows = [row for row in rows if row.flags & 4]
    if not rows:
        return ()
    path = ledger.folder_path(directory)
    done: list[Row] = []
    failure: TemporaryFailure | None = None
    with ledger.own_changes(folder, *_subs(rows)):
        for row in rows:
            try:
                name = locate(path, row.name)
                if name is not None:
                    ledger.around.expect(os.path.join(path, name[:3]), name[4:])
                    durable.unlink(os.path.join(path, name))
            except TemporaryFailure as error:
                failure = error
                break
            done.append(row)
        for sub in _subs(done):
            durable.sync_dir(os.path.join(path, sub))
    commit_removal(ledger, opened, folder, done, by)
    if failure is not None:
        raise failure
    return tuple(row.uid for row in done)


def commit_removal(
    ledger: Ledger, opened: Index, folder: Folder, rows: Sequence[Row], by: IMailboxListener | None
) -> None:
    if not rows:
        return
    ledger.numbering.reserve(folder)
    folder.modseq += 1
    for row in rows:
        folder.count(row, -1)
    uids = [row.uid for row in rows]
    with opened.transaction():
        opened.expunge(folder, uids, folder.modseq)
        opened.save_folder(folder)
        ledger.recount(opened)
    ledger.tell_of(folder, removed=uids, by=by)


def _subs(rows: Sequence[Row]) -> list[str]:
    return sorted({row.name[:3] for row in rows})


def locate(path: str, name: str) -> str | None:
    """Where a message lies now: under the name we know, or another program renamed it (None: it is gone).
    Raises MailError."""
    if files.exists(os.path.join(path, name)):
        return name
    base = maildir.base_of(name)
    for sub in ("cur", "new"):
        for other in files.message_names(path, sub):
            if maildir.base_of(other) == base:
                return other
    return None


def rename_dirty(ledger: Ledger, opened: Index, directory: str, limit: int = 200, after: int = 0) -> int:
    """Give up to `limit` files the names that show their flags; the UID to go on after, 0 for the end.

    A file that another program renamed or removed keeps its mark: the next reading of the directory will
    find out. A disk without space leaves all as it is: the flags stand in the index.
    """
    folder = ledger.folder(opened, directory)
    path = ledger.folder_path(directory)
    rows = opened.dirty(folder, limit, after)
    done: list[Row] = []
    full = False
    if not after:
        ledger.twins.pop(directory, None)
    moving = ledger.moving[directory] = {}  # for who opens a file before the new name is told
    with ledger.own_changes(folder, "new", "cur"):
        for row in rows:
            name = proper_name(ledger, folder, path, row)
            if name == row.name:
                row.dirty = 0
                done.append(row)
                continue
            moving[row.name] = name
            for one in (row.name, name):
                ledger.around.expect(os.path.join(path, one[:3]), one[4:])
            try:
                durable.rename_noreplace(os.path.join(path, row.name), os.path.join(path, name))
            except NoSpace:
                full = True
                break
            except TemporaryFailure:
                continue
            row.name, row.dirty = name, 0
            done.append(row)
    if done:
        with opened.transaction():
            opened.set_names(folder, done)
            opened.save_folder(folder)
        ledger.tell_of(folder, renamed=[(row.uid, row.name) for row in done])
    if full or len(rows) < limit:
        if not full and not opened.dirty(folder, 1):
            ledger.dirty.discard(directory)
        return 0
    return rows[-1].uid


def proper_name(ledger: Ledger, folder: Folder, path: str, row: Row) -> str:
    """The name that shows UID and flags. Messages stay in new/ until a session has seen them (mark 2)."""
    old = maildir.parse(row.name[4:])
    keywords = len(ledger.keywords_of(folder).names)
    letters = maildir.letters_for(
        row.flags & maildir.LETTER_BITS, maildir.other_letters(old.letters, keywords)
    )
    base = old.base
    if (old.uidvalidity, old.uid) != (folder.uidvalidity, row.uid):
        try:
            status = os.lstat(os.path.join(path, row.name))
        except OSError:
            return row.name
        if status.st_nlink == 1 or base not in _twins(ledger, folder.dir, path):
            base = base_for(ledger, folder, row, row, status.st_size)
    if row.name.startswith("new/") and row.dirty != 2 and not letters:
        return f"new/{base}"
    return f"cur/{base}:2,{letters}"


def _twins(ledger: Ledger, directory: str, path: str) -> set[str]:
    """Bases that two names here have: one of them would look like another message, were its base changed.
    The directories are read once for all batches of one going through them."""
    twins = ledger.twins.get(directory)
    if twins is None:
        names = files.message_names(path, "cur") | files.message_names(path, "new")
        counts = Counter(maildir.base_of(name) for name in names)
        twins = ledger.twins[directory] = {base for base, count in counts.items() if count > 1}
    return twins


def base_for(ledger: Ledger, folder: Folder, row: Row, to: Row, size: int, *, afresh: bool = False) -> str:
    """The base name of a message, `row`, as `to` in `folder`: its EMAILID stays what it is. `afresh`: not the
    unique part that it has."""
    host = ledger.around.names.host
    if afresh:
        unique = object_ids.carrying(object_ids.email_id(row.name, row.date, row.wire), row.date, host)
    else:
        unique = object_ids.unique_for(row.name, row.date, row.wire, host)
    return maildir.with_attributes(
        unique, size=size, wire=row.wire, uidvalidity=folder.uidvalidity, uid=to.uid, saved=to.saved
    )


def take_recent(ledger: Ledger, opened: Index, directory: str, up_to: int) -> None:
    """A session has been told of everything below `up_to`: it is \\Recent no more, and leaves new/."""
    folder = ledger.folder(opened, directory)
    if folder.recent_from >= up_to:
        return
    folder.recent_from = up_to
    above = opened.rows_from(folder, up_to)
    folder.recent = above
    with opened.transaction():
        opened.set_dirty_in_new(folder)
        opened.save_folder(folder)
    ledger.dirty.add(directory)
    ledger.tell(directory, modseq=folder.modseq, uidnext=folder.uidnext, recent_from=up_to)


def raise_modseq(ledger: Ledger, opened: Index, directory: str) -> None:
    """Something else than messages has changed that clients may keep (RFC 7162, 3.2: METADATA)."""
    folder = ledger.folder(opened, directory)
    ledger.numbering.reserve(folder)
    folder.modseq += 1
    with opened.transaction():
        opened.save_folder(folder)
    ledger.tell_of(folder)


def expunged_since(ledger: Ledger, opened: Index, directory: str, modseq: int) -> Sequence[int] | None:
    return opened.expunged_since(ledger.folder(opened, directory), modseq)


def correct_size(ledger: Ledger, opened: Index, directory: str, uid: int, wire: int) -> None:
    """A recorded size proved wrong: the file was changed in place, or its name lied."""
    folder = ledger.folder(opened, directory)
    rows = opened.rows(folder, [uid])
    if not rows or rows[0].wire == wire:
        return
    folder.size += wire - rows[0].wire
    with opened.transaction():
        opened.set_wire(folder, uid, wire)
        opened.forget_rendered(folder, uid)
        opened.save_folder(folder)
        ledger.recount(opened)
    ledger.tell_of(folder, resized=(uid, wire))
