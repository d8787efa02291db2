"""[disk] The tables of the index, as the list of steps that led to them.

An index of version n has had the first n steps; a new one is of version 0 and takes them all, so that an old
index and a new one end alike. What is missing is done in one transaction when the index is opened, under
the account's lock: a kill or a power cut in the middle leaves the index of before, and the next opening
begins again. An index of a version that is not known here is left as it is.

To change the tables append a step. A step that was released is never edited. A column that is added needs a
default that is right for old rows, or NULL for "not made yet", filled at first need: a step may not take
longer than a client waits for its SELECT.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache

from mailserver.errors import TemporaryFailure
from mailserver.store.sqlite import IndexDamaged, Transaction

STEPS: list[tuple[str, ...]] = [
    (  # to version 1
        """
        CREATE TABLE folders(
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          dir TEXT NOT NULL UNIQUE,
          uidvalidity INTEGER NOT NULL,
          uidnext INTEGER NOT NULL,
          modseq INTEGER NOT NULL,
          recent_from INTEGER NOT NULL DEFAULT 1,
          messages INTEGER NOT NULL DEFAULT 0,
          unseen INTEGER NOT NULL DEFAULT 0,
          deleted INTEGER NOT NULL DEFAULT 0,
          recent INTEGER NOT NULL DEFAULT 0,
          size INTEGER NOT NULL DEFAULT 0,
          new_mtime INTEGER NOT NULL DEFAULT -1,
          new_young INTEGER NOT NULL DEFAULT 1,
          cur_mtime INTEGER NOT NULL DEFAULT -1,
          cur_young INTEGER NOT NULL DEFAULT 1,
          keywords TEXT NOT NULL DEFAULT '',
          special TEXT NOT NULL DEFAULT '')
        """,
        """
        CREATE TABLE messages(
          id INTEGER PRIMARY KEY, flags NOT NULL, modseq INTEGER NOT NULL, date INTEGER NOT NULL,
          wire INTEGER NOT NULL, dirty INTEGER NOT NULL, name TEXT NOT NULL)
        """,
        "CREATE INDEX dirty ON messages(id) WHERE dirty",
        """
        CREATE TABLE expunged(
          folder INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
          PRIMARY KEY(folder, modseq, uid)) WITHOUT ROWID
        """,
        "CREATE TABLE envelopes(id INTEGER PRIMARY KEY, value BLOB NOT NULL)",
        "CREATE TABLE structures(id INTEGER PRIMARY KEY, value BLOB NOT NULL, body BLOB NOT NULL)",
        "CREATE TABLE headers(id INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    ),
    (  # to version 2: when a message was saved in its folder (RFC 8514); before, file names told it best
        "ALTER TABLE messages ADD COLUMN saved INTEGER NOT NULL DEFAULT 0",
        """
        UPDATE messages SET saved = iif(CAST(substr(name, 5) AS INTEGER) BETWEEN 1 AND 9999999999,
          CAST(substr(name, 5) AS INTEGER), date)
        """,
    ),
    ("CREATE TABLE previews(id INTEGER PRIMARY KEY, value BLOB NOT NULL)",),  # to version 3 (RFC 8970)
    (  # to version 4: `message.digest.GROUPS`, for SEARCH, SORT and THREAD
        "CREATE TABLE dates(id INTEGER PRIMARY KEY, sent INTEGER, day INTEGER)",
        """
        CREATE TABLE subjects(
          id INTEGER PRIMARY KEY, subject TEXT, base TEXT NOT NULL, reply INTEGER NOT NULL)
        """,
        """
        CREATE TABLE senders(
          id INTEGER PRIMARY KEY, from_ TEXT, from_mailbox TEXT NOT NULL, from_name TEXT NOT NULL)
        """,
        """
        CREATE TABLE recipients(
          id INTEGER PRIMARY KEY, to_ TEXT, cc TEXT, bcc TEXT,
          to_mailbox TEXT NOT NULL, to_name TEXT NOT NULL, cc_mailbox TEXT NOT NULL)
        """,
        "CREATE TABLE threads(id INTEGER PRIMARY KEY, ids TEXT NOT NULL)",
    ),
    (  # to version 5: how far back the expunged UIDs go
        "ALTER TABLE folders ADD COLUMN floor INTEGER NOT NULL DEFAULT 1",
        """
        UPDATE folders SET floor =
          coalesce((SELECT min(modseq) - 1 FROM expunged WHERE folder = folders.id), modseq)
        """,
    ),
]
"""`STEPS[n]`: the statements that make version n + 1 of version n."""

_MODE = slice(18, 20)  # octets of a database that name its journal (SQLite's file format, 1.3.3)
_WAL = b"\x02\x02"
_LATER = 1000  # versions that a later program may have come to; a greater number is nonsense


class IndexTooNew(TemporaryFailure):
    """Written by a later version of this program; it is left alone."""


@cache
def empty() -> bytes:
    """The file of a new index: as `migrate` leaves one of version 0, in WAL mode. To write this takes a
    fraction of the time that the steps take, which sync six times, and a new account waits for it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, 0)
        image = bytearray(db.serialize())
    image[_MODE] = _WAL
    return bytes(image)


def examine(db: sqlite3.Connection, path: str) -> int:
    """The version, changing nothing. Raises IndexDamaged, IndexTooNew."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if not 0 <= version < _LATER:
        raise IndexDamaged(f"{path}: version {version}")
    if version > len(STEPS):
        raise IndexTooNew(
            cause=f"{path} has version {version}, this program knows {len(STEPS)}: run the later program"
            " again, or remove the index, which will be made anew from the mail"
        )
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise IndexDamaged(f"{path}: not an index")
    return version


def migrate(db: sqlite3.Connection, version: int) -> None:
    """From `version` to the latest: all of it or nothing."""
    if version == len(STEPS):
        return
    with Transaction(db):
        for step in STEPS[version:]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(STEPS)}")
