"""The bytes of one message on their way in: in memory up to 1 MiB, beyond that in a spool file.

Line ends become LF as the bytes come, the one form in which messages are kept. A spool file is written in
a thread; while the disk lags behind by more than `BACKLOG`, `full` is true and the producer stops. Nothing
here is durable: who accepts the message writes it to its final place and syncs it there. Files that a
crash leaves behind carry no promise and are removed at the next start (`Spool.clean`).

All bodies of a process together have bounds as well, or hundreds of clients with a megabyte each would have
all memory (CASES E13). Beyond `limits.message_memory` each body keeps to `FEW` octets: it goes into its file
as soon as its header is there, and stops its producer sooner. Beyond twice as much, what still comes is
refused for the moment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.disk import durable
from mailserver.errors import MailError, TemporaryFailure
from mailserver.interfaces import IMessageBody
from mailserver.wire.lines import size_on_wire, to_kept

MEMORY = 1024 * 1024  # octets of a message that stay in memory
BACKLOG = 1024 * 1024  # octets that may wait for the disk before the producer must stop
KEPT_HEAD = 256 * 1024  # octets of a spooled message that stay in memory for `head`
FEW = 64 * 1024  # octets for which a body is not disturbed, however crowded it is
TOGETHER = 64 * 1024 * 1024  # octets in memory of all bodies, where no configuration says so
_SLICE = 256 * 1024  # octets that one job of a thread writes, or more
_READ = 1024 * 1024
_HEADER_END = re.compile(rb"\n\r?\n")


class Pool(Protocol):
    """What is used of `mailserver.disk.threads.OrderedPool`."""

    def run(self, key: Any, function: Callable[..., Any], *args: Any) -> Deferred[Any]: ...

    def ask(self, key: Any, function: Callable[..., Any], *args: Any) -> Deferred[Any]: ...


@implementer(IMessageBody)
class MemoryBody:
    """A message that is in memory as a whole, LF line ends."""

    path: str | None = None

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.wire_size = size_on_wire(data)

    def chunks(self) -> Iterable[bytes]:
        return (self._data,)

    def head(self, limit: int) -> bytes:
        return self._data[:limit]

    def discard(self) -> None:
        self._data = b""


class Spool:
    """The folder for messages that are too large for the memory, and what all bodies hold there (`held`).
    `together`: how much that should be at the most."""

    def __init__(
        self,
        directory: Path,
        pool: Pool,
        memory: int = MEMORY,
        together: Callable[[], int] = lambda: TOGETHER,
    ) -> None:
        self.directory = directory
        self.pool = pool
        self.memory = memory
        self.held = 0
        self._together = together
        self._number = 0

    @property
    def crowded(self) -> bool:
        return self.held > self._together()

    @property
    def overfull(self) -> bool:
        return self.held > 2 * self._together()

    def clean(self) -> None:
        """[disk] Make the folder, and remove what an earlier process left, also in those of single workers.
        Before the first message only."""
        durable.make_dirs(str(self.directory))
        for folder, _, names in os.walk(self.directory):
            for name in names:
                durable.unlink_quietly(os.path.join(folder, name))

    def new_path(self) -> str:
        self._number += 1
        return str(self.directory / f"{os.getpid()}.{self._number}")

    def body(
        self,
        edit: Callable[[bytes], bytes] | None = None,
        on_drained: Callable[[], None] | None = None,
        memory: int | None = None,
        raw: bool = False,
    ) -> Body:
        """An empty body, see `Body`."""
        return Body(self, edit, on_drained, memory=memory, raw=raw)


@implementer(IMessageBody)
class Body:
    """Filled by `write`, closed by `finish`, then an IMessageBody.

    edit:       given the beginning of the message (all of it, or at least `Spool.memory` octets) once,
                before anything is on the disk; what it returns takes its place. A MailError it raises
                fails `finish`.
    on_drained: called when `full` has become false
    memory:     octets that may stay in memory, where it is less than `Spool.memory`
    raw:        line ends stay as they come: a binary message, or what is no message yet
                (`message.transfer.storable`)
    """

    def __init__(
        self,
        spool: Spool,
        edit: Callable[[bytes], bytes] | None = None,
        on_drained: Callable[[], None] | None = None,
        *,
        memory: int | None = None,
        raw: bool = False,
    ) -> None:
        self.size = 0
        self.wire_size = 0
        self.path: str | None = None
        self.full = False
        self._spool = spool
        self._edit = edit
        self._on_drained = on_drained
        self._raw = raw
        self._memory = spool.memory if memory is None else min(memory, spool.memory)
        self._pieces: list[bytes] = []  # before the file: as received, CRLF line ends; then what it gets next
        self._gathered = 0  # octets that it gets next
        self._received = 0
        self._cr = False
        self._head = b""
        self._data: bytes | None = None
        self._fd = -1
        self._unwritten = 0
        self._error: Exception | None = None
        self._discarded = False
        self._held = 0
        self._header: bytes | None = b"\n"  # its last octets, until it is over

    def __del__(self) -> None:
        """Nobody discarded it: what it held is free all the same."""
        self._spool.held -= self._held

    def _hold(self, octets: int) -> None:
        """All that is in memory, with what a thread is still to write."""
        self._spool.held += octets - self._held
        self._held = octets

    def _drop_pieces(self) -> None:
        self._unwritten -= self._gathered
        self._pieces, self._gathered = [], 0
        self._hold(len(self._head) + self._unwritten)

    # --- filling ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Append octets with CRLF (or LF) line ends. After a failure they are dropped."""
        if self._error is not None or self._discarded:
            return
        if self._spool.overfull:
            self._error = TemporaryFailure("Too many messages at once", code=452, enhanced="4.3.1")
            self._drop_pieces()
            return
        if self._cr:
            data = b"\r" + data
            self._cr = False
        if data[-1:] == b"\r" and not self._raw:
            self._cr = True
            data = data[:-1]
        if self.path is not None:
            self._to_file(*self._as_kept(data))
            return
        self._pieces.append(data)
        self._received += len(data)
        self._hold(self._received)
        if self._header is not None:
            self._look_for_end(self._header + data)
        if self._received > self._memory or (self._spool.crowded and self._may_go()):
            self._spill()

    def _look_for_end(self, data: bytes) -> None:
        self._header = data[-3:] if _HEADER_END.search(data) is None else None

    def _may_go(self) -> bool:
        """Is there enough for `edit`?"""
        return self._received > (FEW if self._header is None else 2 * KEPT_HEAD)

    def _as_kept(self, data: bytes) -> tuple[bytes, int]:
        """And how many octets they are on the wire."""
        return (data, len(data)) if self._raw else to_kept(data)

    def _take_pieces(self) -> tuple[bytes, int]:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        data, size = self._as_kept(data)
        if self._edit is None:
            return data, size
        edited = self._edit(data)
        if edited is not data:
            size = len(edited) if self._raw else size_on_wire(edited)
        return edited, size

    def _spill(self) -> None:
        try:
            data, size = self._take_pieces()
        except MailError as error:
            self._error = error
            self._hold(0)
            return
        self._head = self._begin_of(data)
        self.path = self._spool.new_path()
        self._to_file(data, size)

    def _begin_of(self, data: bytes) -> bytes:
        """What `head` will tell of: the header at least."""
        if self._spool.crowded and (end := _HEADER_END.search(data, 0, KEPT_HEAD)) is not None:
            return data[: max(end.end(), FEW // 4)]
        return data[:KEPT_HEAD]

    def _to_file(self, data: bytes, on_wire: int) -> None:
        self.size += len(data)
        self.wire_size += on_wire
        self._pieces.append(data)
        self._gathered += len(data)
        self._unwritten += len(data)
        self._hold(len(self._head) + self._unwritten)
        crowded = self._spool.crowded
        self.full = self._unwritten > (FEW if crowded else BACKLOG)
        if self.full or self._gathered >= (FEW if crowded else _SLICE):
            self._write_out()

    def _write_out(self) -> None:
        """A thread gets what has gathered."""
        data = b"".join(self._pieces)
        self._pieces, self._gathered = [], 0
        written = self._spool.pool.ask(self, self._write, data)
        written.addErrback(self._failed)
        written.addCallback(self._written, len(data))

    def _write(self, data: bytes) -> None:
        """[thread]"""
        if self._discarded:
            return
        with durable.told():
            if self._fd < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = durable.calls.open(self.path or "", flags, 0o600)
        durable.write_all(self._fd, data)

    def _written(self, result: object, size: int) -> None:
        self._unwritten -= size
        self._hold(len(self._head) + self._unwritten)
        if self.full and self._unwritten <= (FEW if self._spool.crowded else BACKLOG) // 2:
            self._drained()

    def _failed(self, failure: Failure) -> None:
        if self._error is None:
            self._error = (
                failure.value
                if isinstance(failure.value, MailError)
                else TemporaryFailure(cause=failure.value)
            )
        if self.full:
            self._drained()

    def _drained(self) -> None:
        self.full = False
        if self._on_drained is not None:
            self._on_drained()

    def finish(self) -> Deferred[None] | None:
        """All octets are there. None where the message is ready at once, else a Deferred that fires when
        the file is complete. Raises, or fails with, a MailError."""
        if self._cr:
            self._cr = False
            if self.path is not None:
                self._to_file(b"\r", 1)
            else:
                self._pieces.append(b"\r")
        if self._error is not None:
            raise self._error
        if self.path is None:
            self._data, self.wire_size = self._take_pieces()
            self.size = len(self._data)
            self._hold(self.size)
            return None
        self._write_out()
        closed = self._spool.pool.ask(self, self._close)
        return closed.addBoth(self._finished)

    def _finished(self, result: object) -> None:
        if isinstance(result, Failure):
            self._failed(result)
        if self._error is not None:
            raise self._error

    def _close(self) -> None:
        """[thread]"""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            durable.close(fd)

    # --- IMessageBody -----------------------------------------------------------------------------

    def chunks(self) -> Iterable[bytes]:
        """The message; [disk] where `path` is set."""
        if self._data is not None:
            return (self._data,)
        return file_chunks(self.path or "", self.size)

    def head(self, limit: int) -> bytes:
        return (self._head if self._data is None else self._data)[:limit]

    def discard(self) -> None:
        """Forget everything; the file goes as soon as its thread is done with it."""
        if self._discarded:
            return
        self._discarded = True
        self.full = False
        self._head = b""
        self._data = None
        self._drop_pieces()
        if self.path is not None:
            self._spool.pool.run(self, self._remove).addErrback(lambda failure: None)

    def _remove(self) -> None:
        """[thread]"""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        durable.unlink_quietly(self.path or "")


def file_chunks(path: str, size: int) -> Iterator[bytes]:
    """[disk] A file in slices. Fails with a MailError, also where it has less than `size` octets."""
    with durable.told():
        fd = durable.calls.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        left = size
        while left > 0:
            with durable.told():
                data = os.read(fd, _READ)
            if not data:
                raise TemporaryFailure(cause=f"{path} is shorter than it was written")
            left -= len(data)
            yield data
    finally:
        os.close(fd)
