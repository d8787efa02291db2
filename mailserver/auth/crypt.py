"""crypt(3) of the system's C library: $1$, $5$, $6$, $y$ and $gy$, as /etc/shadow has them.

Called through ctypes, which lets the other threads run meanwhile: the Python bindings hold the interpreter
for as long as a hash takes, 20 ms for a yescrypt one and 200 ms for a SHA-512 one of many rounds.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

_NAMES = ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so", "libc.so")  # glibc, libxcrypt, BSD, musl
_DATA_SIZE = 256 * 1024  # struct crypt_data: 32 KiB in libxcrypt, 128 KiB in old glibc


@functools.cache
def _crypt_r() -> Callable[[bytes, bytes, object], bytes | None] | None:
    for name in _NAMES:
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        return function
    return None


def available() -> bool:
    """Is there a crypt_r on this machine?"""
    return _crypt_r() is not None


def crypt(password: bytes, setting: bytes) -> bytes | None:
    """The hash of a password with the method, parameters and salt of `setting`; None where the library
    cannot. Neither may have a NUL. May take long: call it in a thread."""
    function = _crypt_r()
    if function is None:
        return None
    result = function(password, setting, ctypes.create_string_buffer(_DATA_SIZE))
    return None if result is None or result.startswith(b"*") else result
