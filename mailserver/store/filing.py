"""[disk] New files into an account: deliveries and APPEND, many in one commit.

The message lies whole and synced in the spool; here it gets a UID and a name in its folder (a link, or a
rename where this is its only way), the folders are synced once, and the index is committed once. Then it is
visible. What fails is undone: a file without a row would come up as a message nobody was promised.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress

from attrs import define, field, frozen

from mailserver.disk import durable
from mailserver.disk.durable import Exists
from mailserver.disk.group_commit import Committing, Synced
from mailserver.errors import LimitReached, MailError, NoSuchMailbox, OverQuota, TemporaryFailure
from mailserver.interfaces import KEYWORD, NO_QUOTA, CopyResult, Flag, Quota
from mailserver.store import files, maildir
from mailserver.store.index.database import Index, IndexDamaged
from mailserver.store.index.rows import Folder, Row
from mailserver.store.ledger import Ledger

SYSTEM_FLAGS = {
    "\\answered": int(Flag.ANSWERED),
    "\\flagged": int(Flag.FLAGGED),
    "\\deleted": int(Flag.DELETED),
    "\\seen": int(Flag.SEEN),
    "\\draft": int(Flag.DRAFT),
}
_TRIES = 5


@frozen
class Paper:
    """A file in the spool, LF line ends. `moves`: it goes to this folder only, so it may be renamed.
    `unique`: of a copy, the part of its name that says so (`object_ids`)."""

    path: str
    size: int
    wire: int
    date: int
    flags: frozenset[str] = frozenset()
    moves: bool = False
    unique: str = ""


@define(eq=False)
class Deposit:
    """Messages for one folder: all or none. `limit`: the account's quota. `or_inbox`: what has no
    folder of that name goes to the inbox. After the commit: the folder's UIDVALIDITY and the UIDs."""

    directory: str
    papers: Sequence[Paper]
    limit: Quota = NO_QUOTA
    or_inbox: bool = False
    keywords: int | None = None  # how many different keywords the folder may have
    uidvalidity: int = 0
    uids: list[int] = field(factory=list)
    placed: list[tuple[str, Paper]] = field(factory=list)
    rows: list[Row] = field(factory=list)


def file_deposits(ledger: Ledger, opened: Index, deposits: Sequence[Deposit]) -> Committing:
    """One commit; one outcome for each deposit."""
    outcomes: list[Exception | None] = [None] * len(deposits)
    folders: dict[str, tuple[Folder, list[int]]] = {}
    used = kept = 0
    if any(deposit.limit for deposit in deposits):
        ledger.count_all(opened)
        used, kept = opened.usage()
    with ExitStack() as mtimes:
        try:
            for number, deposit in enumerate(deposits):
                try:
                    size = sum(paper.wire for paper in deposit.papers)
                    if not deposit.limit.allows(used + size, kept + len(deposit.papers)):
                        raise OverQuota
                    folder = _folder(ledger, opened, deposit, folders, mtimes)
                    folders[folder.dir][1].append(number)
                    _place(ledger, folder, deposit)
                    used += size
                    kept += len(deposit.papers)
                except MailError as error:
                    outcomes[number] = error
                    undo(deposit)
            synced = yield _folders_of(deposits)
            _judge(deposits, outcomes, synced)
        except BaseException:
            for deposit in deposits:
                undo(deposit)
            raise
    try:
        _commit(ledger, opened, deposits, outcomes, folders)
    except BaseException:
        for deposit in deposits:
            undo(deposit)
        raise
    return outcomes


def _folder(
    ledger: Ledger,
    opened: Index,
    deposit: Deposit,
    folders: dict[str, tuple[Folder, list[int]]],
    mtimes: ExitStack,
) -> Folder:
    """The folder's row, read once in a batch; the MODSEQ is the batch's."""
    if deposit.directory not in folders:
        try:
            folder = ledger.folder(opened, deposit.directory)
        except NoSuchMailbox:
            if not deposit.or_inbox or not deposit.directory:
                raise
            deposit.directory = ""
            return _folder(ledger, opened, deposit, folders, mtimes)
        ledger.numbering.reserve(folder, len(deposit.papers))
        folder.modseq += 1
        subs = {"cur" if paper.flags else "new" for paper in deposit.papers}
        mtimes.enter_context(ledger.own_changes(folder, *subs))
        folders[deposit.directory] = (folder, [])
    return folders[deposit.directory][0]


def _place(ledger: Ledger, folder: Folder, deposit: Deposit) -> None:
    ledger.numbering.reserve(folder, len(deposit.papers))
    path = ledger.folder_path(folder.dir)
    deposit.uidvalidity = folder.uidvalidity
    for paper in deposit.papers:
        flags = flag_bits(ledger, folder, paper.flags, deposit.keywords)
        uid = folder.uidnext
        name, saved = put(ledger, folder, path, paper, uid=uid, flags=flags)
        folder.uidnext += 1
        deposit.placed.append((f"{path}/{name}", paper))
        deposit.uids.append(uid)
        deposit.rows.append(Row(uid, flags, folder.modseq, paper.date, paper.wire, 0, name, saved))


def flag_bits(ledger: Ledger, folder: Folder, names: Iterable[str], limit: int | None) -> int:
    """Flags by name to bits of this folder; keywords are entered."""
    flags = 0
    for name in names:
        bit = SYSTEM_FLAGS.get(name.lower())
        if bit is None and not name.startswith("\\"):
            number = ledger.keywords_of(folder).number(name, limit)
            if number < 0:
                raise LimitReached()
            bit = 1 << (KEYWORD + number)
        flags |= bit or 0
    return flags


def put(ledger: Ledger, folder: Folder, path: str, paper: Paper, *, uid: int, flags: int) -> tuple[str, int]:
    """Give the file its name in the folder, a fresh one if the first is taken; the name, and the time that
    it tells."""
    letters = maildir.letters_for(flags & maildir.LETTER_BITS)
    for attempt in range(_TRIES):
        when = ledger.around.clock()
        if paper.unique and not attempt:
            base = maildir.with_attributes(
                paper.unique,
                size=paper.size,
                wire=paper.wire,
                uidvalidity=folder.uidvalidity,
                uid=uid,
                saved=int(when),
            )
        else:
            base = ledger.around.names.message(when, paper.size, paper.wire, folder.uidvalidity, uid)
        name = f"cur/{base}:2,{letters}" if flags else f"new/{base}"
        ledger.around.expect(f"{path}/{name[:3]}", name[4:])
        target = f"{path}/{name}"
        try:
            if paper.moves:
                durable.rename_noreplace(paper.path, target)
            else:
                link_or_copy(paper.path, target, path)
        except Exists:
            if attempt == _TRIES - 1:
                raise
        else:
            return name, int(when)
    raise TemporaryFailure(cause="no name is free")


def link_or_copy(source: str, target: str, folder: str) -> None:
    """A second name, or where the file system gives none (other device, too many links) a copy."""
    try:
        durable.link(source, target)
    except (Exists, durable.Missing):
        raise
    except TemporaryFailure as error:
        number = getattr(error.cause, "errno", None)
        if number not in durable.NO_LINK:
            raise
        copy_through_tmp(source, target, folder)


def copy_through_tmp(source: str, target: str, folder: str) -> None:
    """Durable when it returns, but for the entry of the target's directory."""
    beside = os.path.join(folder, "tmp", os.path.basename(target).partition(":")[0])
    with durable.told():
        original = files.open_message(source)
    try:
        status = os.fstat(original)
        fd = durable.write_new(beside, files.chunks_of(original))
        try:
            with suppress(OSError):  # the internal date
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            durable.sync_close(fd)
            durable.rename_noreplace(beside, target)
        except TemporaryFailure:
            durable.unlink_quietly(beside)
            raise
    finally:
        os.close(original)


def undo(deposit: Deposit) -> None:
    """Take the files out again; what was renamed goes back to the spool, whose owner removes it."""
    for path, paper in deposit.placed:
        if paper.moves:
            with suppress(TemporaryFailure):
                durable.rename(path, paper.path)
        else:
            durable.unlink_quietly(path)
    deposit.placed.clear()
    deposit.rows.clear()
    deposit.uids.clear()


def _folders_of(deposits: Iterable[Deposit]) -> list[str]:
    return sorted({os.path.dirname(path) for deposit in deposits for path, _ in deposit.placed})


def _judge(deposits: Sequence[Deposit], outcomes: list[Exception | None], synced: Synced) -> None:
    """A folder that could not be synced is the failure of everything placed there."""
    for number, deposit in enumerate(deposits):
        for path in _folders_of((deposit,)):
            outcomes[number] = outcomes[number] or synced[path]
        if outcomes[number] is not None:
            undo(deposit)


def _commit(
    ledger: Ledger,
    opened: Index,
    deposits: Sequence[Deposit],
    outcomes: list[Exception | None],
    folders: dict[str, tuple[Folder, list[int]]],
) -> None:
    added: list[tuple[Folder, list[Row]]] = []
    for folder, numbers in folders.values():
        rows = [row for number in numbers if outcomes[number] is None for row in deposits[number].rows]
        for row in rows:
            folder.count(row, 1)
        added.append((folder, rows))
    with opened.transaction():
        for folder, rows in added:
            ledger.save_keywords(folder)
            opened.insert(folder, rows)
            opened.save_folder(folder)
    ledger.add_usage(row for _, rows in added for row in rows)
    for folder, rows in added:
        if rows:
            ledger.tell_of(folder, added=rows)


class AccountPlace:
    """An account as the group writer sees it; one object for each account."""

    def __init__(self, ledger: Ledger, prepare: Callable[[Ledger], None]) -> None:
        self.ledger = ledger
        self._prepare = prepare
        self.order = ledger.path
        self.ready = False

    def make_ready(self) -> None:
        """[thread] The account's directories, once."""
        if not self.ready:
            self._prepare(self.ledger)
            self.ready = True

    def commit(self, parts: Sequence[Deposit]) -> Committing:
        """For the group writer; the account is held while its folders are synced."""
        self.make_ready()
        ledger = self.ledger
        with ledger.held():
            try:
                return (yield from file_deposits(ledger, ledger.opened(), parts))
            except IndexDamaged as error:
                ledger.rebuild(error)
            try:
                return (yield from file_deposits(ledger, ledger.opened(), parts))
            except IndexDamaged as error:
                raise TemporaryFailure(imap="CORRUPTION", cause=error) from error


@define(eq=False)
class FolderJob:
    """For the group writer: papers for one folder, all or none. `source`: UIDs of what they are copies of."""

    place: AccountPlace
    deposit: Deposit
    papers: Sequence[Paper] = field(factory=tuple, kw_only=True)
    source: Sequence[int] = field(factory=tuple, kw_only=True)

    def write(self) -> Sequence[int]:
        """The files are there and durable."""
        return ()

    def parts(self) -> Sequence[tuple[AccountPlace, Deposit]]:
        self.deposit.papers = self.papers
        return ((self.place, self.deposit),)

    def finish(self, outcomes: Sequence[Exception | None]) -> CopyResult:
        if outcomes[0] is not None:
            self.abandon()
            raise outcomes[0]
        return CopyResult(self.deposit.uidvalidity, tuple(self.source), tuple(self.deposit.uids))

    def abandon(self) -> None:
        for paper in self.papers:
            durable.unlink_quietly(paper.path)
