"""[disk] An account looked at without changing it: what its index says, against what lies in its directories.

What another program did since the directories were last read is no fault: the next opening takes it in.
Only where the index believes to know a directory as it is (`reconcile`) do missing and unknown messages
count. Files are read without the lock, so that a running server goes on.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from attrs import define, frozen

from mailserver.interfaces import Flag
from mailserver.store import files, maildir
from mailserver.store.index.database import FILE, Index, IndexDamaged, IndexTooNew
from mailserver.store.index.rows import Folder, Row
from mailserver.store.ledger import Ledger

_SEEN, _DELETED = int(Flag.SEEN), int(Flag.DELETED)


@frozen
class Fault:
    """folder: as IMAP names it, "" for the account; kind: one word for programs."""

    folder: str
    kind: str
    text: str


@define
class Summary:
    """One folder as it is. `unseen` and `octets` are those of the index where it knows the folder."""

    folder: str
    messages: int
    unseen: int
    octets: int
    uidvalidity: int
    uidnext: int
    special: str
    indexed: bool


def summaries(ledger: Ledger) -> list[Summary]:
    """All folders, INBOX first. Raises MailError, IndexDamaged."""
    found: list[Summary] = []
    with _looked_at(ledger) as opened:
        rows = {row.dir: row for row in opened.folders()} if opened is not None else {}
        for directory, name in _folders(ledger):
            uids = files.read_uids(ledger.folder_path(directory)) or files.Uids(0, 0, 0)
            row = rows.get(directory)
            if row is not None:
                counters = (row.messages, row.unseen, row.size)
                numbers = (row.uidvalidity, row.uidnext, row.special)
            else:
                counters = _counted(ledger.folder_path(directory))
                numbers = (uids.uidvalidity, uids.uidnext, uids.special)
            found.append(Summary(name, *counters, *numbers, row is not None))
    return found


def verify(ledger: Ledger, read_files: bool = True) -> tuple[list[Fault], int]:
    """What is wrong with an account, and how many messages were looked at. `read_files`: count the octets of
    every message. Raises MailError."""
    faults: list[Fault] = []
    contents: list[tuple[str, str, Row]] = []
    try:
        with _looked_at(ledger) as opened:
            if opened is None:
                return [Fault("", "index", "there is none; the next log-in makes it")], 0
            faults += _of_account(ledger, opened)
            for directory, name in _folders(ledger):
                row = opened.folder(directory)
                if row is None:
                    faults.append(Fault(name, "unknown-folder", "the index does not know it yet"))
                    continue
                folder = _Folder(ledger.folder_path(directory), name, row, opened.rows(row))
                faults += folder.faults()
                contents += [(name, folder.path, one) for one in folder.rows]
    except IndexDamaged as error:
        return [Fault("", "index", f"it is damaged: {error}")], 0
    except IndexTooNew as error:
        return [Fault("", "index", str(error.cause))], 0
    if read_files:
        for name, path, one in contents:
            faults += _of_content(name, path, one)
    return faults, len(contents)


@contextmanager
def _looked_at(ledger: Ledger) -> Iterator[Index | None]:
    """The account held, and its index as it is; None where there is none. Raises IndexDamaged."""
    with ledger.held():
        if not os.path.lexists(os.path.join(ledger.path, FILE)):
            yield None
            return
        opened = Index.open(ledger.path, True)
        try:
            yield opened
        finally:
            opened.close()


def _folders(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Directory and name."""
    names = {maildir.folder_of(directory): directory for directory in ledger.directories()}
    for name in sorted((name for name in names if name is not None), key=maildir.sort_key):
        yield names[name], name


def _counted(path: str) -> tuple[int, int, int]:
    """Messages, unseen and octets of a folder that the index does not know, by the names of its files."""
    names = files.message_names(path, "new") | files.message_names(path, "cur")
    parsed = [maildir.parse(name[4:]) for name in names]
    unseen = sum("S" not in one.letters for one in parsed)
    return len(parsed), unseen, sum(one.wire or one.size or 0 for one in parsed)


def _of_account(ledger: Ledger, opened: Index) -> Iterator[Fault]:
    by_uidvalidity: dict[int, list[str]] = defaultdict(list)
    here = dict(_folders(ledger))
    for directory, name in here.items():
        uids = files.read_uids(ledger.folder_path(directory))
        if uids is None:
            yield Fault(name, "uidvalidity", f"the file {files.UIDS} is missing or makes no sense")
        else:
            by_uidvalidity[uids.uidvalidity].append(name)
            row = opened.folder(directory)
            if row is not None and row.uidvalidity != uids.uidvalidity:
                text = f"{row.uidvalidity} in the index, {uids.uidvalidity} in its file"
                yield Fault(name, "uidvalidity", text)
            elif row is not None and row.uidnext > uids.uidnext:
                yield Fault(name, "uidnext", f"{row.uidnext} in the index, {uids.uidnext} in its file")
    for uidvalidity, names in by_uidvalidity.items():
        if len(names) > 1:
            yield Fault(names[1], "uidvalidity", f"{uidvalidity} is also that of {names[0]}")
    for row in opened.folders():
        if row.dir not in here:
            name = maildir.folder_of(row.dir) or row.dir
            yield Fault(name, "missing-folder", "its directory is gone; the index still has it")


class _Folder:
    """Rows and file names of one folder, taken under the lock."""

    def __init__(self, path: str, name: str, folder: Folder, rows: Sequence[Row]) -> None:
        self.path = path
        self.name = name
        self.folder = folder
        self.rows = rows
        mtimes = {sub: files.directory_mtime(path, sub) for sub in ("new", "cur")}
        known = {"new": folder.new_mtime, "cur": folder.cur_mtime}
        young = {"new": folder.new_young, "cur": folder.cur_young}
        self.files = files.message_names(path, "new") | files.message_names(path, "cur")
        self.current = all(mtimes[sub] == known[sub] and not young[sub] for sub in mtimes)

    def faults(self) -> Iterator[Fault]:
        bases = {maildir.base_of(name) for name in self.files}
        indexed = {maildir.base_of(row.name) for row in self.rows}
        if self.current:
            for row in self.rows:
                if maildir.base_of(row.name) not in bases:
                    yield self._fault("missing", f"UID {row.uid}: there is no file {row.name}")
            for name in sorted(self.files):
                if maildir.base_of(name) not in indexed:
                    yield self._fault("unknown", f"the index does not have {name}")
        yield from self._doubled()
        yield from self._counters()

    def _fault(self, kind: str, text: str) -> Fault:
        return Fault(self.name, kind, text)

    def _doubled(self) -> Iterator[Fault]:
        for what, values in (
            ("file name", Counter(maildir.base_of(name) for name in self.files)),
            ("message of the index", Counter(maildir.base_of(row.name) for row in self.rows)),
        ):
            for base, count in values.items():
                if count > 1:
                    yield self._fault("duplicate", f"{count} times the {what} {base}")
        uids: Mapping[int, int] = Counter(
            parsed.uid
            for parsed in (maildir.parse(name[4:]) for name in self.files)
            if parsed.uid and parsed.uidvalidity == self.folder.uidvalidity
        )
        for uid, count in uids.items():
            if count > 1:
                yield self._fault("duplicate", f"{count} files have the UID {uid}")
        last = max((row.uid for row in self.rows), default=0)
        if last >= self.folder.uidnext:
            yield self._fault(
                "uidnext", f"UID {last} is there, and {self.folder.uidnext} would be given next"
            )

    def _counters(self) -> Iterator[Fault]:
        rows, folder = self.rows, self.folder
        for what, counted, kept in (
            ("messages", len(rows), folder.messages),
            ("unseen", sum(not row.flags & _SEEN for row in rows), folder.unseen),
            ("deleted", sum(bool(row.flags & _DELETED) for row in rows), folder.deleted),
            ("octets", sum(row.wire for row in rows), folder.size),
        ):
            if counted != kept:
                yield self._fault("counters", f"{what}: {kept} in the index, {counted} counted")


def _of_content(name: str, path: str, row: Row) -> Iterator[Fault]:
    """A message's size, by its file. What has moved or gone since the lock was left is no fault."""
    full = os.path.join(path, row.name)
    try:
        octets = os.lstat(full).st_size
        wire = files.wire_size(full)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Fault(name, "unreadable", f"UID {row.uid}: {row.name}: {error.strerror}")
        return
    told = maildir.parse(row.name[4:])
    if wire != row.wire:
        yield Fault(name, "size", f"UID {row.uid}: {row.wire} octets in the index, {wire} in {row.name}")
    elif told.size not in (None, octets) or told.wire not in (None, wire):
        yield Fault(name, "size", f"UID {row.uid}: {row.name} tells another size than {octets} and {wire}")
