"""One server per folder: data_dir/mailserver.pid, and queue_dir/lock, are locked as long as it lives.

The file holds the process id and a line end. The lock (flock) goes with the process, however it ends, so a
file that a crash left behind blocks nobody and is known to be stale. The workers of a server inherit the
lock: where their master was killed it is free when the last of them has gone, which is soon.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from mailserver.disk import durable
from mailserver.interfaces import Listener

NAME = "mailserver.pid"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PATIENCE = 10.0  # seconds for the workers of a master that was killed


def new_run() -> str:
    """[disk] The name of a start of the server: the boot of the machine, and a name of its own."""
    try:
        boot = _BOOT.read_text("ascii").strip()
    except (OSError, ValueError):
        boot = ""
    return f"{boot or secrets.token_hex(8)}/{secrets.token_hex(8)}"


def same_boot(one: str, other: str) -> bool:
    """Two starts of the server without a start of the machine between: what was written is there."""
    return bool(one) and one.partition("/")[0] == other.partition("/")[0]


class AlreadyRunning(OSError):
    """Another server holds the lock. `pid` is 0 where it could not be read."""

    def __init__(self, path: Path, pid: int) -> None:
        self.path = path
        self.pid = pid
        super().__init__(f"another server runs on {path.parent}" + (f" (process {pid})" if pid else ""))


class InstanceLock:
    """[disk] Taken by the server before it touches anything in the folder of `path`, the file to lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock and write the process id. Raises AlreadyRunning, OSError."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)
            _lock(fd)
        except BlockingIOError:
            pid = _read_pid(fd)
            os.close(fd)
            raise AlreadyRunning(self.path, pid) from None
        except OSError:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def release(self) -> None:
        """Give the lock up; harmless where it is not held. The file stays, empty."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def provide(data_dir: Path, uid: int, gid: int | None) -> None:
    """[disk] Started as root, to go on as `uid`: data_dir, and what is missing above it, is made for that
    user; one that is there must be that user's. Raises MailError, OSError, ValueError."""
    user = _name(uid)
    if os.geteuid() != 0:
        raise ValueError(f"only root can go on as {user} (--uid)")
    if data_dir.exists():
        owner = os.stat(data_dir).st_uid
        if owner != uid:
            raise ValueError(f"{data_dir} is {_name(owner)}'s, not {user}'s (chown -R {user} {data_dir})")
        return
    missing = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
    durable.make_dirs(str(data_dir))
    for path in missing:
        os.chown(path, uid, -1 if gid is None else gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def hand_over(data_dir: Path) -> None:
    """[disk] Started as root: what was made in data_dir before the privileges are given up belongs to whom
    data_dir belongs to. Raises OSError."""
    owner = os.stat(data_dir)
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    tls = data_dir / "tls"
    made = [data_dir / NAME, data_dir / "salt", tls, *(tls.iterdir() if tls.is_dir() else ())]
    for path in made:
        if os.path.lexists(path) and os.lstat(path).st_uid == 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def hand_over_sockets(data_dir: Path, listeners: Iterable[Listener]) -> None:
    """[disk] The same for Unix sockets, whose group is that of data_dir then. Raises OSError."""
    owner = os.stat(data_dir)
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for listener in listeners:
        path = getattr(listener.port.getHost(), "name", None)
        if path and not path.startswith(b"\0"):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def running(data_dir: Path) -> int | None:
    """[disk] The process id of the server that runs on `data_dir`, None where none does. Raises OSError where
    that cannot be told."""
    try:
        fd = os.open(data_dir / NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(fd) or None
    else:
        return None
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    """Raises BlockingIOError where the process that has it lives, or its workers do not end."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pid = _read_pid(fd)
            if not pid or _lives(pid) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _read_pid(fd: int) -> int:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0
