"""[disk] Replacing a configuration file: whole or not at all, durable, with the rights it had."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mailserver.disk import durable


def edit_file(path: Path, change: Callable[[str], str]) -> None:
    """Replace the file's text by `change(text)`; an absent file is empty text.

    Two editors at once wait for each other. Owner, group and mode stay, except that others lose any right;
    a new file is 0600. A symbolic link stays one: what it leads to is replaced. Whatever `change` raises
    leaves the file as it was. Raises OSError, MailError.
    """
    path = Path(os.path.realpath(path))
    with _locked(path) as fd:
        old = b"" if fd is None else _read(fd)
        new = change(old.decode("utf-8")).encode("utf-8")
        if new != old or fd is None:
            _replace(path, new, os.fstat(fd) if fd is not None else None)


def _replace(path: Path, data: bytes, old: os.stat_result | None) -> None:
    beside = f"{path}.new"
    durable.unlink(beside)
    fd = durable.write_new(beside, (data,))
    try:
        try:
            if old is not None:
                with suppress(PermissionError):
                    os.fchown(fd, old.st_uid, old.st_gid)
                os.fchmod(fd, stat.S_IMODE(old.st_mode) & 0o660)
        finally:
            durable.sync_close(fd)
        durable.rename(beside, str(path))
    except BaseException:
        durable.unlink_quietly(beside)
        raise
    durable.sync_dir(str(path.parent))


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The file, locked and known to be the one that the name stands for; None where there is none."""
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.stat(path), os.fstat(fd))
            except FileNotFoundError:
                same = False
            if same:
                yield fd
                return
        finally:
            os.close(fd)


def _read(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read()
