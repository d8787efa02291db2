"""SQLite's own way to the disk, with a watcher in between: what it does is seen, and can be made to fail.

SQLite reaches files through a table of functions, the VFS. `Shim` registers one that asks `watcher` before
each call and then does what SQLite's own would have done:

    watcher(call, path, arguments) -> None to go on, or a result code (FULL, IOERR_WRITE, …) that SQLite gets

So a failure takes the way through SQLite that a real one takes. For `xWrite` the watcher gets the octets and
their offset; `HALF` writes half of them and fails. ctypes is all it needs: the library is the one that the
module `sqlite3` has loaded.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p
from typing import Any

OK, BUSY, NOMEM, IOERR, FULL, CANTOPEN = 0, 5, 7, 10, 13, 14
IOERR_READ = IOERR | 1 << 8
IOERR_SHORT_READ = IOERR | 2 << 8
IOERR_WRITE = IOERR | 3 << 8
IOERR_FSYNC = IOERR | 4 << 8
IOERR_TRUNCATE = IOERR | 6 << 8
IOERR_FSTAT = IOERR | 7 << 8
IOERR_DELETE = IOERR | 10 << 8
IOERR_ACCESS = IOERR | 13 << 8
IOERR_LOCK = IOERR | 15 << 8
IOERR_SHMMAP = IOERR | 21 << 8
HALF = -1  # xWrite: half of it, then IOERR_WRITE
GARBAGE = -2  # xRead: zeros, and OK

Watcher = Callable[[str, str, tuple[Any, ...]], int | None]
_FILE = c_void_p
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, _FILE, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_ACCESS = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, c_void_p)
_SLEEP = CFUNCTYPE(c_int, c_void_p, c_int)
_IO = {  # the functions of an open file that are watched
    "xClose": CFUNCTYPE(c_int, _FILE),
    "xRead": CFUNCTYPE(c_int, _FILE, c_void_p, c_int, c_int64),
    "xWrite": CFUNCTYPE(c_int, _FILE, c_void_p, c_int, c_int64),
    "xTruncate": CFUNCTYPE(c_int, _FILE, c_int64),
    "xSync": CFUNCTYPE(c_int, _FILE, c_int),
    "xFileSize": CFUNCTYPE(c_int, _FILE, c_void_p),
    "xLock": CFUNCTYPE(c_int, _FILE, c_int),
    "xShmMap": CFUNCTYPE(c_int, _FILE, c_int, c_int, c_int, c_void_p),
    "xShmLock": CFUNCTYPE(c_int, _FILE, c_int, c_int, c_int),
}


class _Vfs(Structure):
    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", c_void_p),
        ("xDelete", c_void_p),
        ("xAccess", c_void_p),
        *((name, c_void_p) for name in ("xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose")),
        ("xRandomness", c_void_p),
        ("xSleep", c_void_p),
        *((name, c_void_p) for name in ("xCurrentTime", "xGetLastError", "xCurrentTimeInt64")),
        *((name, c_void_p) for name in ("xSetSystemCall", "xGetSystemCall", "xNextSystemCall")),
    ]


class _Methods(Structure):
    _fields_ = [
        ("iVersion", c_int),
        *((name, c_void_p) for name in ("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize")),
        *((name, c_void_p) for name in ("xLock", "xUnlock", "xCheckReservedLock", "xFileControl")),
        *((name, c_void_p) for name in ("xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock")),
        *((name, c_void_p) for name in ("xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch")),
    ]


def _address(function: Any) -> int:
    return ctypes.cast(function, c_void_p).value or 0


class Shim:
    """There is one for the process, for connections keep a pointer to it: `installed()`."""

    def __init__(self) -> None:
        self.watcher: Watcher | None = None
        self._library = ctypes.CDLL(_sqlite3.__file__)
        find = self._library.sqlite3_vfs_find
        find.restype = POINTER(_Vfs)
        find.argtypes = (c_char_p,)
        self._register = self._library.sqlite3_vfs_register
        self._register.argtypes = (POINTER(_Vfs), c_int)
        self._unix = find(None)
        self._vfs = _Vfs()
        ctypes.memmove(byref(self._vfs), self._unix, ctypes.sizeof(_Vfs))
        self._vfs.zName = b"watched"
        self._paths: dict[int, str] = {}  # of open files
        self._originals: dict[int, int] = {}  # their tables
        self._tables: dict[int, _Methods] = {}
        self._keep: list[Any] = []
        unix = self._unix.contents
        self._open = _OPEN(unix.xOpen)
        self._delete = _DELETE(unix.xDelete)
        self._access = _ACCESS(unix.xAccess)
        self._ours = {
            "xOpen": self._callback(_OPEN, self._on_open),
            "xDelete": self._callback(_DELETE, self._on_delete),
            "xAccess": self._callback(_ACCESS, self._on_access),
            "xSleep": self._callback(_SLEEP, lambda vfs, micros: micros),  # nobody is there who would let go
        }
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # connections may outlive all else at the end

    def watch(self, watcher: Watcher) -> None:
        """Databases opened from now on are watched."""
        self.watcher = watcher
        for name, address in self._ours.items():
            setattr(self._vfs, name, address)
        self._register(byref(self._vfs), 1)

    def leave(self) -> None:
        """Databases that are still open go on unwatched."""
        self.watcher = None
        self._register(self._unix, 1)
        for name in self._ours:
            setattr(self._vfs, name, getattr(self._unix.contents, name))
        for file, table in self._originals.items():
            ctypes.cast(file, POINTER(c_void_p))[0] = table
        self._originals.clear()
        self._paths.clear()

    def _callback(self, kind: Any, function: Any) -> int:
        made = kind(function)
        self._keep.append(made)
        return _address(made)

    def _ask(self, call: str, path: str, *arguments: Any) -> int | None:
        return None if self.watcher is None else self.watcher(call, path, arguments)

    def _on_open(self, vfs: Any, name: Any, file: int, flags: int, out: Any) -> int:
        path = ctypes.string_at(name).decode() if name else ""
        refused = self._ask("xOpen", path, flags)
        if refused is not None:
            ctypes.cast(file, POINTER(c_void_p))[0] = None
            return refused
        result = int(self._open(self._unix_pointer, name, file, flags, out))
        methods = ctypes.cast(file, POINTER(c_void_p))
        if result == OK and methods[0]:
            self._paths[file] = path
            self._originals[file] = methods[0]
            methods[0] = ctypes.addressof(self._table(methods[0]))
        return result

    def _on_delete(self, vfs: Any, name: bytes, sync: int) -> int:
        refused = self._ask("xDelete", name.decode(), sync)
        return refused if refused is not None else int(self._delete(self._unix_pointer, name, sync))

    def _on_access(self, vfs: Any, name: bytes, flags: int, out: Any) -> int:
        refused = self._ask("xAccess", name.decode(), flags)
        return refused if refused is not None else int(self._access(self._unix_pointer, name, flags, out))

    @property
    def _unix_pointer(self) -> Any:
        return ctypes.cast(self._unix, c_void_p)

    def _table(self, original: int) -> _Methods:
        """SQLite's functions for a file, ours before them."""
        table = self._tables.get(original)
        if table is None:
            table = self._tables[original] = _Methods()
            ctypes.memmove(byref(table), original, ctypes.sizeof(_Methods))
            for name, kind in _IO.items():
                address = getattr(table, name)
                if address:  # a journal has no shared memory
                    setattr(table, name, self._callback(kind, self._method(name, kind(address))))
        return table

    def _method(self, name: str, real: Any) -> Any:
        ask, paths = self._ask, self._paths

        def call(file: int, *arguments: Any) -> int:
            refused = ask(name, paths.get(file, ""), *arguments)
            return refused if refused is not None else int(real(file, *arguments))

        def write(file: int, data: int, size: int, offset: int) -> int:
            refused = ask(name, paths.get(file, ""), ctypes.string_at(data, size), offset)
            if refused == HALF:
                real(file, data, size // 2, offset)
                return IOERR_WRITE
            return refused if refused is not None else int(real(file, data, size, offset))

        def read(file: int, data: int, size: int, offset: int) -> int:
            refused = ask(name, paths.get(file, ""), size, offset)
            if refused == GARBAGE:
                ctypes.memset(data, 0, size)
                return OK
            return refused if refused is not None else int(real(file, data, size, offset))

        def close(file: int) -> int:
            ask(name, paths.pop(file, ""))
            self._originals.pop(file, None)
            return int(real(file))

        return {"xWrite": write, "xRead": read, "xClose": close}.get(name, call)


_shim: list[Shim] = []


def installed() -> Shim:
    """The one shim of this process."""
    if not _shim:
        _shim.append(Shim())
    return _shim[0]
