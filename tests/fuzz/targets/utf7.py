"""Modified UTF-7: one encoding for each name, both ways; and the directory that a name becomes."""

from __future__ import annotations

from mailserver.errors import CannotName
from mailserver.wire.utf7 import decode, encode
from tests.helpers.names import check_directory

TOKENS = [
    b"&-",
    b"&AOk-",
    b"&Jjo!",
    b"&2D3eAA-",
    b"&",
    b"-",
    b",",
    b"/",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b".",
    b"..",
]


def check(data: bytes) -> None:
    try:
        name = decode(data)
    except CannotName:
        pass
    else:
        assert encode(name) == data
    text = data.decode("utf-8", "surrogatepass") if _is_utf8(data) else data.decode("latin-1")
    try:
        encoded = encode(text)
    except CannotName:
        return
    assert encoded.isascii()
    assert decode(encoded) == text
    check_directory(text)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
