"""[disk] Who shares anything with whom: the file `shares` in data_dir.

    alice@example.org <TAB> bob@example.org <TAB> anyone

One line for each owner with the identifiers that any folder of theirs grants something. So a LIST looks into
the accounts that share with its user, and into no others. The lists in the folders are the truth: where the
file is missing it is made from them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping

from mailserver.disk import durable
from mailserver.rights import EVERYBODY
from mailserver.store import files

FILE = "shares"
_Stamp = tuple[int, int, int]


class Shares:
    """identifiers: whom each account grants anything, by looking; for the file that is missing."""

    def __init__(self, data_dir: str, identifiers: Callable[[], Mapping[str, Iterable[str]]]) -> None:
        self._path = os.path.join(data_dir, FILE)
        self._identifiers = identifiers
        self._stamp: _Stamp | None = None
        self._owners: dict[str, list[str]] = {}

    def owners(self, user: str) -> list[str] | None:
        """Accounts that share with a user; None where the file must be read first. One `stat`."""
        if self._stamp is None or self._look() != self._stamp:
            return None
        names = (user, *EVERYBODY)
        found = dict.fromkeys(owner for name in names for owner in self._owners.get(name, ()))
        return [owner for owner in found if owner != user]

    def _look(self) -> _Stamp | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def load(self) -> None:
        """[thread] Read the file, or make it."""
        if self._look() is None:
            with self._locked():
                if self._look() is None:
                    self._write({owner: set(names) for owner, names in self._identifiers().items()})
        stamp = self._look()
        lines = self._read()
        owners: dict[str, list[str]] = {}
        for owner, names in lines.items():
            for name in names:
                owners.setdefault(name, []).append(owner)
        self._owners, self._stamp = owners, stamp

    def note(self, owner: str, identifiers: Iterable[str]) -> None:
        """[thread] After a list of this owner was changed."""
        wanted = set(identifiers)
        with self._locked():
            if self._look() is None:
                lines = {one: set(names) for one, names in self._identifiers().items()}
            else:
                lines = self._read()
            if lines.get(owner, set()) == wanted and self._look() is not None:
                return
            lines[owner] = wanted
            self._write(lines)

    def _read(self) -> dict[str, set[str]]:
        lines: dict[str, set[str]] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                for line in file:
                    owner, *names = line.rstrip("\n").split("\t")
                    if names:
                        lines[owner] = set(names)
        except UnicodeDecodeError:
            return {}
        except OSError as error:
            files.check_absent(error)
            return {}
        return lines

    def _write(self, lines: Mapping[str, set[str]]) -> None:
        rows = ["\t".join((owner, *sorted(names))) for owner, names in lines.items() if names]
        durable.write_file_atomic(self._path, "".join(f"{row}\n" for row in rows).encode("utf-8"))

    def _locked(self) -> _Lock:
        return _Lock(self._path + ".lock")


class _Lock:
    """Between threads and processes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> None:
        with durable.told():
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        os.close(self._fd)
