"""[disk] The lock of one account: a lock for the threads of this process, a `flock` for the others.

The lock file says who had it last and how many changes have been told (`following.Stamp`).
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mailserver.disk import durable
from mailserver.store.following import Stamp

LOCK = "mailserver-lock"


class NotNow(Exception):
    """That takes time, or somebody else has the account: it is work for a thread."""


class AccountLock:
    """visited: another process had it since that was set to False. told: something was changed, which those
    outside should look at; set while it is held."""

    def __init__(self, account: str, process: int) -> None:
        self.visited = False
        self.told = False
        self._path = os.path.join(account, LOCK)
        self._threads = threading.RLock()
        self._fd = -1
        self._stamp = Stamp(process)

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._threads:
            self._open()
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                self.visited |= self._stamp.enter(self._fd)
                yield
            finally:
                self._leave()

    @contextmanager
    def held_at_once(self) -> Iterator[None]:
        """Without waiting. Raises NotNow where somebody has it, or another process had it."""
        if self._fd < 0 or not self._threads.acquire(blocking=False):
            raise NotNow
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise NotNow from error
            try:
                self.visited |= self._stamp.enter(self._fd)
                if self.visited:
                    raise NotNow
                yield
            finally:
                self._leave()
        finally:
            self._threads.release()

    def _leave(self) -> None:
        if self.told:
            self.told = False
            self._stamp.count(self._fd)
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def of_threads(self, wait: bool = True) -> Iterator[bool]:
        """This process's part of it alone; False where a thread has it and `wait` is not."""
        if not self._threads.acquire(blocking=wait):
            yield False
            return
        try:
            yield True
        finally:
            self._threads.release()

    def _open(self) -> None:
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with durable.told():
                self._fd = os.open(self._path, flags, 0o600)

    def close(self) -> None:
        """With `of_threads`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def unchanged(self) -> bool:
        """Nobody else has changed anything since this process was here. Without the lock: it may have just
        happened, but not before the one who did it was answered."""
        return self._fd >= 0 and self._stamp.unchanged(self._fd)
