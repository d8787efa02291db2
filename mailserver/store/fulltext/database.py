"""[disk] What the messages of one account say, in a database of its own: `mailserver-search.sqlite`.

A cache: it can be lost or thrown away at any time, and is made again from the messages. Whoever searches
gets exactly what reading every message would give; a message that is not in here yet is read.

    texts      different contents, by a digest of the message's file: a copy is no other text
    places     which text a message (UIDVALIDITY, UID) has: a message never changes (RFC 3501, 2.3.1.1), a
               folder keeps its UIDVALIDITY when it is renamed or the index is lost. Text 0: to be read
    loose      the words of texts that came lately
    books      `wordbook`s of some hundred texts with ascending numbers; `texts` says which

Rows of `places` whose messages are gone do no harm; `keep_only` takes them out, with the texts that no
message has any more. WAL, synchronous=NORMAL; not thread-safe, jobs of one account run one after the other.
Other processes may have the same file open.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from attrs import define, field, frozen

from mailserver.disk import durable
from mailserver.errors import TemporaryFailure
from mailserver.interfaces import TextFound
from mailserver.message.words import EDITION, pieces
from mailserver.store.fulltext import wordbook
from mailserver.store.fulltext.wordbook import Book, BookDamaged, Lists
from mailserver.store.sqlite import TOLD, IndexDamaged, Transaction

FILE = "mailserver-search.sqlite"
VERSION = 1
UNREAD = 0  # the text of a message that must be read when something is searched for
_LOOSE = 4 << 20  # octets of words that are made a book, also where they are of few messages
_ROWS = 5000  # looked at in one piece
_CHECKED = 64 << 20

_SCHEMA = f"""
CREATE TABLE edition(value TEXT NOT NULL);
CREATE TABLE texts(id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE);
CREATE TABLE places(
  uidvalidity INTEGER NOT NULL, uid INTEGER NOT NULL, text INTEGER NOT NULL,
  PRIMARY KEY(uidvalidity, uid)) WITHOUT ROWID;
CREATE TABLE loose(id INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE books(id INTEGER PRIMARY KEY, texts BLOB NOT NULL, words BLOB NOT NULL, lists BLOB NOT NULL);
PRAGMA user_version = {VERSION};
"""


@frozen
class Entry:
    """A message for the index. words: of header and body, joined; None where the digest is known, or where
    the message is to be read each time (then the digest is None as well)."""

    uid: int
    digest: bytes | None = None
    words: tuple[bytes, bytes] | None = None


@define(eq=False)
class FullText:
    """An open database. Every method but `open` may raise IndexDamaged or a MailError."""

    path: str
    _db: sqlite3.Connection = field(repr=False)

    @classmethod
    def open(cls, account: str) -> FullText:
        """Open or make. Raises IndexDamaged: then `discard` it and open it again."""
        path = os.path.join(account, FILE)
        with TOLD:
            fresh = not os.path.exists(path)
            if fresh:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            elif os.path.islink(path):
                raise TemporaryFailure(cause=f"{path} is a symbolic link")
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
            opened = cls(path, db)
            try:
                opened._prepare()
            except BaseException:
                db.close()
                raise
        return opened

    def _prepare(self) -> None:
        db = self._db
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            db.execute("PRAGMA journal_mode = WAL")
            with self.transaction():
                if db.execute("PRAGMA user_version").fetchone()[0] == 0:  # no other process was quicker
                    for statement in _SCHEMA.split(";\n"):
                        db.execute(statement)
                    db.execute("INSERT INTO edition VALUES (?)", (EDITION,))
            version = VERSION
        if version != VERSION or db.execute("SELECT value FROM edition").fetchall() != [(EDITION,)]:
            raise IndexDamaged(f"{self.path}: of another version")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -2048")
        if os.path.getsize(self.path) <= _CHECKED:
            answer = db.execute("PRAGMA quick_check(1)").fetchone()
            if answer != ("ok",):
                raise IndexDamaged(f"{self.path}: {answer}")

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()

    def transaction(self) -> Transaction:
        return Transaction(self._db)

    def size(self) -> int:
        """Octets of the file."""
        with TOLD:
            query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            return int(self._db.execute(query).fetchone()[0])

    # --- filling ---------------------------------------------------------------------------------

    def absent(self, uidvalidity: int, uids: Sequence[int]) -> set[int]:
        """Those of a folder's messages (ascending) that are not in here."""
        if not uids:
            return set()
        query = "SELECT uid FROM places WHERE uidvalidity = ? AND uid >= ? AND uid <= ?"
        with TOLD:
            rows = self._db.execute(query, (uidvalidity, uids[0], uids[-1])).fetchall()
        return set(uids).difference([row[0] for row in rows])

    def knows(self, digest: bytes) -> bool:
        with TOLD:
            found = self._db.execute("SELECT 1 FROM texts WHERE digest = ?", (digest,)).fetchone()
        return found is not None

    def enter(self, uidvalidity: int, entries: Iterable[Entry]) -> None:
        """Within a transaction: no other process is at the same messages."""
        with TOLD:
            for entry in entries:
                self._db.execute(
                    "INSERT OR REPLACE INTO places VALUES (?, ?, ?)",
                    (uidvalidity, entry.uid, self._text(entry)),
                )
            self._bind()

    def _text(self, entry: Entry) -> int:
        if entry.digest is None:
            return UNREAD
        found = self._db.execute("SELECT id FROM texts WHERE digest = ?", (entry.digest,)).fetchone()
        if found is not None:
            return int(found[0])
        if entry.words is None:  # it was known a moment ago: another process took it out
            return UNREAD
        number = int(self._db.execute("INSERT INTO texts(digest) VALUES (?)", (entry.digest,)).lastrowid or 0)
        self._db.execute("INSERT INTO loose VALUES (?, ?, ?)", (number, *entry.words))
        return number

    def _bind(self) -> None:
        """Make a book of loose words where there are enough."""
        query = "SELECT count(*), sum(length(header) + length(body)) FROM loose"
        while True:
            count, octets = self._db.execute(query).fetchone()
            if count < wordbook.MESSAGES and (octets or 0) < _LOOSE:
                return
            rows: list[tuple[int, bytes, bytes]] = []
            size = 0
            for row in self._db.execute(
                "SELECT id, header, body FROM loose ORDER BY id LIMIT ?", (wordbook.MESSAGES,)
            ):
                rows.append(row)
                size += len(row[1]) + len(row[2])
                if size >= _LOOSE:
                    break
            book = wordbook.make([row[1:] for row in rows])
            texts = array("Q", [row[0] for row in rows])
            self._db.execute(
                "INSERT OR REPLACE INTO books VALUES (?, ?, ?, ?)",
                (texts[0], texts.tobytes(), book.text, book.lists),
            )
            self._db.executemany("DELETE FROM loose WHERE id = ?", [(number,) for number in texts])

    # --- what is gone ----------------------------------------------------------------------------

    def keep_only(self, folders: Mapping[int, Sequence[int]]) -> None:
        """Forget all but these messages: UIDs (ascending) by UIDVALIDITY."""
        db = self._db
        with self.transaction(), TOLD:
            removed = 0
            for (uidvalidity,) in db.execute("SELECT DISTINCT uidvalidity FROM places").fetchall():
                removed += self._keep_in(uidvalidity, folders.get(uidvalidity, ()))
            if removed:
                self._forget_texts()

    def _keep_in(self, uidvalidity: int, uids: Sequence[int]) -> int:
        """How many messages of the folder had to go."""
        query = "SELECT uid FROM places WHERE uidvalidity = ? AND uid > ? ORDER BY uid LIMIT ?"
        removed = last = 0
        while here := self._db.execute(query, (uidvalidity, last, _ROWS)).fetchall():
            first, last = here[0][0], here[-1][0]
            kept = set(uids[bisect_left(uids, first) : bisect_right(uids, last)])
            gone = [(uidvalidity, uid) for (uid,) in here if uid not in kept]
            self._db.executemany("DELETE FROM places WHERE uidvalidity = ? AND uid = ?", gone)
            removed += len(gone)
        return removed

    def _forget_texts(self) -> None:
        """Texts that no message has, and books of which more than half has gone."""
        db = self._db
        db.execute("DELETE FROM texts WHERE id NOT IN (SELECT text FROM places)")
        db.execute("DELETE FROM loose WHERE id NOT IN (SELECT id FROM texts)")
        alive = {row[0] for row in db.execute("SELECT id FROM texts")}
        for number, blob in db.execute("SELECT id, texts FROM books").fetchall():
            texts = _numbers(blob)
            left = alive.intersection(texts)
            if 2 * len(left) >= len(texts):
                continue
            if left:
                words, lists = db.execute("SELECT words, lists FROM books WHERE id = ?", (number,)).fetchone()
                every = zip(texts, wordbook.lists_of(Book(words, lists), len(texts)), strict=True)
                db.executemany(
                    "INSERT INTO loose VALUES (?, ?, ?)",
                    [(text, *both) for text, both in every if text in left],
                )
            db.execute("DELETE FROM books WHERE id = ?", (number,))
        self._bind()

    # --- searching -------------------------------------------------------------------------------

    def find(self, uidvalidity: int, uids: Sequence[int], text: str, header: bool) -> TextFound:
        """Which of these messages (ascending) have a text; `header`: in the header or the body (TEXT), else
        in the body (BODY)."""
        wanted, certain = pieces(text)
        if not wanted:
            return TextFound([], list(uids))
        with TOLD:
            self._db.execute("BEGIN")  # one state of the database for all questions
            try:
                first, last = self._db.execute(
                    "SELECT min(text), max(text) FROM places WHERE uidvalidity = ? AND text > 0",
                    (uidvalidity,),
                ).fetchone()
                texts: set[int] = set()
                if first is not None:
                    texts = self._in_books(wanted, header, first, last)
                    texts |= self._in_loose(wanted, header, first, last)
                return self._sort(uidvalidity, uids, texts, certain)
            finally:
                self._db.execute("ROLLBACK")

    def _in_books(self, wanted: Sequence[bytes], header: bool, first: int, last: int) -> set[int]:
        found: set[int] = set()
        for number, blob in self._db.execute("SELECT id, texts FROM books WHERE id <= ?", (last,)).fetchall():
            texts = _numbers(blob)
            if texts[-1] < first:
                continue
            row = self._db.execute("SELECT words FROM books WHERE id = ?", (number,)).fetchone()
            if row is None or not all(word in row[0] for word in wanted):
                continue
            words = row[0]
            row = self._db.execute("SELECT lists FROM books WHERE id = ?", (number,)).fetchone()
            lists = Lists(row[0] if row else b"", len(words))
            places = set.intersection(*(lists.finding(words, word) for word in wanted))
            if max(places, default=0) >> 1 >= len(texts):
                raise BookDamaged("lists of no text")
            found.update(texts[place >> 1] for place in places if header or place & 1)
        return found

    def _in_loose(self, wanted: Sequence[bytes], header: bool, first: int, last: int) -> set[int]:
        rows = self._db.execute("SELECT id, header, body FROM loose WHERE id >= ? AND id <= ?", (first, last))
        return {
            number
            for number, head, body in rows
            if all(word in body for word in wanted) or (header and all(word in head for word in wanted))
        }

    def _sort(self, uidvalidity: int, uids: Sequence[int], texts: set[int], certain: bool) -> TextFound:
        """What is found, and what is not in here or not certain."""
        query = "SELECT uid, text FROM places WHERE uidvalidity = ? AND uid >= ? AND uid <= ?"
        rows: Iterator[tuple[int, int]] = iter(())
        if uids:
            rows = self._db.execute(query, (uidvalidity, uids[0], uids[-1]))
        placed: set[int] = set()
        hits: set[int] = set()
        while part := list(islice(rows, _ROWS)):
            placed.update([uid for uid, text in part if text])
            hits.update([uid for uid, text in part if text in texts])
        if certain:
            return TextFound([uid for uid in uids if uid in hits], [uid for uid in uids if uid not in placed])
        return TextFound([], [uid for uid in uids if uid in hits or uid not in placed])


def _numbers(blob: bytes) -> array[int]:
    numbers = array("Q")
    numbers.frombytes(blob)
    return numbers


def discard(account: str) -> None:
    """Remove the file: it is damaged, of another version, or not wanted any more."""
    for suffix in ("", "-wal", "-shm"):
        durable.unlink(os.path.join(account, FILE + suffix))
