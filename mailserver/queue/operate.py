"""[disk] What an operator does to the queue, beside the server or without it. Each change is one transaction.

A delivery that is under way meanwhile goes to its end; its outcome counts for what is still there then: so
nothing is sent twice and nothing is lost by an operator's timing (CASES G22).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from mailserver.errors import MailError
from mailserver.queue import database, schema
from mailserver.queue.files import MessageFiles, Poison
from mailserver.queue.values import QueuedMessage, QueuedRecipient, State


@frozen
class Selection:
    """Which messages: by id, by the domain of a recipient that waits, by their sender (user or reverse-path,
    "" is the null one), or all. Exactly one is given."""

    ids: tuple[str, ...] = ()
    domain: str = ""
    sender: str | None = None
    all: bool = False


class UnknownMessage(Exception):
    """No message of that id is in the queue."""


@frozen
class Queued:
    """A message with all its recipients."""

    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]

    @property
    def waiting(self) -> tuple[QueuedRecipient, ...]:
        return tuple(r for r in self.recipients if r.state in (State.WAITING, State.HELD))

    @property
    def held(self) -> bool:
        return bool(self.waiting) and all(r.state is State.HELD for r in self.waiting)


def listing(connection: sqlite3.Connection, selection: Selection) -> list[Queued]:
    """Oldest first. Rows that make no sense are left out: the server will set them aside. Raises
    UnknownMessage."""
    found = []
    for number in _numbers(connection, selection):
        rows = connection.execute(
            f"SELECT {database.MESSAGE_COLUMNS}, {database.RECIPIENT_COLUMNS} FROM messages AS m"
            f" JOIN recipients AS r ON r.message = m.id WHERE m.id = ? ORDER BY r.id",
            (number,),
        ).fetchall()
        try:
            recipients = tuple(database.read_recipient(row) for row in rows)
            found.append(Queued(database.read_message(rows[0]), recipients))
        except (ValueError, TypeError, IndexError):
            continue
    return found


def content(queue_dir: Path, message: QueuedMessage, most: int) -> bytes | None:
    """The beginning of the message, None where it cannot be read."""
    try:
        return MessageFiles(queue_dir).read(message.place)[0][:most]
    except (Poison, MailError):
        return None


def retry(connection: sqlite3.Connection, selection: Selection, now: float) -> int:
    """Everything that waits is due now; what is held stays held, by whom ever. The number of messages."""
    return _update(connection, selection, f"next_try = max(?, {database.RELEASE})", "state = 0", now)


def hold(connection: sqlite3.Connection, selection: Selection) -> int:
    """Not tried, not given up, until released."""
    return _update(connection, selection, "state = 4", "state = 0")


def release(connection: sqlite3.Connection, selection: Selection, now: float) -> int:
    """What was held is due now."""
    return _update(
        connection, selection, f"state = 0, next_try = max(?, {database.RELEASE})", "state = 4", now
    )


def remove(connection: sqlite3.Connection, queue_dir: Path, selection: Selection) -> int:
    """Forget messages; nobody is told."""
    files: list[str] = []
    with schema.transaction(connection):
        numbers = _numbers(connection, selection)
        for number in numbers:
            files += database.drop(connection, number)
    MessageFiles(queue_dir).remove(files)
    return len(numbers)


def _update(
    connection: sqlite3.Connection, selection: Selection, change: str, where: str, *values: Any
) -> int:
    changed = 0
    with schema.transaction(connection):
        for number in _numbers(connection, selection):
            cursor = connection.execute(
                f"UPDATE recipients SET {change} WHERE message = ? AND {where}", (*values, number)
            )
            changed += cursor.rowcount > 0
    return changed


def _numbers(connection: sqlite3.Connection, selection: Selection) -> Sequence[int]:
    """Row numbers of the messages, oldest first. Raises UnknownMessage before anything is changed."""
    if selection.all:
        return [row[0] for row in connection.execute("SELECT id FROM messages ORDER BY id")]
    if selection.domain:
        rows = connection.execute(
            "SELECT DISTINCT message FROM recipients WHERE domain = ? AND state IN (0, 4) ORDER BY message",
            (selection.domain,),
        )
        return [row[0] for row in rows]
    if selection.sender is not None:
        rows = connection.execute(
            "SELECT id FROM messages WHERE lower(reverse_path) = ?1 OR (user != '' AND lower(user) = ?1)"
            " ORDER BY id",
            (selection.sender.lower(),),
        )
        return [row[0] for row in rows]
    numbers: list[int] = []
    for identity in selection.ids:
        found = connection.execute("SELECT id FROM messages WHERE name = ?", (identity,)).fetchall()
        if not found:
            raise UnknownMessage(identity)
        numbers += [row[0] for row in found]
    return sorted(set(numbers))
