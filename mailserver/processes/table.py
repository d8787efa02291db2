"""Numbers that all processes of a server see: the open connections of each, by network, by user and in all,
and which accounts each wants to be told of.

A piece of memory. Each worker has a row and writes to that one only; it is emptied when the worker starts or
has ended. Who takes a place under a limit has a lock while it looks and counts, or two workers would both
take the last one; the kernel lets go of it when its process ends. Networks and users are hashed into the
columns with a secret key, so two of them may share one, which nobody can bring about.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from mailserver.net.counter import ConnectionCounter

_COLUMNS = 1 << 14
_TOTAL, _TAKES, _NETWORKS = 0, 1, 2  # columns: connections, takes new ones, the first of the networks
_ACCOUNTS = 1 << 14  # further columns: how much there is that wants news of an account
_MAIL, _FIRST = 0, 1  # of these: wants to know of all mail; the first of the accounts
_ROW = _COLUMNS + _ACCOUNTS
_WIDTH = 4  # octets of a number


def _hashed(name: str, key: bytes, first: int, end: int) -> int:
    """The column of a name, of those from `first` to before `end`."""
    digest = blake2b(name.encode("utf-8", "replace"), key=key, digest_size=8).digest()
    return first + int.from_bytes(digest, "big") % (end - first)


class Table:
    """fd: its descriptor; the memory goes with the last process that has it."""

    def __init__(self, workers: int, fd: int = -1) -> None:
        size = workers * _ROW * _WIDTH
        if fd < 0:
            fd = os.memfd_create("mailserver", os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
        self.fd = fd
        self.workers = workers
        self.memory = memoryview(mmap.mmap(fd, size)).cast("I")

    def clear(self, number: int) -> None:
        """Worker `number` (from 1) has ended."""
        begin = (number - 1) * _ROW
        self.memory[begin : begin + _ROW] = memoryview(bytes(_ROW * _WIDTH)).cast("I")


class SharedCounter(ConnectionCounter):
    """The counter of worker `number`; limits count what all have together."""

    def __init__(self, table: Table, number: int, key: bytes) -> None:
        super().__init__()
        self._key = key
        self._memory = table.memory
        self._lock = table.fd
        self._own = (number - 1) * _ROW
        self._rows = [row * _ROW for row in range(table.workers)]
        table.clear(number)
        self._memory[self._own + _TAKES] = 1

    def _column(self, network: str) -> int:
        return _hashed(network, self._key, _NETWORKS, _COLUMNS)

    @contextmanager
    def alone(self) -> Iterator[None]:
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    @property
    def total(self) -> int:
        return sum(self._memory[row] for row in self._rows)

    def of(self, network: str) -> int:
        column = self._column(network)
        return sum(self._memory[row + column] for row in self._rows)

    @property
    def own(self) -> int:
        return self._memory[self._own]

    def add(self, network: str) -> None:
        self._memory[self._own] += 1
        self.join(network)

    def remove(self, network: str) -> None:
        self._memory[self._own] -= 1
        self.leave(network)

    def join(self, group: str) -> None:
        self._memory[self._own + self._column(group)] += 1

    def leave(self, group: str) -> None:
        self._memory[self._own + self._column(group)] -= 1

    @property
    def ahead(self) -> int:
        memory = self._memory
        return memory[self._own] - min(memory[row] for row in self._rows if memory[row + _TAKES])


class Interests:
    """Which workers want to be told what happens to an account. One that is told without need takes no harm:
    accounts share columns as networks do."""

    def __init__(self, table: Table, number: int, key: bytes) -> None:
        self._key = key
        self._memory = table.memory
        self._own = (number - 1) * _ROW + _COLUMNS
        self._others = [
            (other, (other - 1) * _ROW + _COLUMNS) for other in range(1, table.workers + 1) if other != number
        ]

    def _column(self, user: str) -> int:
        return _hashed(user, self._key, _FIRST, _ACCOUNTS)

    def add(self, user: str, more: int) -> None:
        """So much more of this worker wants news of the account, or less. Who begins to want them looks for
        what has happened afterwards."""
        self._memory[self._own + self._column(user)] += more

    def add_mail(self) -> None:
        """From now on this worker wants to know of all mail that comes and goes."""
        self._memory[self._own + _MAIL] = 1

    def of(self, user: str) -> list[int]:
        """The other workers that want to be told at once of what happens to an account."""
        memory, column = self._memory, self._column(user)
        return [number for number, row in self._others if memory[row + column]]

    def of_mail(self) -> list[int]:
        """The other workers that want to know which accounts mail came to or went from."""
        memory = self._memory
        return [number for number, row in self._others if memory[row + _MAIL]]
