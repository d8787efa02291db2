"""SQLite's errors as the store handles them, and its transactions.

Classes with `__enter__` and `__exit__`, not generators: they are entered many times for each message.
"""

from __future__ import annotations

import errno
import sqlite3
from contextlib import suppress

from mailserver.disk import durable
from mailserver.errors import TemporaryFailure

_PASSING = tuple(
    f"SQLITE_{name}"
    for name in ("BUSY", "LOCKED", "IOERR", "CANTOPEN", "READONLY", "NOMEM", "PERM", "PROTOCOL", "INTERRUPT")
)
"""What may be over soon; every other failure of SQLite is the database's, and it can be made anew."""


class IndexDamaged(Exception):
    """The database is no use any more: it is put aside and rebuilt."""


class Told:
    """sqlite3's errors to ours: a damaged file, a full disk, all else."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            _translate(error)


def _translate(error: BaseException) -> None:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorname", "") or ""
        if code == "SQLITE_FULL":
            raise durable.mail_error(OSError(errno.ENOSPC, str(error))) from error
        if code.startswith(_PASSING) or isinstance(error, sqlite3.ProgrammingError):
            raise TemporaryFailure(cause=error) from error
    # TypeError and the like: a value of a kind that we never write
    if isinstance(error, sqlite3.Error | TypeError | ValueError | OverflowError):
        raise IndexDamaged(str(error)) from error
    if isinstance(error, OSError):
        raise durable.mail_error(error) from error


TOLD = Told()


class Transaction:
    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        with TOLD:
            self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._db.execute("COMMIT")
            except BaseException as failure:
                self._roll_back()
                _translate(failure)
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")
