"""Which call fails, and how."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

from attrs import define, field, frozen

from tests.helpers.syscalls import BUSY, GARBAGE, SHORT

CREATES = os.O_CREAT
_GROWS = "write writev fsync close link rename rename_noreplace mkdir os.pwrite xWrite xSync"
GROWS = frozenset(_GROWS.split())
CHANGES = GROWS | {"unlink", "rmdir", "os.utime", "xTruncate", "xDelete"}
OPENS = frozenset(("open", "os.open", "os.scandir", "os.listdir", "xOpen"))
NAMES = frozenset(("link", "rename", "rename_noreplace", "unlink", "mkdir", "rmdir"))


@frozen
class Trouble:
    """One kind of failure. number: an errno, or SHORT, BUSY, GARBAGE."""

    name: str
    number: int

    def concerns(self, call: str, arguments: tuple[Any, ...]) -> bool:
        """Would a file system in this trouble refuse this call?"""
        creates = call in ("open", "os.open") and len(arguments) > 1 and arguments[1] & CREATES
        if self.number == errno.EIO:
            return True
        if self.number in (errno.ENOSPC, errno.EDQUOT):
            return call in GROWS or bool(creates)
        if self.number == errno.EROFS:
            return call in CHANGES - {"close"} or bool(creates)
        if self.number == errno.EMFILE:
            return call in OPENS
        if self.number == errno.EACCES:
            return call in OPENS or call in NAMES
        if self.number == SHORT:
            return call in ("write", "xWrite")
        if self.number == BUSY:
            return call in ("xLock", "xShmLock")
        return call == "xRead"


_ERRNOS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EACCES", "EROFS")
TROUBLES = (
    *(Trouble(name, getattr(errno, name)) for name in _ERRNOS),
    Trouble("SHORT", SHORT),
    Trouble("BUSY", BUSY),
    Trouble("GARBAGE", GARBAGE),
)


@frozen
class Fault:
    """The call of that number (from 0) fails, and all that the trouble concerns after it if `lasting`."""

    at: int
    trouble: Trouble
    lasting: bool

    def __str__(self) -> str:
        return f"{self.trouble.name} {'from' if self.lasting else 'at'} {self.at}"


@define
class Injector:
    """`see` for `Watched.watching`. trace: the calls there were; what happened: those that failed."""

    fault: Fault | None = None
    trace: list[tuple[str, str, tuple[Any, ...]]] = field(factory=list)
    failed: list[str] = field(factory=list)
    resting: bool = True

    def see(self, call: str, path: str, arguments: tuple[Any, ...]) -> int | None:
        if self.resting:
            return None
        number = len(self.trace)
        self.trace.append((call, path, arguments if call in ("open", "os.open") else ()))
        fault = self.fault
        if fault is None:
            return None
        hit = number == fault.at or (fault.lasting and number > fault.at)
        if not (hit and fault.trouble.concerns(call, arguments)):
            return None
        self.failed.append(f"{number} {call} {path}")
        return fault.trouble.number

    def faults(self) -> Iterator[Fault]:
        """After a run without a fault: every one there may be, each call with every trouble it may have."""
        for at, (call, _, arguments) in enumerate(self.trace):
            for trouble in TROUBLES:
                if trouble.concerns(call, arguments):
                    yield Fault(at, trouble, lasting=False)
                    yield Fault(at, trouble, lasting=True)
