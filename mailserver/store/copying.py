"""[disk] COPY and MOVE within an account: links and renames, no byte is copied.

All or none (RFC 3501, 6.4.7): the files of a copy that fails are taken out again. A moved file has one name
at every moment (RFC 6851, 4.4: never fewer than one copy); both folders are changed in one commit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mailserver.disk import durable
from mailserver.disk.durable import Exists, Missing
from mailserver.errors import MessageGone, OverQuota, TemporaryFailure
from mailserver.interfaces import KEYWORD, NO_QUOTA, CopyResult, Count, IMailboxListener, Quota
from mailserver.store import maildir
from mailserver.store.filing import link_or_copy
from mailserver.store.index.database import Index
from mailserver.store.index.rows import Folder, Row
from mailserver.store.ledger import Ledger
from mailserver.store.operations import base_for, locate


def copy(
    ledger: Ledger,
    opened: Index,
    directory: str,
    uids: Sequence[int],
    *,
    target: str,
    limit: Quota = NO_QUOTA,
    move: bool = False,
    by: IMailboxListener | None = None,
    told: Count | None = None,
) -> CopyResult:
    """Raises NoSuchMailbox for the target, OverQuota, MessageGone where a file has vanished. told: is told
    how many messages have their new files."""
    source = ledger.folder(opened, directory)
    into = source if target == directory else ledger.folder(opened, target)
    rows = opened.rows(source, uids)
    if not rows:
        return CopyResult(into.uidvalidity, (), ())
    if limit and not move:
        ledger.count_all(opened)
        used, kept = opened.usage()
        if not limit.allows(used + sum(row.wire for row in rows), kept + len(rows)):
            raise OverQuota
    ledger.numbering.reserve(into, len(rows))
    into.modseq += 1
    copies = _place_all(ledger, source, into, rows, move=move, told=told or _nobody)
    gone = [row.uid for row in rows] if move else []
    try:
        _count(ledger, source, into, rows if move else (), copies)
        ledger.save_keywords(into)
        with opened.transaction():
            opened.insert(into, copies)
            if gone:
                opened.expunge(source, gone, source.modseq)
                opened.save_folder(source)
            opened.save_folder(into)
            ledger.recount(opened)
    except BaseException:
        _undo(ledger, source, into, list(zip(rows, copies, strict=True)), move)
        raise
    if into is source:  # one change for one commit: between two, another process may make a commit of its own
        ledger.tell_of(into, added=copies, removed=gone, by=by)
    else:
        ledger.tell_of(into, added=copies)
        if gone:
            ledger.tell_of(source, removed=gone, by=by)
    return CopyResult(into.uidvalidity, tuple(r.uid for r in rows), tuple(r.uid for r in copies))


def _count(ledger: Ledger, source: Folder, into: Folder, gone: Sequence[Row], copies: Sequence[Row]) -> None:
    """Into the rows of the folders."""
    for row in copies:
        into.count(row, 1)
    into.uidnext += len(copies)
    for row in gone:
        source.count(row, -1)
    if gone and into is not source:
        ledger.numbering.reserve(source)
        source.modseq += 1


def _nobody(count: int) -> None:
    """Wants to know."""


def _place_all(
    ledger: Ledger, source: Folder, into: Folder, rows: Sequence[Row], *, move: bool, told: Count
) -> list[Row]:
    """All files under their new names, durable; on failure none."""
    here, there = ledger.folder_path(source.dir), ledger.folder_path(into.dir)
    translate = _Translation(ledger, source, into)
    now = int(ledger.around.clock())
    placed: list[tuple[Row, Row]] = []
    try:
        with ledger.own_changes(into, "cur"), ledger.own_changes(source, "new", "cur"):
            for number, row in enumerate(rows):
                flags = translate.flags(row.flags)
                copied = Row(into.uidnext + number, flags, into.modseq, row.date, row.wire, 0, "", now)
                copied.name = _place(ledger, source, into, row, copied, move=move)
                placed.append((row, copied))
                told(len(placed))
            durable.sync_dir(os.path.join(there, "cur"))
            if move and into is not source:
                for sub in {row.name[:3] for row in rows}:
                    durable.sync_dir(os.path.join(here, sub))
    except BaseException:
        _undo(ledger, source, into, placed, move)
        raise
    return [copied for _, copied in placed]


def _place(ledger: Ledger, source: Folder, into: Folder, row: Row, copied: Row, *, move: bool) -> str:
    here, there = ledger.folder_path(source.dir), ledger.folder_path(into.dir)
    old = maildir.parse(row.name[4:])
    letters = maildir.letters_for(copied.flags & maildir.LETTER_BITS)
    for attempt in range(5):
        name = row.name
        size = old.size if old.size is not None else _size(os.path.join(here, name))
        base = base_for(ledger, into, row, copied, size, afresh=attempt > 0)
        target = f"cur/{base}:2,{letters}"
        ledger.around.expect(os.path.join(there, "cur"), target[4:])
        if move:
            ledger.around.expect(os.path.join(here, name[:3]), name[4:])
        try:
            if move:
                durable.rename_noreplace(os.path.join(here, name), os.path.join(there, target))
            else:
                link_or_copy(os.path.join(here, name), os.path.join(there, target), there)
        except Exists:
            continue
        except Missing as error:
            found = locate(here, name)
            if found is None or found == name:
                raise MessageGone() from error
            row.name = found
            continue
        return target
    raise TemporaryFailure(cause="no name is free")


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0  # the link that follows will tell


def _undo(
    ledger: Ledger, source: Folder, into: Folder, placed: Sequence[tuple[Row, Row]], move: bool
) -> None:
    here, there = ledger.folder_path(source.dir), ledger.folder_path(into.dir)
    for row, copied in placed:
        path = os.path.join(there, copied.name)
        if move:
            try:
                durable.rename_noreplace(path, os.path.join(here, row.name))
            except TemporaryFailure as error:
                ledger.log.error("{path} cannot go back: {error}", path=path, error=error.cause)
        else:
            durable.unlink_quietly(path)


class _Translation:
    """Keyword bits of one folder to those of another; a keyword is entered there when it is met."""

    def __init__(self, ledger: Ledger, source: Folder, into: Folder) -> None:
        self._same = source is into
        self._from = ledger.keywords_of(source).names
        self._into = ledger.keywords_of(into)
        self._done: dict[int, int] = {}

    def flags(self, flags: int) -> int:
        high = flags >> KEYWORD
        if not high or self._same:
            return flags
        if high not in self._done:
            bits = 0
            for number, name in enumerate(self._from):
                if high >> number & 1:
                    bits |= 1 << self._into.number(name, None)
            self._done[high] = bits << KEYWORD
        return flags & ((1 << KEYWORD) - 1) | self._done[high]
