"""Every system call that the store and the queue make below one folder, seen and made to fail.

Three ways lead to the disk, and all are watched: `durable.calls` (all that writes), functions of `os` that
code calls by itself (to read, to ask), and SQLite's own (`sqlite_vfs`). `Watched(root).watching(see)` calls
`see(call, path, arguments)` before each; what it returns is None, an errno, or SHORT for half a write.
Nothing is synced for real, for the tests decide what a disk has.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from mailserver.disk import durable
from tests.helpers import sqlite_vfs

SHORT = -1
BUSY = -2  # of SQLite: the lock is taken
GARBAGE = -3  # of SQLite: a page reads as zeros
See = Callable[[str, str, tuple[Any, ...]], int | None]
Done = Callable[[str, str, tuple[Any, ...]], None]

# Of `durable.calls`: what takes a path, what takes a descriptor.
_BY_PATH = ("open", "link", "rename", "rename_noreplace", "unlink", "mkdir", "rmdir")
_BY_FD = ("write", "writev", "fsync", "close")
# Of `os`, where code uses them without `durable`.
_OS_BY_PATH = ("open", "lstat", "stat", "scandir", "listdir", "statvfs", "utime")
_OS_BY_FD = ("read", "pread", "pwrite", "fstat")
_FAILED = {
    "xOpen": sqlite_vfs.CANTOPEN,
    "xRead": sqlite_vfs.IOERR_READ,
    "xWrite": sqlite_vfs.IOERR_WRITE,
    "xTruncate": sqlite_vfs.IOERR_TRUNCATE,
    "xSync": sqlite_vfs.IOERR_FSYNC,
    "xFileSize": sqlite_vfs.IOERR_FSTAT,
    "xLock": sqlite_vfs.IOERR_LOCK,
    "xShmMap": sqlite_vfs.IOERR_SHMMAP,
    "xShmLock": sqlite_vfs.BUSY,
    "xDelete": sqlite_vfs.IOERR_DELETE,
    "xAccess": sqlite_vfs.IOERR_ACCESS,
}
_SHM_UNLOCK = 1


class Watched:
    """What lies below `root`."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") + "/"
        self.paths: dict[int, str] = {}  # of open descriptors
        self._see: See = lambda call, path, arguments: None
        self._done: Done = lambda call, path, arguments: None

    @contextmanager
    def watching(self, see: See, done: Done = lambda call, path, arguments: None) -> Iterator[None]:
        """done: told of each call that succeeded (of SQLite's, before it is made)."""
        self._see, self._done = see, done
        shim = sqlite_vfs.installed()
        with ExitStack() as stack:
            calls = durable.Calls()
            for name in _BY_PATH:
                setattr(calls, name, self._by_path(name, getattr(calls, name)))
            for name in _BY_FD:
                setattr(calls, name, self._by_fd(name, getattr(calls, name)))
            stack.enter_context(patch.object(durable, "calls", calls))
            for name in _OS_BY_PATH:
                stack.enter_context(patch.object(os, name, self._by_path(f"os.{name}", getattr(os, name))))
            for name in _OS_BY_FD:
                stack.enter_context(patch.object(os, name, self._by_fd(f"os.{name}", getattr(os, name))))
            stack.enter_context(patch.object(os, "close", self._forgetting(os.close)))
            stack.enter_context(patch.object(fcntl, "flock", self._by_fd("flock", fcntl.flock)))
            shim.watch(self._sqlite)
            stack.callback(shim.leave)
            yield

    def _below(self, path: str) -> str:
        return path[len(self.root) :]

    def _relative(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The second path of those that have one."""
        if name in ("link", "rename", "rename_noreplace"):
            return (self._below(arguments[0]),)
        return arguments

    def _fail(self, call: str, path: str, arguments: tuple[Any, ...]) -> bool:
        """Asks; raises the failure. True: do half of it."""
        number = self._see(call, self._below(path), arguments)
        if number is None:
            return False
        if number < 0:
            return True
        raise OSError(number, os.strerror(number), path)

    def _by_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            path = arguments[0] if arguments else "."
            if not isinstance(path, str):
                if isinstance(path, int):
                    return real(*arguments, **more)
                path = os.fsdecode(path)
            if not (path + "/").startswith(self.root):
                return real(*arguments, **more)
            self._fail(name, path, arguments)
            result = real(*arguments, **more)
            if name in ("open", "os.open"):
                self.paths[result] = path
            self._done(name, self._below(path), self._relative(name, arguments[1:]))
            return result

        return call

    def _by_fd(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(fd: int, *arguments: Any) -> Any:
            path = self.paths.get(fd)
            if path is None:
                return real(fd, *arguments)
            if name == "flock" and arguments[0] == fcntl.LOCK_UN:
                return real(fd, *arguments)
            half = self._fail_closing(name, fd, path, arguments, real)
            if half and name == "write":
                arguments = (bytes(arguments[0])[: len(arguments[0]) // 2 or 1],)
            result = None if name == "fsync" else real(fd, *arguments)
            self._done(name, self._below(path), arguments)
            return result

        return call

    def _fail_closing(
        self, name: str, fd: int, path: str, arguments: tuple[Any, ...], real: Callable[..., Any]
    ) -> bool:
        """A close that fails has closed nevertheless."""
        if name == "close":
            del self.paths[fd]
        try:
            return self._fail(name, path, arguments)
        except OSError:
            if name == "close":
                real(fd)
            raise

    def _forgetting(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def close(fd: int) -> None:
            self.paths.pop(fd, None)
            real(fd)

        return close

    def _sqlite(self, call: str, path: str, arguments: tuple[Any, ...]) -> int | None:
        if not path.startswith(self.root):
            return None
        number: int | None = None
        if call != "xClose" and not (call == "xShmLock" and arguments[2] & _SHM_UNLOCK):
            number = self._see(call, self._below(path), arguments)
        if number is None:
            self._done(call, self._below(path), arguments)
            return sqlite_vfs.OK if call == "xSync" else None
        if number == SHORT:
            return sqlite_vfs.HALF if call == "xWrite" else None
        if number == GARBAGE:
            return sqlite_vfs.GARBAGE if call == "xRead" else None
        if number == BUSY:
            return sqlite_vfs.BUSY
        if number == errno.ENOSPC and call == "xWrite":
            return sqlite_vfs.FULL
        return _FAILED[call]
