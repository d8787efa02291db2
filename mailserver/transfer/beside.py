"""[disk] Where a command keeps messages between writing and filing them: a directory of its own on the
file system of the mail, locked while it runs. What a command that was killed has left is removed by the
next one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from mailserver.disk import durable
from mailserver.errors import MailError

_LOCK = "lock"


class Beside:
    """Below `mail/.importing`. Raises MailError."""

    def __init__(self, mail_dir: Path) -> None:
        self._all = mail_dir / ".importing"
        self.path = self._all / secrets.token_hex(8)
        self._lock = -1

    def open(self) -> None:
        durable.make_dirs(str(self.path))
        self._lock = _locked(self.path, wait=True)
        for other in self._all.iterdir():
            if other != self.path:
                lock = _locked(other, wait=False)
                if lock >= 0:
                    _remove(other)
                    os.close(lock)

    def close(self) -> None:
        if self._lock >= 0:
            _remove(self.path)
            os.close(self._lock)
            self._lock = -1


def _locked(directory: Path, wait: bool) -> int:
    """The descriptor of its lock; -1 where somebody works in it, or it has just gone."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(directory / _LOCK, flags, 0o600)
    except OSError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(fd)
        return -1
    return fd


def _remove(directory: Path) -> None:
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            durable.unlink_quietly(os.path.join(folder, name))
        with suppress(MailError):
            durable.remove_dir(folder)
