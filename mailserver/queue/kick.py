"""[disk] A pipe that says "look again": the command-line tools change the database and then write one byte
into the FIFO queue_dir/kick, which wakes the server's queue manager.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.disk import durable


def kick(queue_dir: Path) -> bool:
    """Wake the server of this queue; False where none runs."""
    try:
        fd = os.open(queue_dir / "kick", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # ENXIO: nobody reads
        return False
    try:
        with suppress(BlockingIOError):  # full of kicks already
            os.write(fd, b"k")
    finally:
        os.close(fd)
    return True


@implementer(IReadDescriptor)
class KickListener:
    """The server's end of the pipe. `kicked` is called in the reactor thread, once for many bytes."""

    def __init__(self, queue_dir: Path, reactor: Any, kicked: Callable[[], None]) -> None:
        self._path = queue_dir / "kick"
        self._reactor = reactor
        self._kicked = kicked
        self._fd = -1
        self._writer = -1

    def start(self) -> None:
        with durable.told():
            with suppress(FileNotFoundError):
                if not stat.S_ISFIFO(os.lstat(self._path).st_mode):
                    os.unlink(self._path)
            with suppress(FileExistsError):
                os.mkfifo(self._path, 0o600)
            flags = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._path, os.O_RDONLY | flags)
            self._writer = os.open(self._path, os.O_WRONLY | flags)  # so that it never reads as ended
        self._reactor.addReader(self)

    def stop(self) -> None:
        if self._fd >= 0:
            self._reactor.removeReader(self)
            os.close(self._fd)
            os.close(self._writer)
            self._fd = self._writer = -1

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fd, 4096)
        self._kicked()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found the descriptor broken."""
        self.stop()

    def logPrefix(self) -> str:
        return "queue kick"
