"""[disk] Many fsyncs in one system call: Linux's asynchronous I/O (io_submit(2), IOCB_CMD_FSYNC, since 4.18).

The kernel syncs all of the files side by side in threads of its own, with the outcome of each; the caller
waits for all of them with the interpreter's lock released once. Threads of ours that do the same pass that
lock around for every file, which costs more than a fast disk does. Used by `durable` only.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress

_FSYNC = 2  # IOCB_CMD_FSYNC
_DEPTH = 64  # requests at a time
# io_setup, io_destroy, io_getevents, io_submit: the C library has no functions for them. 64-bit kernels only,
# where long, pointers and the fields of the structures are what they are here.
_NUMBERS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2), "riscv64": (0, 1, 4, 2)}


class _Request(ctypes.Structure):
    """struct iocb of <linux/aio_abi.h>, little-endian."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("event_fd", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """struct io_event: `result` is 0 or a negated errno."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("request", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("more", ctypes.c_int64),
    )


class Overlapped:
    """A context of the kernel for requests; used by one thread at a time. Raises OSError where the system
    knows none, or has no more of them (/proc/sys/fs/aio-max-nr)."""

    def __init__(self) -> None:
        numbers = _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
        if numbers is None or sys.maxsize < 1 << 32:
            raise OSError(errno.ENOSYS, "io_setup")
        self._setup, self._destroy, self._getevents, self._submit = map(ctypes.c_long, numbers)
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._requests = (_Request * _DEPTH)()
        first, step = ctypes.addressof(self._requests), ctypes.sizeof(_Request)
        self._pointers = (ctypes.c_uint64 * _DEPTH)(*range(first, first + _DEPTH * step, step))
        self._events = (_Event * _DEPTH)()
        for number, request in enumerate(self._requests):
            request.opcode, request.data = _FSYNC, number
        if self._call(self._setup, ctypes.c_ulong(_DEPTH), ctypes.byref(self._context)) != 0:
            raise OSError(ctypes.get_errno(), "io_setup")

    def close(self) -> None:
        self._call(self._destroy, self._context)

    def fsync(self, descriptors: Sequence[int]) -> list[int | None]:
        """One outcome for each: 0, an errno, or None for what the kernel did not take and nobody synced."""
        outcomes: list[int | None] = []
        for start in range(0, len(descriptors), _DEPTH):
            outcomes += self._some(descriptors[start : start + _DEPTH])
        return outcomes

    def _some(self, descriptors: Sequence[int]) -> list[int | None]:
        count = len(descriptors)
        for request, fd in zip(self._requests, descriptors, strict=False):
            request.fd = fd
        taken = max(0, self._call(self._submit, self._context, ctypes.c_long(count), self._pointers))
        outcomes: list[int | None] = [None] * count
        waiting = taken
        while waiting:
            number = ctypes.c_long(waiting)
            got = self._call(self._getevents, self._context, number, number, self._events, None)
            if got < 0:
                if (error := ctypes.get_errno()) == errno.EINTR:
                    continue
                # Cannot be; but then nothing is known of any of them, and that is no success.
                return [error] * taken + outcomes[taken:]
            for event in self._events[:got]:
                outcomes[event.data] = -event.result
            waiting -= got
        return outcomes


def overlapped() -> Overlapped | None:
    """One, or None where the system has none to give."""
    with suppress(OSError):
        return Overlapped()
    return None
