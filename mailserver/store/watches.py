"""What other programs do to the directories of selected mailboxes: one inotify instance for the process.

Our own changes are announced by `expect` (from the threads that make them) and are not told. Where inotify
is not to be had, or its limits are reached, `watch` returns None, and mailboxes look at the mtimes instead.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define, field
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_MASK = 0x0100 | 0x0200 | 0x0040 | 0x0080  # IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO
_ONLYDIR, _DONT_FOLLOW = 0x01000000, 0x02000000
_OVERFLOW = 0x4000
_IGNORED = 0x8000
_HEADER = struct.Struct("iIII")
_READ = 1 << 16
_SUBS = ("new", "cur")


def _libc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.inotify_init1, library.inotify_add_watch, library.inotify_rm_watch  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library


@define(eq=False)
class Watch:
    """new/ and cur/ of one folder."""

    path: str
    callback: Callable[[Sequence[str] | None], None] = field(repr=False)
    descriptors: list[int] = field(factory=list)


@implementer(IReadDescriptor)
class Watches:
    """In the reactor thread, but for `expect`."""

    log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor
        self._libc = _libc()
        self._fd = -1
        self._watches: dict[int, tuple[str, list[Watch]]] = {}  # by the kernel's number, one a directory
        self._expected: dict[str, Counter[str]] = {}
        self._of: Counter[str] = Counter()  # watches of a directory
        self._lock = threading.Lock()

    def start(self) -> None:
        if self._libc is None:
            return
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            self.log.warn("inotify is not available; foreign changes are looked for by time stamps")
            return
        self._reactor.addReader(self)

    def stop(self) -> None:
        if self._fd >= 0:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1
        self._watches.clear()
        self._expected.clear()

    def watch(self, path: str, callback: Callable[[Sequence[str] | None], None]) -> Watch | None:
        """`callback` is called for changes that are not this process's, with the names ("new/…", "cur/…"), or
        None where events were lost. No watch where that cannot be promised."""
        if self._fd < 0 or self._libc is None:
            return None
        watch = Watch(path, callback)
        self._of.update(os.path.join(path, sub) for sub in _SUBS)
        for sub in _SUBS:
            directory = os.path.join(path, sub)
            with self._lock:
                self._expected.setdefault(directory, Counter())
            mask = ctypes.c_uint32(_MASK | _ONLYDIR | _DONT_FOLLOW)
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), mask)
            if number < 0:
                self.unwatch(watch)
                return None
            watch.descriptors.append(number)
            self._watches.setdefault(number, (directory, []))[1].append(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        for number in watch.descriptors:
            _, watching = self._watches.get(number, ("", []))
            if watch in watching:
                watching.remove(watch)
            if number in self._watches and not watching:
                del self._watches[number]
                if self._libc is not None and self._fd >= 0:
                    self._libc.inotify_rm_watch(self._fd, number)
        watch.descriptors.clear()
        with self._lock:
            for sub in _SUBS:
                directory = os.path.join(watch.path, sub)
                self._of[directory] -= 1
                if self._of[directory] <= 0:
                    del self._of[directory]
                    self._expected.pop(directory, None)

    def expect(self, directory: str, name: str) -> None:
        """[any thread] The next event of this name there is ours."""
        if directory in self._expected:
            with self._lock:
                names = self._expected.get(directory)
                if names is not None:
                    names[name] += 1

    # --- events ----------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "inotify"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""

    def doRead(self) -> None:
        """Read what has come; also called before a mailbox looks whether anything has (`refresh`)."""
        changed: dict[int, tuple[Watch, list[str] | None]] = {}
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _READ)
            except OSError:
                break
            position = 0
            while position < len(data):
                number, mask, _, length = _HEADER.unpack_from(data, position)
                position += _HEADER.size + length
                name = data[position - length : position].rstrip(b"\0")
                for watch, told in self._concerned(number, mask, name):
                    _, names = changed.setdefault(id(watch), (watch, []))
                    if told is None:
                        changed[id(watch)] = (watch, None)
                    elif names is not None:
                        names.append(told)
        for watch, names in changed.values():
            with suppress(Exception):
                watch.callback(names)

    def _concerned(self, number: int, mask: int, name: bytes) -> list[tuple[Watch, str | None]]:
        if mask & _OVERFLOW:  # events were lost: everybody looks
            return [(watch, None) for _, watching in self._watches.values() for watch in watching]
        found = self._watches.get(number)
        if found is None or mask & _IGNORED:
            return []
        directory, watching = found
        text = os.fsdecode(name)
        with self._lock:
            names = self._expected.get(directory)
            if names is not None and names.get(text, 0) > 0:
                names[text] -= 1
                if not names[text]:
                    del names[text]
                return []
        return [(watch, f"{directory[-3:]}/{text}") for watch in watching]
