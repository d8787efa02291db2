"""[disk] Where messages are written before they get a name in a Maildir.

`data_dir/queue/incoming`, if the mail lies on the same file system (a link then makes the message appear),
else `.incoming` in the mail directory. A file there was never promised to anybody: what an unclean stop
leaves is removed at the next start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field

from mailserver import durable
from mailserver.errors import NoSpace, TemporaryFailure
from mailserver.interfaces import CopyResult, IMessageBody, NewMessage
from mailserver.store.filing import AccountPlace, Deposit, Paper
from mailserver.store.maildir import NameMaker

_SMALL = 1 << 16  # a message up to this size is written in one piece


class Spool:
    """The directory. `reserve` gives the octets that have to stay free."""

    def __init__(
        self,
        mail_dir: str,
        queue_dir: str,
        names: NameMaker,
        clock: Callable[[], float],
        reserve: Callable[[], int],
    ) -> None:
        self._mail_dir = mail_dir
        self._queue_dir = queue_dir
        self._names = names
        self._clock = clock
        self._reserve = reserve
        self.path = ""

    def prepare(self) -> None:
        """Make the directories, choose ours, and empty it."""
        durable.make_dirs(self._mail_dir)
        durable.make_dirs(self._queue_dir)
        durable.set_topdir_flag(self._mail_dir)
        with durable.told():
            same = os.stat(self._mail_dir).st_dev == os.stat(self._queue_dir).st_dev
        parent, name = (self._queue_dir, "incoming") if same else (self._mail_dir, ".incoming")
        self.path = os.path.join(parent, name)
        durable.make_dirs(self.path)
        with durable.told():
            for leftover in os.listdir(self.path):
                durable.unlink_quietly(os.path.join(self.path, leftover))

    def check_free(self, size: int) -> None:
        """Raises NoSpace before the last reserve of the disk is used."""
        with durable.told():
            status = os.statvfs(self.path)
        if status.f_bavail * status.f_frsize < self._reserve() + size:
            raise NoSpace(cause="less than limits.min_free would be left")

    def write(self, head: bytes, body: IMessageBody, when: float | None) -> tuple[Paper, int]:
        """`head` and the body in a new file: what it is, and its descriptor, not synced. `when` becomes the
        time of the file, where given: a Maildir's internal date."""
        size = len(head) + body.size
        self.check_free(size)
        now = self._clock()
        path = os.path.join(self.path, self._names.unique(now))
        chunks: Iterable[bytes]
        if body.path is None and size <= _SMALL:
            chunks = (b"".join((head, *body.chunks())),)
        else:
            chunks = _with_head(head, body.chunks())
        fd = durable.write_new(path, chunks)
        if when is not None:
            with suppress(OSError, OverflowError):
                os.utime(fd, (when, when))
        wire = len(head) + head.count(b"\n") + body.wire_size
        return Paper(path, size, wire, int(now if when is None else when)), fd


def _with_head(head: bytes, chunks: Iterable[bytes]) -> Iterable[bytes]:
    if head:
        yield head
    yield from chunks


@define(eq=False)
class AppendJob:
    """APPEND: messages for one folder, all or none."""

    spool: Spool
    place: AccountPlace
    deposit: Deposit
    messages: Sequence[NewMessage]
    papers: list[Paper] = field(factory=list)

    def write(self) -> Sequence[int]:
        descriptors: list[int] = []
        try:
            for message in self.messages:
                paper, fd = self.spool.write(b"", message.body, message.internal_date)
                descriptors.append(fd)
                self.papers.append(
                    Paper(paper.path, paper.size, paper.wire, paper.date, message.flags, moves=True)
                )
        except BaseException:
            for fd in descriptors:
                with suppress(TemporaryFailure):
                    durable.close(fd)
            self.abandon()
            raise
        return descriptors

    def parts(self) -> Sequence[tuple[AccountPlace, Any]]:
        self.deposit.papers = self.papers
        return ((self.place, self.deposit),)

    def finish(self, outcomes: Sequence[Exception | None]) -> CopyResult:
        if outcomes[0] is not None:
            self.abandon()
            raise outcomes[0]
        return CopyResult(self.deposit.uidvalidity, (), tuple(self.deposit.uids))

    def abandon(self) -> None:
        for paper in self.papers:
            durable.unlink_quietly(paper.path)
