"""[disk] The only module that calls fsync, link and rename.

What survives a power cut is decided here: a file is whole on the disk after `sync_file`, an entry of a
folder after `sync_dir`. The order that every accepting path keeps is: write, sync_file, link or rename,
sync_dir, commit of an index, reply. Whatever fails raises a MailError, never silence:
`NoSpace` for a full disk or an exhausted disk quota, `Exists` and `Missing` for names (so that a caller
may take another), `TemporaryFailure` for all else. An fsync that failed is never repeated: the kernel may
have dropped the pages, and a second call would report a success that is none.

All system calls go through `calls`, whose attributes tests replace to make each step fail or to record
the order.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from mailserver.disk.overlapped import Overlapped
from mailserver.errors import NoSpace, TemporaryFailure

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_TOPDIR_FL = 0x00020000
_NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
_NOT_SUPPORTED = frozenset((errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP))
NO_LINK = frozenset((errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP))
"""Errors of link(2) after which a copy is worth a try."""


class Exists(TemporaryFailure):
    """The name is taken; the caller may try another."""


class Missing(TemporaryFailure):
    """No such file; another program may have moved it."""


def _from_libc(name: str, *arguments: type) -> Callable[..., int] | None:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


_renameat2 = _from_libc(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)


def _rename_noreplace(source: str, target: str) -> None:
    """renameat2(2) with RENAME_NOREPLACE; raises OSError(ENOSYS) where the system has none."""
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, "renameat2")
    flag = ctypes.c_uint(_RENAME_NOREPLACE)
    if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


class Calls:
    """The system calls. Replace an attribute of `durable.calls` to inject a failure."""

    def __init__(self) -> None:
        self.open: Callable[..., int] = os.open
        self.write: Callable[..., int] = os.write
        self.writev: Callable[..., int] = os.writev
        self.fsync: Callable[[int], None] = os.fsync
        self.close: Callable[[int], None] = os.close
        self.link: Callable[..., None] = os.link
        self.rename: Callable[[str, str], None] = os.rename
        self.rename_noreplace: Callable[[str, str], None] = _rename_noreplace
        self.unlink: Callable[[str], None] = os.unlink
        self.mkdir: Callable[[str, int], None] = os.mkdir
        self.rmdir: Callable[[str], None] = os.rmdir

    def fsync_all(self, descriptors: Sequence[int], by: Overlapped) -> list[int]:
        """An errno, or 0, for each. Whoever replaces `fsync` means these as well."""
        real = self.fsync is os.fsync
        outcomes = by.fsync(descriptors) if real else [None] * len(descriptors)
        return [
            self._errno_of_fsync(fd) if outcome is None else outcome
            for fd, outcome in zip(descriptors, outcomes, strict=True)
        ]

    def _errno_of_fsync(self, fd: int) -> int:
        try:
            self.fsync(fd)
        except OSError as error:
            return error.errno or errno.EIO
        return 0


calls = Calls()


def mail_error(error: OSError) -> TemporaryFailure:
    """What a client may be told of a failed system call; the call itself is for the log."""
    if error.errno in _NO_SPACE:
        return NoSpace(cause=error)
    if error.errno == errno.EEXIST:
        return Exists(cause=error)
    if error.errno == errno.ENOENT:
        return Missing(cause=error)
    return TemporaryFailure(cause=error)


@contextmanager
def told() -> Iterator[None]:
    """OSError to MailError."""
    try:
        yield
    except OSError as error:
        raise mail_error(error) from error


# --- files ---------------------------------------------------------------------------------------


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`; a short write goes on where it stopped."""
    try:
        done = calls.write(fd, data)
        if done == len(data):
            return
        rest = memoryview(data)[done:]
        while rest:
            rest = rest[calls.write(fd, rest) :]
    except OSError as error:
        raise mail_error(error) from error


def write_new(path: str, chunks: Iterable[bytes], mode: int = 0o600) -> int:
    """Create `path`, which must not exist, write `chunks`; the descriptor, still open and not synced.

    On failure nothing is left. The mode is exact whatever the umask takes away from 0600.
    """
    try:
        fd = calls.open(path, _NEW, mode)
    except OSError as error:
        raise mail_error(error) from error
    try:
        for chunk in chunks:
            write_all(fd, chunk)
    except BaseException:
        with suppress(OSError):
            calls.close(fd)
        with suppress(OSError):
            calls.unlink(path)
        raise
    return fd


def sync_file(fd: int) -> None:
    """The file's content is on the disk when this returns."""
    try:
        calls.fsync(fd)
    except OSError as error:
        raise mail_error(error) from error


def sync_side_by_side(descriptors: Sequence[int], by: Overlapped) -> list[Exception | None]:
    """`sync_file` and `sync_dir` for many open files and folders at a time; an outcome for each."""
    return [
        None if number == 0 else mail_error(OSError(number, os.strerror(number)))
        for number in calls.fsync_all(descriptors, by)
    ]


def close(fd: int) -> None:
    """A close that fails means that the content may be lost (NFS, quotas): it is told."""
    try:
        calls.close(fd)
    except OSError as error:
        raise mail_error(error) from error


def sync_close(fd: int) -> None:
    """sync_file and close; closed in any case."""
    try:
        sync_file(fd)
    except TemporaryFailure:
        with suppress(OSError):
            calls.close(fd)
        raise
    close(fd)


def write_file_atomic(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` by one that holds `data`: durable, and never seen half written.

    The name beside it, `path` + ".new", is this function's own; a leftover of a crash is removed.
    Two threads must not write one path at a time.
    """
    beside = path + ".new"
    try:
        fd = write_new(beside, (data,), mode)
    except Exists:
        unlink(beside)
        fd = write_new(beside, (data,), mode)
    try:
        sync_close(fd)
        rename(beside, path)
    except TemporaryFailure:
        with suppress(OSError):
            calls.unlink(beside)
        raise
    sync_dir(os.path.dirname(path))


# --- names ---------------------------------------------------------------------------------------


def link(source: str, target: str) -> None:
    """A second name; raises Exists rather than replace. A symbolic link is not followed."""
    try:
        calls.link(source, target, follow_symlinks=False)
    except OSError as error:
        raise mail_error(error) from error


def rename(source: str, target: str) -> None:
    """Atomically, replacing `target`."""
    try:
        calls.rename(source, target)
    except OSError as error:
        raise mail_error(error) from error


def rename_noreplace(source: str, target: str) -> None:
    """Rename, or raise Exists. Falls back to link and unlink where the file system knows no better."""
    try:
        calls.rename_noreplace(source, target)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise mail_error(error) from error
        link(source, target)
        unlink(source)


def unlink(path: str, missing_ok: bool = True) -> None:
    try:
        calls.unlink(path)
    except FileNotFoundError as error:
        if not missing_ok:
            raise mail_error(error) from error
    except OSError as error:
        raise mail_error(error) from error


def unlink_quietly(path: str) -> None:
    """For cleaning up after a failure that is told already."""
    with suppress(OSError):
        calls.unlink(path)


# --- folders -------------------------------------------------------------------------------------


def open_dir(path: str) -> int:
    """A folder to be synced."""
    with told():
        return calls.open(path or ".", _FOLDER)


def sync_dir(path: str) -> None:
    """The entries of the folder are on the disk when this returns."""
    sync_close(open_dir(path))


def make_dir(path: str, mode: int = 0o700) -> bool:
    """False where it was there. Not synced: sync_dir of the parent makes it durable."""
    try:
        calls.mkdir(path, mode)
    except FileExistsError:
        if os.path.isdir(path):
            return False
        raise Exists(cause=f"{path} is not a directory") from None
    except OSError as error:
        raise mail_error(error) from error
    return True


def make_dirs(path: str, mode: int = 0o700, durable: bool = True) -> None:
    """Make the folder and those above it that are missing; each new entry is synced if `durable`."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        make_dirs(parent, mode, durable)
    if make_dir(path, mode) and durable:
        sync_dir(parent)


def remove_dir(path: str) -> None:
    """An empty folder; harmless where it is gone."""
    try:
        calls.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise mail_error(error) from error


def set_topdir_flag(path: str) -> bool:
    """`chattr +T`: ext4 then spreads the folders made below `path` over the disk, which keeps the creation
    of files cheap where many are deleted. Best effort; True where it is set."""
    try:
        fd = calls.open(path, _FOLDER)
    except OSError:
        return False
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8))[:4], "little")
        if not flags & _FS_TOPDIR_FL:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, (flags | _FS_TOPDIR_FL).to_bytes(8, "little"))
    except OSError:
        return False
    else:
        return True
    finally:
        calls.close(fd)
