"""[disk] The rows of queue_dir/queue.sqlite: one a message, one a recipient (`schema` has the tables)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from mailserver.interfaces import By, DeliverBy, Envelope, Peer, Target
from mailserver.queue.schema import SENDER
from mailserver.queue.values import (
    Lane,
    NewMessage,
    Place,
    QueuedMessage,
    QueuedRecipient,
    State,
    Verdict,
    sender_of,
    waits_since,
)

_MESSAGE = """INSERT INTO messages (name, file, offset, size, wire_size, eight_bit, checksum, reverse_path,
    helo, user, ip, port, tls, protocol, received_at, smtputf8, body_type, ret, envid, require_tls,
    release_at, hold, deliver_by, by, priority) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_RECIPIENT = """INSERT INTO recipients (message, address, target, user, domain, folder, notify, orcpt,
    next_try, sender, waits_since, deadline, priority) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_ONE_MORE = """INSERT INTO senders VALUES (?, 1) ON CONFLICT DO UPDATE SET messages = messages + 1
    RETURNING messages"""
_VERDICT = """UPDATE recipients SET state = ?, attempts = attempts + ?, next_try = ?, code = ?, status = ?,
    reason = ?, host = ?, warned = max(warned, ?),
    deadline = CASE WHEN ? THEN NULL ELSE deadline END,
    last_attempt = CASE WHEN ? THEN ? ELSE last_attempt END,
    first_attempt = CASE WHEN ? AND first_attempt = 0 THEN ? ELSE first_attempt END
    WHERE id = ? AND state IN (0, 4)"""
RELEASE = "(SELECT release_at FROM messages WHERE messages.id = recipients.message)"
_IDLE = "NOT EXISTS (SELECT 1 FROM temp.active WHERE active.id = r.id)"


# --- writing; within a transaction -------------------------------------------------------------------


def insert(database: sqlite3.Connection, message: NewMessage, place: Place, now: float) -> int:
    """A new message, its recipients due at once or once it is released. How many its sender has in the
    queue now."""
    envelope, peer = message.envelope, message.envelope.peer
    sender, by = sender_of(envelope), envelope.deliver_by
    # One that came late was told of where it became late.
    deadline = None if by is None or by.by.seconds <= 0 else by.at
    cursor = database.execute(
        _MESSAGE,
        (
            *(envelope.id, place.file, place.offset, place.size, place.wire_size, place.eight_bit),
            *(place.checksum, envelope.reverse_path, envelope.helo, envelope.user),
            *(peer.ip, peer.port, peer.tls, peer.protocol, envelope.received_at or now),
            *(envelope.smtputf8, envelope.body_type, envelope.ret, envelope.envid),
            *(envelope.require_tls, envelope.release_at, envelope.hold),
            *((None, "") if by is None else (by.at, str(by.by))),
            envelope.priority,
        ),
    )
    row, since = cursor.lastrowid, waits_since(envelope) or now
    for recipient, target in message.targets:
        notify = ",".join(sorted(recipient.notify))
        database.execute(
            _RECIPIENT,
            (
                *(row, recipient.address, target.address, target.user, target.domain),
                *(target.folder, notify, recipient.orcpt, max(now, envelope.release_at), sender, since),
                *(deadline, envelope.priority),
            ),
        )
    return int(database.execute(_ONE_MORE, (sender,)).fetchone()[0])


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
        *(verdict.reason, verdict.host, int(verdict.warned), verdict.overdue),
        *(attempted, at, attempted, at, verdict.row),
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
    row = database.execute(
        f"DELETE FROM messages WHERE id = ? RETURNING file, {SENDER}", (message,)
    ).fetchone()
    if row is None:
        return []
    file, sender = row
    database.execute("UPDATE senders SET messages = messages - 1 WHERE sender = ?", (sender,))
    database.execute("DELETE FROM senders WHERE sender = ? AND messages <= 0", (sender,))
    return [] if names(database, str(file)) else [str(file)]


def names(database: sqlite3.Connection, file: str) -> bool:
    """Is there a message in this file?"""
    return database.execute("SELECT 1 FROM messages WHERE file = ? LIMIT 1", (file,)).fetchone() is not None


def read_anew(database: sqlite3.Connection) -> None:
    """A page made no sense: what memory keeps of the file is dropped, for the disk may be right again."""
    with suppress(sqlite3.Error):
        database.execute("PRAGMA shrink_memory")


def postpone(database: sqlite3.Connection, lanes: Sequence[Lane], verdict: Verdict, most: int) -> list[Lane]:
    """Put off what is due in these lanes without an attempt: the hosts are not there. At most `most`
    recipients; the lanes in which there may be more."""
    for number, lane in enumerate(lanes):
        changed = database.execute(
            f"UPDATE recipients SET next_try = ?, code = ?, status = ?, reason = ?, host = ? WHERE id IN"
            f" (SELECT id FROM recipients AS r WHERE domain = ? AND sender = ? AND priority = ? AND state = 0"
            f" AND next_try < ? AND {_IDLE} LIMIT ?)",
            (
                *(verdict.next_try, verdict.code, verdict.status, verdict.reason, verdict.host),
                *(*lane, verdict.next_try, most),
            ),
        ).rowcount
        most -= changed
        if most <= 0:
            return list(lanes[number:])
    return []


def put_off(database: sqlite3.Connection, recipients: Sequence[int], until: float) -> None:
    """These recipients are not due before `until`."""
    rows = [(until, recipient) for recipient in recipients]
    database.executemany("UPDATE recipients SET next_try = ? WHERE id = ?", rows)


# --- reading -----------------------------------------------------------------------------------------

MESSAGE_COLUMNS = """m.id, m.name, m.file, m.offset, m.size, m.wire_size, m.eight_bit, m.checksum,
    m.reverse_path, m.helo, m.user, m.ip, m.port, m.tls, m.protocol, m.received_at, m.smtputf8,
    m.body_type, m.ret, m.envid, m.require_tls, m.release_at, m.hold, m.deliver_by, m.by, m.priority"""
RECIPIENT_COLUMNS = """r.id, r.address, r.target, r.user, r.domain, r.folder, r.notify, r.orcpt, r.state,
    r.attempts, r.next_try, r.first_attempt, r.last_attempt, r.code, r.status, r.reason, r.host, r.warned,
    r.deadline"""
MESSAGE_WIDTH = MESSAGE_COLUMNS.count(",") + 1
RECEIVED, RELEASED = 15, 21  # received_at, release_at
Row = tuple[Any, ...]


def due_rows(database: sqlite3.Connection, lane: Lane, now: float, limit: int) -> list[Row]:
    """Recipients of a lane that are due and not under way, longest waiting first."""
    return database.execute(
        f"SELECT {MESSAGE_COLUMNS}, {RECIPIENT_COLUMNS} FROM recipients AS r"
        f" JOIN messages AS m ON m.id = r.message"
        f" WHERE r.domain = ? AND r.sender = ? AND r.priority = ? AND r.state = 0 AND r.next_try <= ?"
        f" AND {_IDLE} ORDER BY r.next_try, r.id LIMIT ?",
        (*lane, now, limit),
    ).fetchall()


def old_rows(
    database: sqlite3.Connection, expired_before: float, warn_before: float, limit: int
) -> list[Row]:
    """Waiting recipients of messages that came before the one time, or before the other and were not
    warned about. By lookup in an index, for nearly always there are none among very many."""
    found = (
        f"SELECT id FROM (SELECT id FROM recipients AS r WHERE state = 0 AND warned = {{}}"
        f" AND waits_since <= {{}} AND {_IDLE} ORDER BY waits_since LIMIT ?3)"
    )
    return database.execute(
        f"SELECT {MESSAGE_COLUMNS}, {RECIPIENT_COLUMNS} FROM recipients AS r"
        f" JOIN messages AS m ON m.id = r.message WHERE r.id IN"
        f" ({found.format(1, '?1')} UNION ALL {found.format(0, 'max(?1, ?2)')})"
        f" ORDER BY m.id, r.id LIMIT ?3",
        (expired_before, warn_before, limit),
    ).fetchall()


def overdue_rows(database: sqlite3.Connection, now: float, limit: int) -> list[Row]:
    """Waiting recipients whose message should have been delivered by now, and nothing was done about it."""
    return database.execute(
        f"SELECT {MESSAGE_COLUMNS}, {RECIPIENT_COLUMNS} FROM recipients AS r"
        f" JOIN messages AS m ON m.id = r.message"
        f" WHERE r.deadline IS NOT NULL AND r.deadline <= ? AND r.state = 0 AND {_IDLE}"
        f" ORDER BY r.deadline, m.id LIMIT ?",
        (now, limit),
    ).fetchall()


def next_deadline(database: sqlite3.Connection) -> float | None:
    """When the next waiting recipient is overdue."""
    row = database.execute(
        f"SELECT deadline FROM recipients AS r WHERE deadline IS NOT NULL AND state = 0 AND {_IDLE}"
        f" ORDER BY deadline LIMIT 1"
    ).fetchone()
    return None if row is None else float(row[0])


def next_due(database: sqlite3.Connection, lane: Lane) -> float | None:
    """When the next recipient of a lane that is not under way is due."""
    row = database.execute(
        f"SELECT next_try FROM recipients AS r WHERE domain = ? AND sender = ? AND priority = ? AND state = 0"
        f" AND {_IDLE} ORDER BY next_try LIMIT 1",
        lane,
    ).fetchone()
    return None if row is None else float(row[0])


def waiting_lanes(database: sqlite3.Connection) -> list[tuple[Lane, float]]:
    """Each lane with waiting recipients, and when the first is due. Of equal names there is one in memory."""
    rows = database.execute(
        "SELECT domain, sender, priority, min(next_try) FROM recipients WHERE state = 0 GROUP BY 1, 2, 3"
    )
    names: dict[str, str] = {}
    once = names.setdefault
    return [
        (Lane(once(domain, domain), once(sender, sender), priority), due)
        for domain, sender, priority, due in rows
    ]


def message_row(database: sqlite3.Connection, number: int) -> Row | None:
    """The message columns."""
    found: Row | None = database.execute(
        f"SELECT {MESSAGE_COLUMNS} FROM messages AS m WHERE m.id = ?", (number,)
    ).fetchone()
    return found


def messages_of(database: sqlite3.Connection, sender: str) -> int:
    """How many messages a sender has in the queue."""
    row = database.execute("SELECT messages FROM senders WHERE sender = ?", (sender,)).fetchone()
    return int(row[0]) if row else 0


def clamp(database: sqlite3.Connection, latest: float) -> int:
    """After a clock that was set back: nothing waits beyond `latest`, but what is held until later."""
    allowed = f"max(?1, {RELEASE})"
    return database.execute(
        f"UPDATE recipients SET next_try = {allowed} WHERE state = 0 AND next_try > ?1"
        f" AND next_try > {allowed}",
        (latest,),
    ).rowcount


def read_message(row: Row) -> QueuedMessage:
    """From the message columns. Raises ValueError, TypeError where somebody has tampered with the row."""
    (number, name, file, offset, size, wire_size, eight_bit, checksum, *rest) = row[:MESSAGE_WIDTH]
    (reverse_path, helo, user, ip, port, tls, protocol, received_at, smtputf8, *dsn) = rest
    body_type, ret, envid, require_tls, release_at, hold, deliver_by, by, priority = dsn
    peer = Peer(_text(ip), _number(port), _text(tls), _text(protocol))
    envelope = Envelope(
        *(_text(name), _text(reverse_path), (), peer, _text(helo), _text(user), float(received_at)),
        smtputf8=bool(smtputf8),
        body_type=_text(body_type),
        ret=_text(ret),
        envid=_text(envid),
        require_tls=None if require_tls is None else bool(require_tls),
        release_at=float(release_at),
        hold=_text(hold),
        deliver_by=None if deliver_by is None else DeliverBy(float(deliver_by), By.read(_text(by))),
        priority=_number(priority),
    )
    at, octets, on_wire = map(_number, (offset, size, wire_size))
    place = Place(_text(file), at, octets, on_wire, bool(eight_bit), _number(checksum))
    if place.offset < 0 or place.size < 0 or ".." in place.file:
        raise ValueError("a place that no file has")
    return QueuedMessage(_number(number), envelope, place)


def read_recipient(row: Row) -> QueuedRecipient:
    """From the recipient columns. Raises as read_message."""
    (number, address, target, user, domain, folder, notify, orcpt, state, *rest) = row[MESSAGE_WIDTH:]
    attempts, next_try, first_attempt, last_attempt, code, status, reason, host, warned, deadline = rest
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
        deadline=None if deadline is None else float(deadline),
    )


def _number(value: object) -> int:
    if not isinstance(value, int):  # SQLite keeps in a column what it is given, also infinity
        raise TypeError(f"{value!r} instead of a number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of text")
    return value
