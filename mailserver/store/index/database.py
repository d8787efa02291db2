"""[disk] The index of one account: a SQLite database (WAL, synchronous=NORMAL) beside the mail.

A cache with memory. It can be lost and is rebuilt from the files; what must survive that (UIDVALIDITY,
UIDNEXT, MODSEQ ceilings, keywords) stands in small files of the folders (`files`). Rows of a folder are
ranges of one integer key, `folder << 32 | uid`, so every question about a mailbox is one scan of a
b-tree. Counters stand in the folder's row and are changed with what they count.

Not thread-safe: the account's lock is held around every call.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain

from attrs import define, field

from mailserver.disk import durable
from mailserver.errors import TemporaryFailure
from mailserver.store.index import rendered, schema
from mailserver.store.index.rendered import SLICE, RenderedTables
from mailserver.store.index.rows import Columns, Folder, Row
from mailserver.store.index.schema import IndexTooNew
from mailserver.store.sqlite import TOLD, IndexDamaged, Transaction

__all__ = ["DAMAGED", "FILE", "Index", "IndexDamaged", "IndexTooNew", "put_aside"]

FILE = "mailserver-index.sqlite"
DAMAGED = "mailserver-index.damaged"
EXPUNGED_KEPT = 10_000  # UIDs that are remembered for each folder at least; twice as many at most
_LOG = 4 << 20  # octets of a log that is large
_SOME = 50  # rows that are changed before the log is looked at again
_BRIEFLY, _PATIENTLY = 100, 30_000  # milliseconds to wait for others
_CHECKED = 64 << 20  # a larger database is not checked as a whole when it is opened

_TABLES = ("messages", *rendered.TABLES)


_COLUMNS = (
    "id, dir, uidvalidity, uidnext, modseq, recent_from, messages, unseen, deleted, recent, size, "
    "new_mtime, new_young, cur_mtime, cur_young, keywords, special, floor"
)
_ROW = "id, flags, modseq, date, wire, dirty, name, saved"
# Not `dir`: to set a column that an index holds, even to what it is, writes a page more.
_UPDATE = (
    f"UPDATE folders SET {', '.join(f'{name.strip()} = ?' for name in _COLUMNS.split(',')[2:])} WHERE id = ?"
)


def _flags_in(value: int | str) -> int:
    """SQLite's integers end at 63 bits; the flags of a folder with more keywords are hexadecimal text."""
    return value if isinstance(value, int) else int(value, 16)


def _flags_out(flags: int) -> int | str:
    return flags if flags < 1 << 63 else f"{flags:x}"


@define(eq=False)
class Index(RenderedTables):
    """An open database. Every method but `open` may raise IndexDamaged or a MailError."""

    _file: tuple[int, int] = field(default=(0, 0), repr=False)
    _looked: int = field(default=0, repr=False)  # rows that had been changed when `checkpoint` looked last

    @classmethod
    def open(cls, account: str, check: bool) -> Index:
        """Open or make. Raises IndexDamaged, IndexTooNew. `check`: look through the whole of it."""
        path = os.path.join(account, FILE)
        with TOLD:
            fresh = not os.path.exists(path)
            if fresh:  # not synced: what a power cut leaves of it is damaged, and made anew
                durable.close(durable.write_new(path, (schema.empty(),)))
            elif os.path.islink(path):
                raise TemporaryFailure(cause=f"{path} is a symbolic link")
            db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=_PATIENTLY / 1000
            )
            index = cls(path, db, _identity(path))
            try:
                index._prepare(check and not fresh)
            except BaseException:
                db.close()
                raise
        return index

    def _prepare(self, check: bool) -> None:
        db = self._db
        version = schema.examine(db, self.path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -4096")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # `checkpoint`
        if check and os.path.getsize(self.path) <= _CHECKED:
            answer = db.execute("PRAGMA quick_check(1)").fetchone()
            if answer != ("ok",):
                raise IndexDamaged(f"{self.path}: {answer}")
        schema.migrate(db, version)

    def replaced(self) -> bool:
        """Another process has put this database aside and made it anew."""
        with TOLD:
            return self._file != _identity(self.path)

    def version(self) -> int:
        """Another number than before: another process has committed something."""
        with TOLD:
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()

    def checkpoint(self) -> None:
        """Once the log is large it goes into the database. Not by SQLite itself, at the end of whatever
        commit it is, for this syncs; and with the first page of the next log, which is synced as well."""
        changes = self._db.total_changes
        if changes - self._looked < _SOME:
            return
        self._looked = changes
        with suppress(OSError):
            if os.stat(f"{self.path}-wal").st_size < _LOG:
                return
        with TOLD:
            self._db.execute(f"PRAGMA busy_timeout = {_BRIEFLY}")  # for a reader that is no process of ours
            try:
                busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    self._db.execute(f"PRAGMA user_version = {len(schema.STEPS)}")
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {_PATIENTLY}")

    def make_durable(self) -> None:
        """All that was committed is on the disk: for a clean stop."""
        with TOLD:
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._db.execute("PRAGMA synchronous = NORMAL")

    def transaction(self) -> Transaction:
        """Commits at the end, rolls back when left by an exception."""
        return Transaction(self._db)

    # --- folders ---------------------------------------------------------------------------------

    def folder(self, directory: str) -> Folder | None:
        with TOLD:
            row = self._db.execute(f"SELECT {_COLUMNS} FROM folders WHERE dir = ?", (directory,)).fetchone()
        return Folder(*row) if row else None

    def folders(self) -> list[Folder]:
        with TOLD:
            return [Folder(*row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM folders")]

    def add_folder(self, directory: str, uidvalidity: int, uidnext: int, modseq: int) -> Folder:
        with TOLD:
            cursor = self._db.execute(
                "INSERT INTO folders(dir, uidvalidity, uidnext, modseq, floor) VALUES (?, ?, ?, ?, ?)",
                (directory, uidvalidity, uidnext, modseq, modseq),
            )
        return Folder(int(cursor.lastrowid or 0), directory, uidvalidity, uidnext, modseq, floor=modseq)

    def save_folder(self, folder: Folder) -> None:
        f = folder
        with TOLD:
            self._db.execute(
                _UPDATE,
                (
                    *(f.uidvalidity, f.uidnext, f.modseq, f.recent_from, f.messages, f.unseen),
                    *(f.deleted, f.recent, f.size, f.new_mtime, f.new_young, f.cur_mtime, f.cur_young),
                    *(f.keywords, f.special, f.floor, f.id),
                ),
            )

    def rename_folder(self, folder: Folder, directory: str) -> None:
        folder.dir = directory
        with TOLD:
            self._db.execute("UPDATE folders SET dir = ? WHERE id = ?", (directory, folder.id))

    def remove_folder(self, folder: Folder) -> None:
        with TOLD:
            for table in _TABLES:
                self._db.execute(f"DELETE FROM {table} WHERE id >= ? AND id < ?", (folder.first, folder.last))
            self._db.execute("DELETE FROM expunged WHERE folder = ?", (folder.id,))
            self._db.execute("DELETE FROM folders WHERE id = ?", (folder.id,))

    def usage(self) -> tuple[int, int]:
        """Octets and messages of the account."""
        with TOLD:
            size, messages = self._db.execute("SELECT sum(size), sum(messages) FROM folders").fetchone()
        return size or 0, messages or 0

    # --- messages --------------------------------------------------------------------------------

    def load(self, folder: Folder) -> Columns:
        """The whole folder: some 1 µs a message."""
        span = (folder.first, folder.last)
        with TOLD:
            flat = list(
                chain.from_iterable(
                    self._db.execute(
                        "SELECT id, flags, modseq, date, wire, saved FROM messages WHERE id >= ? AND id < ?",
                        span,
                    )
                )
            )
            select = "SELECT name FROM messages WHERE id >= ? AND id < ?"
            names = [row[0] for row in self._db.execute(select, span)]
            first = folder.first
            flags = flat[1::6]
            if any(type(value) is str for value in flags):
                flags = [_flags_in(value) for value in flags]
            return Columns(
                array("Q", [key - first for key in flat[0::6]]),
                flags,
                array("Q", flat[2::6]),
                array("q", flat[3::6]),
                array("Q", flat[4::6]),
                names,
                array("q", flat[5::6]),
            )

    def rows(self, folder: Folder, uids: Sequence[int] | None = None) -> list[Row]:
        """Rows of these UIDs (ascending), or of all; what is gone is left out."""
        columns = f"SELECT {_ROW} FROM messages WHERE "
        first = folder.first
        if uids is None:
            uids = ()
            spans = [(columns + "id >= ? AND id < ?", [first, folder.last])]
            wanted = None
        elif len(uids) > SLICE and uids[-1] - uids[0] < 4 * len(uids):
            spans = [(columns + "id >= ? AND id <= ?", [first + uids[0], first + uids[-1]])]
            wanted = set(uids)
        else:
            wanted = None
            spans = []
            for start in range(0, len(uids), SLICE):
                keys = [first + uid for uid in uids[start : start + SLICE]]
                spans.append((f"{columns}id IN ({','.join('?' * len(keys))}) ORDER BY id", keys))
        found: list[Row] = []
        with TOLD:
            for query, keys in spans:
                for key, flags, *rest in self._db.execute(query, keys):
                    if wanted is None or key - first in wanted:
                        found.append(Row(key - first, _flags_in(flags), *rest))
        return found

    def rows_since(self, folder: Folder, modseq: int) -> list[Row]:
        """Messages that came or were changed after `modseq`."""
        query = f"SELECT {_ROW} FROM messages WHERE id >= ? AND id < ? AND modseq > ?"
        first = folder.first
        with TOLD:
            rows = self._db.execute(query, (first, folder.last, modseq)).fetchall()
        return [Row(key - first, _flags_in(flags), *rest) for key, flags, *rest in rows]

    def rows_from(self, folder: Folder, uid: int) -> int:
        """How many messages have this UID or a greater one."""
        query = "SELECT count(*) FROM messages WHERE id >= ? AND id < ?"
        with TOLD:
            return int(self._db.execute(query, (folder.first + uid, folder.last)).fetchone()[0])

    def dirty(self, folder: Folder, limit: int, after: int = 0) -> list[Row]:
        """Messages whose file name does not show their flags yet."""
        query = (
            f"SELECT {_ROW} FROM messages INDEXED BY dirty "
            "WHERE dirty AND id > ? AND id < ? ORDER BY id LIMIT ?"
        )
        first = folder.first
        with TOLD:
            rows = self._db.execute(query, (first + after, folder.last, limit)).fetchall()
        return [Row(key - first, _flags_in(flags), *rest) for key, flags, *rest in rows]

    def dirty_folders(self) -> set[int]:
        with TOLD:
            return {row[0] for row in self._db.execute("SELECT DISTINCT id >> 32 FROM messages WHERE dirty")}

    def uids(self, folder: Folder) -> array[int]:
        """Ascending."""
        first = folder.first
        query = "SELECT id FROM messages WHERE id >= ? AND id < ?"
        with TOLD:
            return array("Q", [row[0] - first for row in self._db.execute(query, (first, folder.last))])

    def names_after(self, folder: Folder, uid: int, limit: int) -> list[tuple[int, str]]:
        """UIDs and file names of the next messages behind a UID, ascending."""
        first = folder.first
        query = "SELECT id - ?, name FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
        with TOLD:
            return self._db.execute(query, (first, first + uid, folder.last, limit)).fetchall()

    def names(self, folder: Folder) -> dict[str, int]:
        """File name -> UID."""
        first = folder.first
        query = "SELECT name, id - ? FROM messages WHERE id >= ? AND id < ?"
        with TOLD:
            return dict(self._db.execute(query, (first, first, folder.last)))

    def insert(self, folder: Folder, rows: Iterable[Row]) -> None:
        first = folder.first
        with TOLD:
            self._db.executemany(
                f"INSERT INTO messages({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (first + r.uid, _flags_out(r.flags), r.modseq, r.date, r.wire, r.dirty, r.name, r.saved)
                    for r in rows
                ],
            )

    def set_flags(self, folder: Folder, rows: Iterable[Row]) -> None:
        first = folder.first
        with TOLD:
            self._db.executemany(
                "UPDATE messages SET flags = ?, modseq = ?, dirty = ? WHERE id = ?",
                [(_flags_out(r.flags), r.modseq, r.dirty, first + r.uid) for r in rows],
            )

    def set_names(self, folder: Folder, rows: Iterable[Row]) -> None:
        first = folder.first
        with TOLD:
            self._db.executemany(
                "UPDATE messages SET name = ?, dirty = ? WHERE id = ?",
                [(r.name, r.dirty, first + r.uid) for r in rows],
            )

    def set_dirty_in_new(self, folder: Folder) -> None:
        """All that still lies in new/ is to be moved to cur/."""
        query = "UPDATE messages SET dirty = 2 WHERE id >= ? AND id < ? AND name < 'new0' AND name >= 'new/'"
        with TOLD:
            self._db.execute(query, (folder.first, folder.last))

    def set_wire(self, folder: Folder, uid: int, wire: int) -> None:
        with TOLD:
            self._db.execute("UPDATE messages SET wire = ? WHERE id = ?", (wire, folder.first + uid))

    def expunge(self, folder: Folder, uids: Sequence[int], modseq: int) -> None:
        """Remove the rows and remember the UIDs; `save_folder` has to follow, for the floor may rise."""
        keys = [(folder.first + uid,) for uid in uids]
        with TOLD:
            for table in _TABLES:
                self._db.executemany(f"DELETE FROM {table} WHERE id = ?", keys)
            self._db.executemany(
                "INSERT OR IGNORE INTO expunged VALUES (?, ?, ?)", [(folder.id, modseq, uid) for uid in uids]
            )
            if uids:
                self._forget_expunged(folder)

    def expunged_since(self, folder: Folder, modseq: int) -> list[int] | None:
        """None where what is remembered does not go back so far."""
        if modseq < folder.floor:
            return None
        query = "SELECT uid FROM expunged WHERE folder = ? AND modseq > ?"
        with TOLD:
            return sorted(row[0] for row in self._db.execute(query, (folder.id, modseq)))

    def _forget_expunged(self, folder: Folder) -> None:
        """What went in one commit is remembered or forgotten together: all below the floor is unknown."""
        newest = (
            "SELECT modseq FROM expunged WHERE folder = ? ORDER BY modseq DESC, uid DESC LIMIT 1 OFFSET ?"
        )
        if self._db.execute(newest, (folder.id, 2 * EXPUNGED_KEPT)).fetchone() is not None:
            (folder.floor,) = self._db.execute(newest, (folder.id, EXPUNGED_KEPT)).fetchone()
            self._db.execute(
                "DELETE FROM expunged WHERE folder = ? AND modseq <= ?", (folder.id, folder.floor)
            )

    def distrust(self, folder: Folder) -> None:
        """The latest commits may be lost: give all messages the folder's MODSEQ, and forget what is expunged,
        so that clients are told everything anew; `save_folder` has to follow."""
        folder.floor = folder.modseq
        with TOLD:
            query = "UPDATE messages SET modseq = ? WHERE id >= ? AND id < ?"
            self._db.execute(query, (folder.modseq, folder.first, folder.last))
            self._db.execute("DELETE FROM expunged WHERE folder = ?", (folder.id,))


def _identity(path: str) -> tuple[int, int]:
    """Of the file that has the name now; none is (0, 0)."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino


def put_aside(account: str) -> None:
    """A damaged index is kept once, for whoever wants to know, and is out of the way."""
    path = os.path.join(account, FILE)
    for suffix in ("-wal", "-shm"):
        durable.unlink_quietly(path + suffix)
    with suppress(durable.Missing):
        durable.rename(path, os.path.join(account, DAMAGED))
