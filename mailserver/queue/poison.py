"""[disk] Messages that cannot be what was queued: out of the way, so that the others go on (CASES G3).

What can be read of one goes to queue_dir/corrupt, with its rows as JSON; nothing there is ever removed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.logger import Logger

from mailserver.queue import database, schema
from mailserver.queue.files import MessageFiles


@frozen
class Aside:
    """A message in queue_dir/corrupt. when: seconds since the epoch; path: of what is known of it."""

    id: str
    when: float
    error: str
    path: Path


class Quarantine:
    """Of one spool, in its thread."""

    log = Logger()

    def __init__(self, files: MessageFiles) -> None:
        self._files = files

    def remove(
        self, connection: sqlite3.Connection, number: int, rows: Sequence[database.Row], error: Exception
    ) -> None:
        """Take a message out of the queue, with all its recipients. rows: some of those, as they were read.
        Raises MailError where it cannot be kept; then it stays where it is."""
        name = str(rows[0][1])
        self.log.error("queue: message {name} is set aside: {error}", name=name, error=str(error))
        self.keep(connection, number, rows[0], error)
        with schema.transaction(connection):
            files = database.drop(connection, number)
        self._files.remove(files)

    def keep(self, connection: sqlite3.Connection, number: int, row: database.Row, error: Exception) -> None:
        """A copy of it. Raises MailError."""
        found = connection.execute("SELECT * FROM recipients WHERE message = ?", (number,)).fetchall()
        try:
            place = database.read_message(row).place
        except Exception:  # whatever such a row may bring
            place = None
        record = {"error": str(error), "message": row[: database.MESSAGE_WIDTH], "recipients": found}
        self._files.set_aside(place, str(row[1]), record)


def listing(queue_dir: Path) -> list[Aside]:
    """What was set aside, oldest first."""
    found = []
    for path in (queue_dir / "corrupt").glob("*.json"):
        with suppress(OSError, ValueError, LookupError, TypeError):
            record: dict[str, Any] = json.loads(path.read_bytes())
            found.append(Aside(str(record["message"][1]), path.stat().st_mtime, str(record["error"]), path))
    return sorted(found, key=lambda aside: aside.when)
