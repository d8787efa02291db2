"""ENVELOPE and the like, made once from the message and kept as bytes ready to send.

[disk] `rendered` reads what the index keeps, makes what is missing in slices and keeps it. For HEADER and
ENVELOPE only the beginning of a file is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.logger import Logger

from mailserver.message.envelope import string
from mailserver.message.preview import preview
from mailserver.message.render import render_envelope, render_header, render_structure
from mailserver.store import files
from mailserver.store.index.database import Index
from mailserver.store.index.rows import Folder
from mailserver.store.ledger import Ledger
from mailserver.store.operations import locate

LONGEST_HEADER = 64 << 10
TOO_LONG = b""  # what is kept of a header that is longer
_SLICE = 250
_LARGEST = 64 << 20  # of a larger message only the head is looked at
_HEAD = 1 << 20  # of a message that is previewed
_FIRST = 16 << 10  # octets of a file that hold most headers
_log = Logger()
T = TypeVar("T")

Values = dict[str, dict[int, bytes]]
"""By item and UID."""


def rendered(
    ledger: Ledger, opened: Index, directory: str, item: str, uids: Sequence[int]
) -> list[bytes | None]:
    """One value for each UID; None where the message is gone, or its header is too long to keep."""
    folder = ledger.folder(opened, directory)
    kept = opened.rendered(folder, item, uids)
    missing = [uid for uid in uids if uid not in kept]
    if missing:
        maker = _Maker(opened, folder, ledger.folder_path(directory))
        kept.update(maker.make(item, sorted(missing)))
    if item == "HEADER":
        return [kept.get(uid) or None for uid in uids]
    return [kept.get(uid) for uid in uids]


def cut_headers(
    ledger: Ledger, opened: Index, directory: str, cut: Callable[[bytes], bytes], uids: Sequence[int]
) -> list[bytes | None]:
    """What `cut` makes of each header; None where `rendered` has none."""
    headers = rendered(ledger, opened, directory, "HEADER", uids)
    return [None if header is None else cut(header) for header in headers]


def already(
    ledger: Ledger, opened: Index, directory: str, item: str, uids: Sequence[int]
) -> list[bytes | None]:
    """As `rendered`, without making anything."""
    kept = opened.rendered(ledger.folder(opened, directory), item, uids)
    return [kept.get(uid) for uid in uids]


class _Maker:
    """Makes what is missing of one folder, and keeps it. One reading of a file gives all that is made of as
    much of it."""

    def __init__(self, opened: Index, folder: Folder, path: str) -> None:
        self._opened = opened
        self._folder = folder
        self._path = path

    def make(self, item: str, uids: Sequence[int]) -> dict[int, bytes]:
        """Values of an item by UID (ascending), committed in slices."""
        made: dict[int, bytes] = {}
        for start in range(0, len(uids), _SLICE):
            values = self._values(item, uids[start : start + _SLICE])
            if any(values.values()):
                with self._opened.transaction():
                    self._opened.keep_rendered(self._folder, values)
            made.update(values[item])
        return made

    def _values(self, item: str, uids: Sequence[int]) -> Values:
        if item == "HEADER":
            return {"HEADER": self._headers(uids)}
        if item == "ENVELOPE":
            return self._envelopes(uids)
        values: Values = {"PREVIEW": {}} if item == "PREVIEW" else {"BODY": {}, "BODYSTRUCTURE": {}}
        for uid, name in self._names(uids):
            if item == "PREVIEW":
                raw = _read(self._path, name, _HEAD)
                if raw is not None:
                    values[item][uid] = string(preview(raw).encode("utf-8"))
            elif (made := _opened(self._path, name, _structure)) is not None:
                values["BODY"][uid], values["BODYSTRUCTURE"][uid] = made
        return values

    def _headers(self, uids: Sequence[int]) -> dict[int, bytes]:
        found = {uid: _read_header(self._path, name) for uid, name in self._names(uids)}
        return {
            uid: header if len(header) <= LONGEST_HEADER else TOO_LONG
            for uid, header in found.items()
            if header is not None
        }

    def _envelopes(self, uids: Sequence[int]) -> Values:
        """Of headers that are kept, where they are."""
        headers = {
            uid: header
            for uid, header in self._opened.rendered(self._folder, "HEADER", uids).items()
            if header
        }
        envelopes = {uid: render_envelope(header) for uid, header in headers.items()}
        fresh: dict[int, bytes] = {}
        for uid, name in self._names([uid for uid in uids if uid not in headers]):
            header = _read_header(self._path, name)
            if header is not None:
                envelopes[uid] = render_envelope(header)
                fresh[uid] = header if len(header) <= LONGEST_HEADER else TOO_LONG
        return {"ENVELOPE": envelopes, "HEADER": fresh}

    def _names(self, uids: Sequence[int]) -> Sequence[tuple[int, str]]:
        return [(row.uid, row.name) for row in self._opened.rows(self._folder, uids)]


def _read_header(path: str, name: str) -> bytes | None:
    """The header block with CRLF and the empty line; of one that does not end, `_LARGEST` octets."""
    raw = _read(path, name, _FIRST)
    if raw is None:
        return None
    header = render_header(raw)
    if not header.endswith(b"\r\n\r\n") and len(raw) == _FIRST:
        raw = _read(path, name, _LARGEST)
        header = header if raw is None else render_header(raw)
    return header


def _read(path: str, name: str, limit: int) -> bytes | None:
    """A message, or so much of it."""
    return _opened(path, name, lambda fd: _octets(fd, min(os.fstat(fd).st_size, limit)))


def _structure(fd: int) -> tuple[bytes, bytes]:
    size = min(os.fstat(fd).st_size, _LARGEST)
    with files.room_for(size):
        return render_structure(_octets(fd, size))


def _octets(fd: int, length: int) -> bytes:
    data = os.read(fd, length)
    while len(data) < length and (more := os.read(fd, length - len(data))):
        data += more
    return data


def _opened(path: str, name: str, use: Callable[[int], T]) -> T | None:
    """What `use` makes of a message's descriptor; None where it cannot be read."""
    try:
        fd = _open(path, name)
    except OSError:
        return None
    if fd is None:
        return None
    try:
        return use(fd)
    except OSError as error:
        _log.warn("{path} cannot be read: {error}", path=path, error=error)
        return None
    finally:
        os.close(fd)


def _open(path: str, name: str) -> int | None:
    try:
        return files.open_message(f"{path}/{name}")
    except FileNotFoundError:
        found = locate(path, name)
        return None if found is None else files.open_message(f"{path}/{found}")
