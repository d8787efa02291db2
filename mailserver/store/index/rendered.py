"""[disk] The tables of the index that hold what was made of messages: rendered items, sent as they
stand, and digests of headers (`message.digest`).

They may be emptied at any time. Rows have the key of the message.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from mailserver.message.digest import GROUPS
from mailserver.store.index.rows import Folder
from mailserver.store.sqlite import TOLD

RENDERED = {
    "ENVELOPE": ("envelopes", "value"),
    "BODYSTRUCTURE": ("structures", "value"),
    "BODY": ("structures", "body"),
    "HEADER": ("headers", "value"),
    "PREVIEW": ("previews", "value"),
}
TABLES = ("envelopes", "structures", "headers", "previews", *GROUPS)
SLICE = 500  # parameters of one IN (…)


@define(eq=False)
class RenderedTables:
    """A part of `Index`."""

    path: str
    _db: sqlite3.Connection = field(repr=False)

    def rendered(self, folder: Folder, item: str, uids: Sequence[int]) -> dict[int, bytes]:
        """What is kept of `item`, by UID: one query for a dense range."""
        table, column = RENDERED[item]
        first = folder.first
        if not uids:
            return {}
        low, high = first + min(uids), first + max(uids)
        with TOLD:
            if high - low < 4 * len(uids) + 16:
                query = f"SELECT id - ?, {column} FROM {table} WHERE id >= ? AND id <= ?"
                return dict(self._db.execute(query, (first, low, high)))
            found: dict[int, bytes] = {}
            for start in range(0, len(uids), SLICE):
                keys = [first + uid for uid in uids[start : start + SLICE]]
                marks = ",".join("?" * len(keys))
                query = f"SELECT id - ?, {column} FROM {table} WHERE id IN ({marks})"
                found.update(self._db.execute(query, [first, *keys]))
            return found

    def keep_rendered(self, folder: Folder, values: Mapping[str, Mapping[int, bytes]]) -> None:
        """Values by item and UID; BODY and BODYSTRUCTURE come together."""
        first = folder.first
        with TOLD:
            for item, made in values.items():
                if item == "BODYSTRUCTURE" or not made:
                    continue
                rows: list[tuple[int | bytes, ...]] = [(first + uid, value) for uid, value in made.items()]
                marks = "?, ?"
                if item == "BODY":
                    structures = values["BODYSTRUCTURE"]
                    rows = [(first + uid, structures[uid], value) for uid, value in made.items()]
                    marks = "?, ?, ?"
                query = f"INSERT OR REPLACE INTO {RENDERED[item][0]} VALUES ({marks})"
                self._db.executemany(query, rows)

    def digests(
        self, folder: Folder, group: str, fields: Sequence[str], uids: Sequence[int]
    ) -> dict[int, tuple[Any, ...]]:
        """These fields of a group of `message.digest`, by UID, as far as they are kept."""
        first = folder.first
        select = f"SELECT id, {', '.join(fields)} FROM {group} WHERE id "
        found: list[tuple[Any, ...]] = []
        with TOLD:
            if uids and max(uids) - min(uids) < 4 * len(uids) + 16:
                span = (first + min(uids), first + max(uids))
                found = self._db.execute(select + ">= ? AND id <= ?", span).fetchall()
            else:
                for start in range(0, len(uids), SLICE):
                    keys = [first + uid for uid in uids[start : start + SLICE]]
                    found += self._db.execute(f"{select}IN ({','.join('?' * len(keys))})", keys)
        return {row[0] - first: row[1:] for row in found}

    def keep_digests(self, folder: Folder, group: str, made: Sequence[tuple[int, tuple[Any, ...]]]) -> None:
        """(uid, all fields of the group)"""
        first = folder.first
        if made:
            marks = ",".join("?" * (len(made[0][1]) + 1))
            with TOLD:
                self._db.executemany(
                    f"INSERT OR REPLACE INTO {group} VALUES ({marks})",
                    [(first + uid, *values) for uid, values in made],
                )

    def forget_rendered(self, folder: Folder, uid: int) -> None:
        with TOLD:
            for table in TABLES:
                self._db.execute(f"DELETE FROM {table} WHERE id = ?", (folder.first + uid,))
