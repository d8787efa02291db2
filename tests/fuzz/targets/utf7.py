"""Modified UTF-7: one encoding for each name, both ways; and the directory that a name becomes."""

from __future__ import annotations

import os

from mailserver.errors import CannotName
from mailserver.store.maildir import directory_of, folder_of, normal_name
from mailserver.wire.utf7 import decode, encode

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
    _directory(text)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _directory(name: str) -> None:
    """One directory for each name, inside of the account, and one name for each directory."""
    try:
        directory = directory_of(name)
    except CannotName:
        return
    assert "/" not in directory and "\0" not in directory and directory.isascii()
    assert directory == "" or os.path.normpath(f"/mail/{directory}") == f"/mail/{directory}"
    assert folder_of(directory) == normal_name(name)
