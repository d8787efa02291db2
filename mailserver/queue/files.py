"""[disk] Bodies of queued messages under queue_dir/messages/NN/.

Messages that come in together share a file as long as they are small: one file, one fsync and one folder
sync for all, and no flood of files made and deleted (which ext4 answers with 0.5 ms a file). A file goes
when no message of it is queued any more. Larger messages have a file of their own.

A file becomes ours with the row that names it; without one it is a leftover of a crash before the reply
and is removed at start-up. What is damaged goes to queue_dir/corrupt, never away.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define

from mailserver.disk import durable
from mailserver.disk.group_commit import Crew
from mailserver.disk.threads import as_mail_error
from mailserver.errors import MailError
from mailserver.queue.values import NewMessage, Place

SMALL = 32 * 1024  # a message up to this size may share a file
SHARED = 512 * 1024  # octets in a shared file at the most: what one message that stays can keep on the disk
FOLDERS = 16
WHOLE = 256 * 1024  # messages up to this size are read at once
HEAD = 64 * 1024


class Poison(Exception):
    """A queued message that cannot be read as it was written."""


@define
class Written:
    """The outcome for one new message: a place or an error."""

    place: Place | None = None
    error: Exception | None = None


class MessageFiles:
    """Writing, reading, setting aside. One thread at a time."""

    def __init__(self, queue_dir: Path) -> None:
        self.folder = queue_dir / "messages"
        self.corrupt = queue_dir / "corrupt"
        self._queue_dir = queue_dir
        self._number = 0
        self._stamp = f"{time.time_ns():x}.{os.getpid():x}"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.folder, self.corrupt):
            durable.make_dirs(str(folder))
        durable.set_topdir_flag(str(self.folder))
        for number in range(FOLDERS):
            durable.make_dir(str(self.folder / f"{number:02x}"))
        durable.sync_dir(str(self.folder))

    def path(self, place: Place) -> str:
        return f"{self.folder}/{place.file}"

    # --- writing ----------------------------------------------------------------------------------

    def write(self, messages: Sequence[NewMessage], crew: Crew) -> list[Written]:
        """All of them, durable when this returns, each with its own outcome."""
        outcomes = [Written() for _ in messages]
        writers: list[_File] = []
        folder = f"{self._number % FOLDERS:02x}"
        shared: _File | None = None
        for message, outcome in zip(messages, outcomes, strict=True):
            small = len(message.trace) + message.body.size <= SMALL
            if small and shared is not None and shared.size <= SHARED:
                shared.add(message, outcome)
                continue
            file = self._new_file(folder)
            writers.append(file)
            file.add(message, outcome)
            if small:
                shared = file
        crew.run([file.save for file in writers])
        try:
            durable.sync_dir(str(self.folder / folder))
        except MailError as error:
            for file in writers:
                file.fail(error)
        return outcomes

    def _new_file(self, folder: str) -> _File:
        self._number += 1
        name = f"{folder}/{self._stamp}.{self._number:x}"
        return _File(name, f"{self.folder}/{name}")

    # --- reading ----------------------------------------------------------------------------------

    def read(self, place: Place, most: int = WHOLE) -> tuple[bytes, bytes | None]:
        """The head, and the whole message where it has at most `most` octets. Raises Poison; other
        failures of the disk as MailErrors."""
        path = self.path(place)
        with durable.told():
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                    raise
                raise Poison(f"{place.file}: {error.strerror}") from error
            try:
                status = os.fstat(fd)
                size = status.st_size if stat.S_ISREG(status.st_mode) else -1  # CASES F17
                if size < place.offset + place.size:
                    raise Poison(f"{place.file}: {size} octets instead of {place.offset + place.size}")
                if place.size > most:
                    return os.pread(fd, HEAD, place.offset), None
                data = os.pread(fd, place.size, place.offset)
            finally:
                os.close(fd)
        if zlib.crc32(data) != place.checksum:
            raise Poison(f"{place.file}: the content is not what was written")
        return data, data

    # --- removing and setting aside ---------------------------------------------------------------

    def remove(self, files: Sequence[str]) -> None:
        """After the commit that took the last row away. A leftover is removed at the next start."""
        for file in files:
            if ".." not in file:  # a row that was tampered with
                with suppress(OSError):
                    durable.calls.unlink(f"{self.folder}/{file}")

    def set_aside(self, place: Place | None, name: str, row: dict[str, Any]) -> None:
        """Copy what can be read of a poisoned message to corrupt/, with its rows as JSON."""
        safe = "".join(letter if letter.isalnum() else "_" for letter in name)[:80] or "unnamed"
        target = f"{self.corrupt}/{int(time.time())}.{safe}.{self._number:x}"
        self._number += 1
        text = json.dumps(row, indent=1, default=repr, ensure_ascii=True).encode("ascii")
        durable.write_file_atomic(target + ".json", text)
        if place is not None:
            data = self._salvage(place)
            if data is not None:
                durable.write_file_atomic(target + ".eml", data)

    def _salvage(self, place: Place) -> bytes | None:
        try:
            fd = os.open(self.path(place), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            size = min(place.size, os.fstat(fd).st_size)  # what the row says may be nonsense
            return os.pread(fd, size, place.offset)
        except OSError:
            return None
        finally:
            os.close(fd)

    def sweep(self, known: set[str], fresh: bool) -> int:
        """At start-up: remove files that no row names; their number. With a database that was just made
        nothing is removed: the files may be all that is left, and go to corrupt/."""
        swept = 0
        for file in list(self._all()):
            if file in known:
                continue
            swept += 1
            path = f"{self.folder}/{file}"
            if fresh:
                durable.rename(path, f"{self.corrupt}/{file.replace('/', '.')}.eml")
            else:
                with suppress(OSError):
                    durable.calls.unlink(path)
        return swept

    def _all(self) -> Iterator[str]:
        for folder in os.scandir(self.folder):
            if folder.is_dir(follow_symlinks=False):
                for entry in os.scandir(folder.path):
                    if not entry.is_dir(follow_symlinks=False):
                        yield f"{folder.name}/{entry.name}"


class _File:
    """One file being written, with the messages in it."""

    def __init__(self, name: str, path: str) -> None:
        self.size = 0
        self._name = name
        self._path = path
        self._fd = -1
        self._outcomes: list[Written] = []
        self._error: Exception | None = None

    def add(self, message: NewMessage, outcome: Written) -> None:
        """Append a message. A failure is the failure of all messages of the file."""
        self._outcomes.append(outcome)
        if self._error is not None:
            outcome.error = self._error
            return
        try:
            if self._fd < 0:
                self._fd = durable.write_new(self._path, ())
            outcome.place = self._append(message)
        except BaseException as error:
            self.fail(as_mail_error(error))

    def _append(self, message: NewMessage) -> Place:
        checksum = size = lines = 0
        ascii_only = True
        binary = message.envelope.binary
        for chunk in _chunks(message):
            durable.write_all(self._fd, chunk)
            checksum = zlib.crc32(chunk, checksum)
            size += len(chunk)
            lines += chunk.count(b"\n")
            ascii_only = ascii_only and chunk.isascii()
        wire_size = size if binary else size + lines
        place = Place(self._name, self.size, size, wire_size, not ascii_only, checksum)
        self.size += size
        return place

    def save(self) -> None:
        """fsync and close; in a thread of the crew."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            durable.sync_close(fd)
        except BaseException as error:
            self.fail(as_mail_error(error))

    def fail(self, error: Exception) -> None:
        """Nothing of this file counts; it is removed."""
        self._error = error
        for outcome in self._outcomes:
            outcome.error, outcome.place = error, None
        if self._fd >= 0:
            with suppress(OSError):
                durable.calls.close(self._fd)
            self._fd = -1
        durable.unlink_quietly(self._path)


def _chunks(message: NewMessage) -> Iterator[bytes]:
    trace = message.trace
    if message.envelope.binary:  # the whole of it is as it will be sent
        trace = trace.replace(b"\n", b"\r\n")
    if message.body.size <= SMALL:
        yield trace + b"".join(message.body.chunks())
        return
    if trace:
        yield trace
    yield from message.body.chunks()
