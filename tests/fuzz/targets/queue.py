"""What the queue reads back from the disk: a file of messages, and rows that anybody may have written into
(JSON here, since a row is a list of values). What cannot be read is Poison, ValueError or TypeError, which
sets the message aside; nothing else."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from mailserver.errors import MailError
from mailserver.queue import database
from mailserver.queue.files import MessageFiles, Poison
from mailserver.queue.values import Place

TOKENS = [
    *(
        b"null",
        b"1e999",
        b"-1",
        b'""',
        b'".."',
        b"[",
        b"]",
        b",",
        b"1.5",
        b"9223372036854775807",
        b'"\\ud800"',
    ),
    *(b'"NEVER"', b"true", b"NaN", b"Infinity", b'"x"'),
]
_COLUMNS = 20 + 18


@lru_cache(maxsize=1)
def _folder() -> MessageFiles:
    files = MessageFiles(Path(tempfile.mkdtemp(prefix="mailserver-fuzz-")))
    os.makedirs(files.folder / "00")
    return files


def check(data: bytes) -> None:
    _file(data)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(values, list):
        _row(tuple(_of_sqlite(value) for value in (values + [0] * _COLUMNS)[:_COLUMNS]))


def _of_sqlite(value: Any) -> Any:
    """SQLite has integers of 64 bits, floats without NaN, texts, blobs and NULL."""
    if isinstance(value, bool) or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63):
        return int(value)
    if isinstance(value, int):
        return 9e18
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value if isinstance(value, str) else repr(value).encode("utf-8", "replace") if value else None


def _row(row: tuple[Any, ...]) -> None:
    try:
        message, recipient = database.read_message(row), database.read_recipient(row)
    except (ValueError, TypeError):
        return
    assert message.place.offset >= 0 and message.place.size >= 0
    assert ".." not in message.place.file
    assert recipient.target.address == row[22]
    _file_at(message.place)


def _file_at(place: Place) -> None:
    with suppress(Poison, MailError, ValueError):
        _folder().read(place)


def _file(data: bytes) -> None:
    """A file whose content is not what the row says, and one whose content is."""
    files = _folder()
    path = files.folder / "00" / "1"
    path.write_bytes(data)
    for size, checksum in ((len(data), zlib.crc32(data)), (len(data) + 1, 0), (len(data) // 2, 7)):
        place = Place("00/1", 0, size, size, False, checksum)
        try:
            head, whole = files.read(place)
        except Poison:
            assert size > len(data) or zlib.crc32(data[:size]) != checksum
            continue
        assert whole == data[:size] and head == data[:size]
