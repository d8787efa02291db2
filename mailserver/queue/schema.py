"""[disk] queue_dir/queue.sqlite: its tables, and how it is opened and brought up to date.

WAL, synchronous=FULL: a commit is on the disk. The server and the command-line tools open it side by side;
each change is one transaction. Recipients under way are known to the server alone (table `temp.active` of
its connection), so a crash leaves nothing that would have to be unlocked.

    state of a recipient   0 waiting   1 delivered   2 failed   3 expired   4 held
    a message leaves the tables with its last recipient in state 0 or 4
    sender of a recipient  who has a turn of his own (`values.sender_of`); senders.messages: how many he has
    waits_since            of a recipient, what is late is counted from then: received_at, or release_at
    deadline               when the message comes back or its sender is told; NULL: never, or that was done
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "queue.sqlite"
BUSY_SECONDS = 20.0

_FIRST = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    file TEXT NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, wire_size INTEGER NOT NULL,
    eight_bit INTEGER NOT NULL, checksum INTEGER NOT NULL,
    reverse_path TEXT NOT NULL, helo TEXT NOT NULL, user TEXT NOT NULL,
    ip TEXT NOT NULL, port INTEGER NOT NULL, tls TEXT NOT NULL, protocol TEXT NOT NULL,
    received_at REAL NOT NULL, smtputf8 INTEGER NOT NULL, body_type TEXT NOT NULL,
    ret TEXT NOT NULL, envid TEXT NOT NULL
);
CREATE INDEX messages_file ON messages (file);
CREATE INDEX messages_received ON messages (received_at);
CREATE TABLE recipients (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message INTEGER NOT NULL REFERENCES messages (id),
    address TEXT NOT NULL, target TEXT NOT NULL, user TEXT NOT NULL, domain TEXT NOT NULL,
    folder TEXT NOT NULL, notify TEXT NOT NULL, orcpt TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL,
    first_attempt REAL NOT NULL DEFAULT 0, last_attempt REAL NOT NULL DEFAULT 0,
    code INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    host TEXT NOT NULL DEFAULT '', warned INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX recipients_message ON recipients (message);
CREATE INDEX recipients_due ON recipients (domain, next_try) WHERE state = 0;
"""
SENDER = "CASE WHEN user != '' THEN user ELSE reverse_path END"  # of a message
_SENDERS = f"""
ALTER TABLE recipients ADD COLUMN sender TEXT NOT NULL DEFAULT '';
UPDATE recipients SET sender = (SELECT {SENDER} FROM messages AS m WHERE m.id = recipients.message);
DROP INDEX recipients_due;
CREATE INDEX recipients_due ON recipients (domain, sender, next_try) WHERE state = 0;
CREATE TABLE senders (sender TEXT PRIMARY KEY, messages INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO senders SELECT {SENDER} AS sender, count(*) FROM messages GROUP BY 1;
"""
_REQUIRE_TLS = "ALTER TABLE messages ADD COLUMN require_tls INTEGER"  # NULL, 0 or 1 (RFC 8689)
_HOLD = """
ALTER TABLE messages ADD COLUMN release_at REAL NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN hold TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN waits_since REAL NOT NULL DEFAULT 0;
UPDATE messages SET waits_since = received_at;
DROP INDEX messages_received;
CREATE INDEX messages_waiting ON messages (waits_since)
"""  # RFC 4865
_AGE = """
ALTER TABLE recipients ADD COLUMN waits_since REAL NOT NULL DEFAULT 0;
UPDATE recipients SET waits_since = (SELECT waits_since FROM messages AS m WHERE m.id = recipients.message);
DROP INDEX messages_waiting;
ALTER TABLE messages DROP COLUMN waits_since;
CREATE INDEX recipients_waiting ON recipients (warned, waits_since) WHERE state = 0
"""
_DELIVER_BY = """
ALTER TABLE messages ADD COLUMN deliver_by REAL;
ALTER TABLE messages ADD COLUMN by TEXT NOT NULL DEFAULT '';
ALTER TABLE recipients ADD COLUMN deadline REAL;
CREATE INDEX recipients_deadline ON recipients (deadline) WHERE deadline IS NOT NULL AND state = 0
"""  # RFC 2852
_PRIORITY = """
ALTER TABLE messages ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipients ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
DROP INDEX recipients_due;
CREATE INDEX recipients_due ON recipients (domain, sender, priority, next_try) WHERE state = 0
"""  # RFC 6710
_STEPS = (_FIRST, _SENDERS, _REQUIRE_TLS, _HOLD, _AGE, _DELIVER_BY, _PRIORITY)  # from one version to the next
VERSION = len(_STEPS)


class DatabaseDamaged(OSError):
    """queue.sqlite cannot be used as it is. An OSError, as all that keeps the spool from being opened."""


def connect(queue_dir: Path, *, create: bool = True) -> tuple[sqlite3.Connection, bool]:
    """The database, and whether it was just made. Raises DatabaseDamaged,
    FileNotFoundError (not `create`)."""
    path = queue_dir / NAME
    fresh = not path.exists() or path.stat().st_size == 0
    if fresh and not create:
        raise FileNotFoundError(path)
    try:
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise DatabaseDamaged(f"{path}: {error}") from error
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("PRAGMA foreign_keys = OFF")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        fresh = fresh or version == 0
        if version > VERSION:
            raise DatabaseDamaged(f"{path} is of version {version}, this program knows {VERSION}")
        if version < VERSION:
            _bring_up_to_date(database)
        database.execute("CREATE TEMP TABLE active (id INTEGER PRIMARY KEY)")
    except sqlite3.Error as error:
        database.close()
        raise DatabaseDamaged(f"{path}: {error}") from error
    except BaseException:
        database.close()
        raise
    return database, fresh


def _bring_up_to_date(database: sqlite3.Connection) -> None:
    """All steps that are missing, or none; two processes may come here at once."""
    with transaction(database):
        version = database.execute("PRAGMA user_version").fetchone()[0]
        for step in _STEPS[version:]:
            for statement in step.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, against other writers too."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # SQLite has rolled back by itself where the disk failed
            database.execute("ROLLBACK")
        raise
    try:
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
