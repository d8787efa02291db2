"""[disk] Where messages are written before they get a name in a Maildir.

`data_dir/queue/incoming`, if the mail lies on the same file system (a link then makes the message appear),
else `.incoming` in the mail directory. A file there was never promised to anybody: what an unclean stop
leaves is removed at the next start.

ext4 makes a file cheaply (20 µs) unless many were deleted lately in the same group of inodes (1 ms); and a
file lies in the group of its directory. So the spool has subdirectories, which the T flag of the
spool spreads over the disk, and goes on in a new one when creating files has become dear.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from attrs import define, field

from mailserver.disk import durable
from mailserver.errors import NoSpace, TemporaryFailure
from mailserver.interfaces import IMessageBody, NewMessage
from mailserver.store import files
from mailserver.store.filing import FolderJob, Paper
from mailserver.store.maildir import NameMaker
from mailserver.wire.lines import size_on_wire

_SMALL = 1 << 16  # a message up to this size is written in one piece
_DEAR = 150e-6  # seconds of CPU for one file, on average
_ENOUGH = 16  # files before the average says something
_DIRECTORIES = 256  # then they come around again


class Spool:
    """The directory. reserve: gives the octets that have to stay free. part: a folder of its own for one of
    several processes, "" for all of it."""

    def __init__(
        self,
        mail_dir: str,
        queue_dir: str,
        names: NameMaker,
        clock: Callable[[], float],
        reserve: Callable[[], int],
        *,
        part: str = "",
    ) -> None:
        self._mail_dir = mail_dir
        self._queue_dir = queue_dir
        self._names = names
        self._clock = clock
        self._reserve = reserve
        self._part = part
        self.path = ""
        self._directory = ""
        self._number = 0
        self._files = 0
        self._cost = 0.0

    def prepare(self) -> None:
        """Make the directories, choose ours, and empty it."""
        durable.make_dirs(self._mail_dir)
        durable.make_dirs(self._queue_dir)
        durable.set_topdir_flag(self._mail_dir)
        with durable.told():
            same = os.stat(self._mail_dir).st_dev == os.stat(self._queue_dir).st_dev
        parent, name = (self._queue_dir, "incoming") if same else (self._mail_dir, ".incoming")
        self.path = os.path.join(parent, name, self._part) if self._part else os.path.join(parent, name)
        durable.make_dirs(self.path)
        durable.set_topdir_flag(self.path)
        for folder, _, names in os.walk(self.path, topdown=False):
            for name in names:
                durable.unlink_quietly(os.path.join(folder, name))
            if folder != self.path:
                durable.remove_dir(folder)
        self._next_directory()

    def _next_directory(self) -> None:
        self._number = (self._number + 1) % _DIRECTORIES
        self._directory = os.path.join(self.path, str(self._number))
        durable.make_dir(self._directory)
        self._files, self._cost = 0, 0.0

    def _new_file(self, path: str, chunks: Iterable[bytes], size: int) -> int:
        """[thread] The descriptor. Notes what it cost."""
        if size > _SMALL:
            return durable.write_new(path, chunks)
        begun = time.thread_time()
        fd = durable.write_new(path, chunks)
        self._cost += time.thread_time() - begun
        self._files += 1
        if self._files >= _ENOUGH:
            if self._cost > _DEAR * self._files:
                self._next_directory()
            else:
                self._files, self._cost = 0, 0.0
        return fd

    def check_free(self, size: int) -> None:
        """Raises NoSpace before the last reserve of the disk is used."""
        with durable.told():
            status = os.statvfs(self.path)
        if status.f_bavail * status.f_frsize < self._reserve() + size:
            raise NoSpace(cause="less than limits.min_free would be left")

    def write(
        self,
        head: bytes,
        body: IMessageBody,
        *,
        when: float | None = None,
        flags: frozenset[str] = frozenset(),
        moves: bool = False,
    ) -> tuple[Paper, int]:
        """`head` and the body in a new file: what it is, and its descriptor, not synced. `when` becomes the
        time of the file, where given: a Maildir's internal date. flags, moves: see `Paper`."""
        size = len(head) + body.size
        self.check_free(size)
        now = self._clock()
        path = f"{self._directory}/{self._names.unique(now)}"
        chunks: Iterable[bytes]
        if body.path is None and size <= _SMALL:
            chunks = (b"".join((head, *body.chunks())),)
        else:
            chunks = _with_head(head, body.chunks())
        fd = self._new_file(path, chunks, size)
        if when is not None:
            with suppress(OSError, OverflowError):
                os.utime(fd, (when, when))
        wire = size_on_wire(head) + body.wire_size
        return Paper(path, size, wire, int(now if when is None else when), flags, moves), fd

    def link(self, source: str, *, wire: int, date: int, flags: frozenset[str]) -> Paper:
        """[thread] A second name for a message that is durable where it lies; a copy where there is none to
        be had. It may be renamed."""
        path = f"{self._directory}/{self._names.unique(self._clock())}"
        with durable.told():
            size = os.lstat(source).st_size
        try:
            durable.link(source, path)
        except TemporaryFailure as error:
            if getattr(error.cause, "errno", None) not in durable.NO_LINK:
                raise
            self.check_free(size)
            with durable.told():
                original = files.open_message(source)
            try:
                durable.sync_close(durable.write_new(path, files.chunks_of(original)))
            except BaseException:
                durable.unlink_quietly(path)
                raise
            finally:
                os.close(original)
            os.utime(path, (date, date))
        return Paper(path, size, wire, date, flags, moves=True)


def _with_head(head: bytes, chunks: Iterable[bytes]) -> Iterable[bytes]:
    if head:
        yield head
    yield from chunks


@define(eq=False)
class AppendJob(FolderJob):
    """APPEND: messages that are not in files yet."""

    spool: Spool
    messages: Sequence[NewMessage]
    papers: list[Paper] = field(factory=list, init=False)

    def write(self) -> Sequence[int]:
        descriptors: list[int] = []
        try:
            for message in self.messages:
                paper, fd = self.spool.write(
                    b"", message.body, when=message.internal_date, flags=message.flags, moves=True
                )
                descriptors.append(fd)
                self.papers.append(paper)
        except BaseException:
            for fd in descriptors:
                with suppress(TemporaryFailure):
                    durable.close(fd)
            self.abandon()
            raise
        return descriptors
