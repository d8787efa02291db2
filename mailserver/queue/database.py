"""[disk] queue_dir/queue.sqlite: one row a message, one row a recipient.

WAL, synchronous=FULL: a commit is on the disk. The server and the command-line tools open it side by side;
each change is one transaction. Recipients under way are known to the server alone (table `temp.active` of
its connection), so a crash leaves nothing that would have to be unlocked.

    state of a recipient   0 waiting   1 delivered   2 failed   3 expired   4 held
    a message leaves the tables with its last recipient in state 0 or 4
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mailserver.interfaces import Envelope, Peer, Target
from mailserver.queue.values import (
    NewMessage,
    Place,
    QueuedMessage,
    QueuedRecipient,
    State,
    Verdict,
)

NAME = "queue.sqlite"
VERSION = 1
BUSY_SECONDS = 20.0

_SCHEMA = """
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
_MESSAGE = """INSERT INTO messages (name, file, offset, size, wire_size, eight_bit, checksum, reverse_path,
    helo, user, ip, port, tls, protocol, received_at, smtputf8, body_type, ret, envid)
    VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_RECIPIENT = """INSERT INTO recipients (message, address, target, user, domain, folder, notify, orcpt,
    next_try) VALUES (?,?,?,?,?,?,?,?,?)"""
_VERDICT = """UPDATE recipients SET state = ?, attempts = attempts + ?, next_try = ?, code = ?, status = ?,
    reason = ?, host = ?, warned = max(warned, ?), last_attempt = CASE WHEN ? THEN ? ELSE last_attempt END,
    first_attempt = CASE WHEN ? AND first_attempt = 0 THEN ? ELSE first_attempt END
    WHERE id = ? AND state IN (0, 4)"""
_IDLE = "NOT EXISTS (SELECT 1 FROM temp.active WHERE active.id = r.id)"


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
        if version == 0:
            fresh = True
            with transaction(database):
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise DatabaseDamaged(f"{path} is of version {version}, this program knows {VERSION}")
        database.execute("CREATE TEMP TABLE active (id INTEGER PRIMARY KEY)")
    except sqlite3.Error as error:
        database.close()
        raise DatabaseDamaged(f"{path}: {error}") from error
    except BaseException:
        database.close()
        raise
    return database, fresh


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


# --- writing; within a transaction -------------------------------------------------------------------


def insert(database: sqlite3.Connection, message: NewMessage, place: Place, now: float) -> None:
    """A new message, its recipients due at once."""
    envelope, peer = message.envelope, message.envelope.peer
    cursor = database.execute(
        _MESSAGE,
        (
            *(envelope.id, place.file, place.offset, place.size, place.wire_size, place.eight_bit),
            *(place.checksum, envelope.reverse_path, envelope.helo, envelope.user),
            *(peer.ip, peer.port, peer.tls, peer.protocol, envelope.received_at or now),
            *(envelope.smtputf8, envelope.body_type, envelope.ret, envelope.envid),
        ),
    )
    row = cursor.lastrowid
    for recipient, target in message.targets:
        notify = ",".join(sorted(recipient.notify))
        database.execute(
            _RECIPIENT,
            (
                *(row, recipient.address, target.address, target.user, target.domain),
                *(target.folder, notify, recipient.orcpt, now),
            ),
        )


def apply(database: sqlite3.Connection, verdicts: Iterable[Verdict]) -> list[str]:
    """Record outcomes; messages that are done leave. The files that are not needed any more.

    Recipients that an administrator held stay held, ones removed stay removed.
    """
    messages: set[int] = set()
    for verdict in verdicts:
        if verdict.state is State.WAITING or verdict.state is State.HELD:
            _wait(database, verdict)
            continue
        values = _values(verdict)
        row = database.execute(_VERDICT + " RETURNING message", values).fetchone()
        if row is not None:
            messages.add(row[0])
    return [file for message in messages for file in drop_if_done(database, message)]


def _wait(database: sqlite3.Connection, verdict: Verdict) -> None:
    values = _values(verdict)
    database.execute(_VERDICT.replace("state = ?", "state = max(state, ?)", 1), values)


def _values(verdict: Verdict) -> tuple[Any, ...]:
    at, attempted = verdict.at, verdict.attempted
    return (
        *(int(verdict.state), int(attempted), verdict.next_try, verdict.code, verdict.status),
        *(verdict.reason, verdict.host, int(verdict.warned), attempted, at, attempted, at, verdict.row),
    )


def drop_if_done(database: sqlite3.Connection, message: int) -> list[str]:
    """Forget a message none of whose recipients waits; its file, if no other message is in it."""
    waiting = "SELECT 1 FROM recipients WHERE message = ? AND state IN (0, 4) LIMIT 1"
    if database.execute(waiting, (message,)).fetchone() is not None:
        return []
    return drop(database, message)


def drop(database: sqlite3.Connection, message: int) -> list[str]:
    """Forget a message; its file, if no other message is in it."""
    database.execute("DELETE FROM recipients WHERE message = ?", (message,))
    row = database.execute("DELETE FROM messages WHERE id = ? RETURNING file", (message,)).fetchone()
    if row is None:
        return []
    file = str(row[0])
    return [] if names(database, file) else [file]


def names(database: sqlite3.Connection, file: str) -> bool:
    """Is there a message in this file?"""
    return database.execute("SELECT 1 FROM messages WHERE file = ? LIMIT 1", (file,)).fetchone() is not None


def read_anew(database: sqlite3.Connection) -> None:
    """A page made no sense: what memory keeps of the file is dropped, for the disk may be right again."""
    with suppress(sqlite3.Error):
        database.execute("PRAGMA shrink_memory")


def postpone(database: sqlite3.Connection, domains: Sequence[str], verdict: Verdict) -> None:
    """Put off everything that is due for these domains without an attempt: their hosts are not there."""
    for domain in domains:
        database.execute(
            f"UPDATE recipients AS r SET next_try = ?, code = ?, status = ?, reason = ?, host = ?"
            f" WHERE domain = ? AND state = 0 AND next_try <= ? AND {_IDLE}",
            (
                *(verdict.next_try, verdict.code, verdict.status, verdict.reason, verdict.host),
                *(domain, verdict.next_try),
            ),
        )


def put_off(database: sqlite3.Connection, recipients: Sequence[int], until: float) -> None:
    """These recipients are not due before `until`."""
    rows = [(until, recipient) for recipient in recipients]
    database.executemany("UPDATE recipients SET next_try = ? WHERE id = ?", rows)


# --- reading -----------------------------------------------------------------------------------------

MESSAGE_COLUMNS = """m.id, m.name, m.file, m.offset, m.size, m.wire_size, m.eight_bit, m.checksum,
    m.reverse_path, m.helo, m.user, m.ip, m.port, m.tls, m.protocol, m.received_at, m.smtputf8,
    m.body_type, m.ret, m.envid"""
RECIPIENT_COLUMNS = """r.id, r.address, r.target, r.user, r.domain, r.folder, r.notify, r.orcpt, r.state,
    r.attempts, r.next_try, r.first_attempt, r.last_attempt, r.code, r.status, r.reason, r.host, r.warned"""
_MESSAGE_WIDTH = 20
Row = tuple[Any, ...]


def due_rows(database: sqlite3.Connection, domain: str, now: float, limit: int) -> list[Row]:
    """Recipients of a domain that are due and not under way, longest waiting first."""
    return database.execute(
        f"SELECT {MESSAGE_COLUMNS}, {RECIPIENT_COLUMNS} FROM recipients AS r"
        f" JOIN messages AS m ON m.id = r.message"
        f" WHERE r.domain = ? AND r.state = 0 AND r.next_try <= ? AND {_IDLE}"
        f" ORDER BY r.next_try, r.id LIMIT ?",
        (domain, now, limit),
    ).fetchall()


def old_rows(
    database: sqlite3.Connection, expired_before: float, warn_before: float, limit: int
) -> list[Row]:
    """Waiting recipients of messages that came before the one time, or before the other and were not
    warned about."""
    return database.execute(
        f"SELECT {MESSAGE_COLUMNS}, {RECIPIENT_COLUMNS} FROM messages AS m"
        f" JOIN recipients AS r ON r.message = m.id"
        f" WHERE m.received_at <= max(?1, ?2) AND r.state = 0 AND {_IDLE} AND (m.received_at <= ?1"
        f" OR (r.warned = 0 AND m.received_at <= ?2))"
        f" ORDER BY m.received_at, m.id LIMIT ?3",
        (expired_before, warn_before, limit),
    ).fetchall()


def next_due(database: sqlite3.Connection, domain: str) -> float | None:
    """When the next recipient of a domain that is not under way is due."""
    row = database.execute(
        f"SELECT next_try FROM recipients AS r WHERE domain = ? AND state = 0 AND {_IDLE}"
        f" ORDER BY next_try LIMIT 1",
        (domain,),
    ).fetchone()
    return None if row is None else float(row[0])


def waiting_domains(database: sqlite3.Connection) -> list[tuple[str, float]]:
    """Each domain with waiting recipients, and when the first is due."""
    return database.execute(
        "SELECT domain, min(next_try) FROM recipients WHERE state = 0 GROUP BY domain"
    ).fetchall()


def clamp(database: sqlite3.Connection, latest: float) -> int:
    """After a clock that was set back: nothing waits beyond `latest`."""
    return database.execute(
        "UPDATE recipients SET next_try = ?1 WHERE state = 0 AND next_try > ?1", (latest,)
    ).rowcount


def read_message(row: Row) -> QueuedMessage:
    """From the message columns. Raises ValueError, TypeError where somebody has tampered with the row."""
    (number, name, file, offset, size, wire_size, eight_bit, checksum, *rest) = row[:_MESSAGE_WIDTH]
    (reverse_path, helo, user, ip, port, tls, protocol, received_at, smtputf8, *dsn) = rest
    body_type, ret, envid = dsn
    peer = Peer(_text(ip), _number(port), _text(tls), _text(protocol))
    envelope = Envelope(
        *(_text(name), _text(reverse_path), (), peer, _text(helo), _text(user), float(received_at)),
        smtputf8=bool(smtputf8),
        body_type=_text(body_type),
        ret=_text(ret),
        envid=_text(envid),
    )
    at, octets, on_wire = map(_number, (offset, size, wire_size))
    place = Place(_text(file), at, octets, on_wire, bool(eight_bit), _number(checksum))
    if place.offset < 0 or place.size < 0 or ".." in place.file:
        raise ValueError("a place that no file has")
    return QueuedMessage(_number(number), envelope, place)


def read_recipient(row: Row) -> QueuedRecipient:
    """From the recipient columns. Raises as read_message."""
    (number, address, target, user, domain, folder, notify, orcpt, state, *rest) = row[_MESSAGE_WIDTH:]
    attempts, next_try, first_attempt, last_attempt, code, status, reason, host, warned = rest
    return QueuedRecipient(
        row=_number(number),
        address=_text(address),
        target=Target(_text(target), _text(user), _text(domain), _text(folder)),
        notify=frozenset(filter(None, _text(notify).split(","))),
        orcpt=_text(orcpt),
        state=State(state),
        attempts=_number(attempts),
        next_try=float(next_try),
        first_attempt=float(first_attempt),
        last_attempt=float(last_attempt),
        code=_number(code),
        status=_text(status),
        reason=_text(reason),
        host=_text(host),
        warned=bool(warned),
    )


def _number(value: object) -> int:
    if not isinstance(value, int):  # SQLite keeps in a column what it is given, also infinity
        raise TypeError(f"{value!r} instead of a number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of text")
    return value
