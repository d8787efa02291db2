"""[disk] Bodies of the queue as those who deliver them read them, checked to the end."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from mailserver.delivery.body import file_chunks
from mailserver.interfaces import IMessageBody
from mailserver.queue.files import WHOLE, Poison
from mailserver.queue.values import Job

SLICE = 256 * 1024


class JobSource:
    """One reading of one message. A large one has a file of its own, read in the reactor's thread pool; a
    content that is not what was written raises Poison before the end, so that no final dot is sent."""

    def __init__(self, job: Job, reactor: Any) -> None:
        self.whole = job.whole
        self._place = job.message.place
        self._reactor = reactor
        self._offset = 0
        self._checksum = 0
        self._busy = False
        self._closed = False
        self._fd = -1
        if job.whole is None:
            self._fd = os.open(job.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def read(self) -> Deferred[bytes]:
        """The next slice, b"" at the end. Fails with OSError, Poison."""
        self._busy = True
        pool = self._reactor.getThreadPool()
        reading: Deferred[bytes] = deferToThreadPool(self._reactor, pool, self.read_now)
        return reading.addBoth(self._idle)

    def close(self) -> None:
        """Also while a read is under way: then the file is closed after it."""
        self._closed = True
        if self._fd >= 0 and not self._busy:
            os.close(self._fd)
            self._fd = -1

    def read_now(self) -> bytes:
        """[disk] As `read`, in the caller's thread."""
        place = self._place
        left = place.size - self._offset
        data = os.pread(self._fd, min(SLICE, left), place.offset + self._offset) if left else b""
        self._offset += len(data)
        self._checksum = zlib.crc32(data, self._checksum)
        if (left and not data) or (self._offset == place.size and self._checksum != place.checksum):
            raise Poison(f"{place.file}: the content is not what was written")
        return data

    def _idle(self, result: Any) -> Any:
        self._busy = False
        if self._closed:
            self.close()
        return result


class TextSource:
    """A text that was made of a queued message: in memory where it is small, else in a file without a name,
    in `folder`. [disk] to make; may be read several times, one after the other."""

    def __init__(self, text: bytes, folder: str, reactor: Any) -> None:
        self.size = len(text)
        self.whole = text if self.size <= WHOLE else None
        self._reactor = reactor
        self._offset = 0
        if self.whole is None:
            # Closed, and with that gone, when nobody needs it any more.
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._file.write(text)
            self._file.flush()

    def again(self) -> TextSource:
        """From the beginning."""
        self._offset = 0
        return self

    def read(self) -> Deferred[bytes]:
        """See JobSource."""
        pool = self._reactor.getThreadPool()
        reading: Deferred[bytes] = deferToThreadPool(self._reactor, pool, self._read)
        return reading

    def close(self) -> None:
        """Another attempt may read it."""

    def _read(self) -> bytes:
        data = os.pread(self._file.fileno(), SLICE, self._offset)
        self._offset += len(data)
        return data


def checked_chunks(job: Job, reactor: Any) -> Iterator[bytes]:
    """[disk] The message in slices. Raises OSError, Poison."""
    if job.whole is not None:
        yield job.whole
        return
    source = JobSource(job, reactor)
    try:
        while data := source.read_now():
            yield data
    finally:
        source.close()


@implementer(IMessageBody)
class QueuedBody:
    """A queued message for local delivery: the queue's own file, which is not given away."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.size = job.message.place.size
        self.wire_size = job.message.place.wire_size
        self.path = None if job.whole is not None else job.path

    def chunks(self) -> Iterable[bytes]:
        if self._job.whole is not None:
            return (self._job.whole,)
        return file_chunks(self._job.path, self.size)

    def head(self, limit: int) -> bytes:
        return self._job.head[:limit]

    def discard(self) -> None:
        """The file goes when the last recipient is done."""
