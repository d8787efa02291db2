"""One message, opened: its wire form (CRLF line ends) read without waiting for the disk where that goes.

`read_all` asks the kernel for what it has in memory (RWF_NOWAIT); what would have to come from the disk is
read by `read` in a thread. Offsets of the wire form are found in a file with LF line ends by counting
them, block by block; the counts of large files are kept (`LineMaps`), for clients fetch them in many parts.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.disk import durable
from mailserver.disk.threads import OrderedPool
from mailserver.errors import MessageGone
from mailserver.interfaces import IMessageFile
from mailserver.store.files import to_wire, wire_length

AT_ONCE = 1 << 20
_BLOCK = 1 << 16
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_CAN_NOT = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))


class LineMaps:
    """Wire offsets of the blocks of recently read large files, by device, inode and time of change."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._maps: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()

    def get(self, key: tuple[int, ...]) -> list[int] | None:
        found = self._maps.get(key)
        if found is not None:
            self._maps.move_to_end(key)
        return found

    def put(self, key: tuple[int, ...], offsets: list[int]) -> None:
        self._maps[key] = offsets
        if len(self._maps) > self._limit:
            self._maps.popitem(last=False)


def open_file(path: str) -> tuple[int, os.stat_result]:
    """Descriptor and status of a regular file. Raises OSError."""
    fd = os.open(path, _FLAGS)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return fd, status


@implementer(IMessageFile)
class MessageFile:
    """See IMessageFile. `correct` is told when the wire size proves other than was known."""

    __slots__ = ("_correct", "_fd", "_maps", "_pool", "_status", "size")

    def __init__(
        self,
        opened: tuple[int, os.stat_result],
        size: int,
        *,
        pool: OrderedPool,
        maps: LineMaps,
        correct: Callable[[int], None],
    ) -> None:
        self._fd, self._status = opened
        self._pool = pool
        self._maps = maps
        self._correct = correct
        self.size = size

    def read_all(self) -> bytes | None:
        length = self._status.st_size
        if length > AT_ONCE or self.size > AT_ONCE:
            return None
        data = self._read_now(length)
        if data is None:
            return None
        wire = to_wire(data)
        if len(wire) != self.size:
            self.size = len(wire)
            self._correct(self.size)
        return wire

    def _read_now(self, length: int) -> bytes | None:
        if not _NOWAIT:
            return None
        buffer = bytearray(length)
        try:
            if os.preadv(self._fd, (buffer,), 0, _NOWAIT) != length:
                return None
        except OSError as error:
            if error.errno in _CAN_NOT:  # tmpfs, overlayfs: nothing to wait for, or no way to tell
                data = os.pread(self._fd, length, 0)
                return data if len(data) == length else None
            return None
        return bytes(buffer)

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        if self._fd < 0:
            return fail(MessageGone())
        if length <= 0 or offset >= self.size:
            return succeed(b"")
        try:
            # A close meanwhile must not give the thread somebody else's file.
            copy = io.FileIO(os.dup(self._fd))
        except OSError as error:
            return fail(durable.mail_error(error))
        return self._pool.ask(("file", id(self)), self._read, copy, offset, length)

    def _read(self, copy: io.FileIO, offset: int, length: int) -> bytes:
        """[thread]"""
        with copy:
            fd = copy.fileno()
            offsets = self._offsets(fd)
            block = bisect_right(offsets, offset) - 1
            skip = offset - offsets[block]
            pieces: list[bytes] = []
            have = -skip
            while have < length and block < len(offsets) - 1:
                piece = _wire_block(fd, block)
                pieces.append(piece)
                have += len(piece)
                block += 1
            return b"".join(pieces)[skip : skip + length]

    def _offsets(self, fd: int) -> list[int]:
        """Wire offset of each block, and of the end."""
        status = self._status
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        offsets = self._maps.get(key)
        if offsets is None:
            offsets = [0]
            after_cr = False
            position = 0
            while chunk := os.pread(fd, _BLOCK, position):
                offsets.append(offsets[-1] + wire_length(chunk, after_cr))
                after_cr = chunk.endswith(b"\r")
                position += _BLOCK
                if len(chunk) < _BLOCK:
                    break
            self._maps.put(key, offsets)
        return offsets

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)


def _wire_block(fd: int, block: int) -> bytes:
    position = block * _BLOCK
    after_cr = position > 0 and os.pread(fd, 1, position - 1) == b"\r"
    return to_wire(os.pread(fd, _BLOCK, position), after_cr)
