"""[disk] What was brought in, so that an import that was cut off goes on, and one that is run again only
takes what is new.

One SQLite database for each account, `data_dir/imports/USER.sqlite`. Before a batch is filed, its keys and
the digests of its messages are noted together with the folder's UIDNEXT; after it, the keys as done, in one
transaction. What a crash leaves in between is looked for in the folder, from that UID on: so nothing comes
twice and nothing is left out. A lock keeps a second import into the account away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from mailserver.disk import durable
from mailserver.transfer.values import Source, SourceError

_TABLES = """
CREATE TABLE IF NOT EXISTS sources(id INTEGER PRIMARY KEY, kind TEXT, place TEXT, UNIQUE(kind, place));
CREATE TABLE IF NOT EXISTS done(source INTEGER, origin TEXT, folder TEXT, key TEXT,
    PRIMARY KEY(source, origin, folder, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending(id INTEGER PRIMARY KEY, source INTEGER, origin TEXT, folder TEXT,
    uidvalidity INTEGER, uidnext INTEGER, digests TEXT);
"""


@frozen
class Pending:
    """A batch that was begun: digest by key."""

    number: int
    origin: str
    folder: str
    uidvalidity: int
    uidnext: int
    digests: Mapping[str, str]


def digest(data: bytes) -> str:
    """Names a message by its content; LF line ends."""
    return hashlib.sha256(data).hexdigest()


class Journal:
    """`open` first, and `close`. A source is told by `begin`."""

    def __init__(self, data_dir: Path, user: str) -> None:
        self.path = data_dir / "imports" / f"{quote(user, safe='@+-_.')}.sqlite"
        self._db: sqlite3.Connection | None = None
        self._lock = -1
        self._source = 0

    def open(self) -> None:
        """Raises SourceError where another import runs; MailError."""
        durable.make_dirs(str(self.path.parent))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SourceError("another import into this account is running") from None
        self._db = sqlite3.connect(self.path, isolation_level=None)
        os.chmod(self.path, 0o600)
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def db(self) -> sqlite3.Connection:
        assert self._db is not None
        return self._db

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # --- what is asked ----------------------------------------------------------------------------

    def begin(self, source: Source, *, again: bool = False) -> None:
        """What follows is about this source. again: forget what was brought in from it."""
        key = (source.kind, source.place)
        with self._transaction():
            self.db.execute("INSERT OR IGNORE INTO sources(kind, place) VALUES (?, ?)", key)
            row = self.db.execute("SELECT id FROM sources WHERE kind = ? AND place = ?", key).fetchone()
            self._source = int(row[0])
            if again:
                for table in ("done", "pending"):
                    self.db.execute(f"DELETE FROM {table} WHERE source = ?", (self._source,))

    def done(self, origin: str, folder: str) -> set[str]:
        """Keys of what was brought in from one folder of the source into one of the account."""
        select = "SELECT key FROM done WHERE source = ? AND origin = ? AND folder = ?"
        return {row[0] for row in self.db.execute(select, (self._source, origin, folder))}

    def pending(self) -> list[Pending]:
        """Batches of this source that were begun, and of which nobody knows what became."""
        select = "SELECT id, origin, folder, uidvalidity, uidnext, digests FROM pending WHERE source = ?"
        rows = self.db.execute(select, (self._source,)).fetchall()
        return [
            Pending(number, origin, folder, uidvalidity, uidnext, json.loads(digests))
            for number, origin, folder, uidvalidity, uidnext, digests in rows
        ]

    # --- what is told -----------------------------------------------------------------------------

    def intend(
        self, origin: str, folder: str, uidvalidity: int, uidnext: int, digests: Mapping[str, str]
    ) -> Pending:
        """A batch is about to be filed. Durable when it returns."""
        with self._transaction():
            cursor = self.db.execute(
                "INSERT INTO pending(source, origin, folder, uidvalidity, uidnext, digests) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (self._source, origin, folder, uidvalidity, uidnext, json.dumps(dict(digests))),
            )
        return Pending(int(cursor.lastrowid or 0), origin, folder, uidvalidity, uidnext, digests)

    def settle(self, pending: Pending, keys: Sequence[str]) -> None:
        """These of a batch were filed, the others were not."""
        rows = [(self._source, pending.origin, pending.folder, key) for key in keys]
        with self._transaction():
            self.db.executemany("INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)", rows)
            self.db.execute("DELETE FROM pending WHERE id = ?", (pending.number,))
