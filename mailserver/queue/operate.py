"""[disk] What an operator does to the queue, beside the server or without it. What is chosen is settled at
once and changed in slices, each one transaction, so that the server waits for no more than one of them.

A delivery that is under way meanwhile goes to its end; its outcome counts for what is still there then: so
nothing is sent twice and nothing is lost by an operator's timing (CASES G22).
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from attrs import frozen

from mailserver.errors import MailError
from mailserver.queue import database, schema
from mailserver.queue.files import MessageFiles, Poison
from mailserver.queue.values import QueuedMessage, QueuedRecipient, State

SLICE = 1000  # messages read or changed at once
_THESE = "(SELECT value FROM json_each(?))"


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


def listing(connection: sqlite3.Connection, selection: Selection) -> Iterator[Queued]:
    """Oldest first, read as it is asked for. Rows that make no sense are left out: the server will set them
    aside. Raises UnknownMessage."""
    for numbers in _slices(connection, selection):
        rows = connection.execute(
            f"SELECT {database.MESSAGE_COLUMNS}, {database.RECIPIENT_COLUMNS} FROM messages AS m"
            f" JOIN recipients AS r ON r.message = m.id WHERE m.id IN {_THESE} ORDER BY m.id, r.id",
            (numbers,),
        ).fetchall()
        for _, group in groupby(rows, key=itemgetter(0)):
            some = list(group)
            with suppress(ValueError, TypeError):
                recipients = tuple(database.read_recipient(row) for row in some)
                yield Queued(database.read_message(some[0]), recipients)


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
    removed = 0
    for numbers in _slices(connection, selection):
        files: list[str] = []
        with schema.transaction(connection):
            still = connection.execute(f"SELECT id FROM messages WHERE id IN {_THESE}", (numbers,)).fetchall()
            for (number,) in still:
                files += database.drop(connection, number)
        MessageFiles(queue_dir).remove(files)
        removed += len(still)
    return removed


def _update(
    connection: sqlite3.Connection, selection: Selection, change: str, where: str, *values: Any
) -> int:
    changed = 0
    for numbers in _slices(connection, selection):
        with schema.transaction(connection):
            rows = connection.execute(
                f"UPDATE recipients SET {change} WHERE message IN {_THESE} AND {where} RETURNING message",
                (*values, numbers),
            ).fetchall()
        changed += len(set(rows))
    return changed


def _slices(connection: sqlite3.Connection, selection: Selection) -> Iterator[str]:
    """Row numbers of the messages, oldest first, some at a time as JSON. Raises UnknownMessage before the
    first."""
    numbers = _numbers(connection, selection)
    for start in range(0, len(numbers), SLICE):
        yield json.dumps(numbers[start : start + SLICE].tolist())


def _numbers(connection: sqlite3.Connection, selection: Selection) -> array[int]:
    """Raises UnknownMessage."""
    if selection.all:
        return _first(connection.execute("SELECT id FROM messages ORDER BY id"))
    if selection.domain:
        return _first(
            connection.execute(
                "SELECT DISTINCT message FROM recipients WHERE domain = ? AND state IN (0, 4)"
                " ORDER BY message",
                (selection.domain,),
            )
        )
    if selection.sender is not None:
        return _first(
            connection.execute(
                "SELECT id FROM messages WHERE lower(reverse_path) = ?1"
                " OR (user != '' AND lower(user) = ?1) ORDER BY id",
                (selection.sender.lower(),),
            )
        )
    numbers: set[int] = set()
    for identity in selection.ids:
        found = _first(connection.execute("SELECT id FROM messages WHERE name = ?", (identity,)))
        if not found:
            raise UnknownMessage(identity)
        numbers.update(found)
    return array("q", sorted(numbers))


def _first(rows: Iterable[tuple[int]]) -> array[int]:
    return array("q", (row[0] for row in rows))
