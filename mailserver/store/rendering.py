"""ENVELOPE and the like, made once from the message and kept as bytes ready to send.

[disk] `rendered` reads what the index keeps, makes what is missing in slices and keeps it: one reading of a
file fills all items. `Kept` is what the process has in memory of hot mailboxes, bounded in all.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from twisted.logger import Logger

from mailserver.message.envelope import string
from mailserver.message.preview import preview
from mailserver.store import files
from mailserver.store.index import Index
from mailserver.store.index_rendered import RENDERED
from mailserver.store.ledger import Ledger
from mailserver.store.operations import locate
from mailserver.store.rows import Folder

LONGEST_HEADER = 64 << 10
_SLICE = 100
_LARGEST = 64 << 20  # of a larger message only the head is looked at
_HEAD = 1 << 20  # of a message that is previewed
_log = Logger()


class RenderedLike(Protocol):
    @property
    def envelope(self) -> bytes: ...
    @property
    def bodystructure(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def header(self) -> bytes: ...


Renderer = Callable[[bytes], RenderedLike]


def rendered(
    ledger: Ledger, opened: Index, directory: str, item: str, uids: Sequence[int], *, renderer: Renderer
) -> list[bytes | None]:
    """One value for each UID; None where the message is gone, or its header is too long to keep."""
    folder = ledger.folder(opened, directory)
    kept = opened.rendered(folder, item, uids)
    missing = [uid for uid in uids if uid not in kept]
    if item == "PREVIEW":
        _make_previews(ledger, opened, folder, missing, kept)
        return [kept.get(uid) for uid in uids]
    if item == "HEADER" and missing:  # what is rendered but has no header here had one too long
        done = opened.rendered(folder, "ENVELOPE", missing)
        missing = [uid for uid in missing if uid not in done]
    path = ledger.folder_path(directory)
    for start in range(0, len(missing), _SLICE):
        made: list[tuple[int, bytes, bytes, bytes, bytes | None]] = []
        for row in opened.rows(folder, sorted(missing[start : start + _SLICE])):
            raw = _read(path, row.name)
            if raw is None:
                continue
            value = renderer(raw)
            header = value.header if len(value.header) <= LONGEST_HEADER else None
            made.append((row.uid, value.envelope, value.bodystructure, value.body, header))
            one = {
                "ENVELOPE": value.envelope,
                "BODYSTRUCTURE": value.bodystructure,
                "BODY": value.body,
                "HEADER": header,
            }[item]
            if one is not None:
                kept[row.uid] = one
        if made:
            with opened.transaction():
                opened.keep_rendered(folder, made)
    return [kept.get(uid) for uid in uids]


def already(
    ledger: Ledger, opened: Index, directory: str, item: str, uids: Sequence[int]
) -> list[bytes | None]:
    """As `rendered`, without making anything."""
    kept = opened.rendered(ledger.folder(opened, directory), item, uids)
    return [kept.get(uid) for uid in uids]


def _make_previews(
    ledger: Ledger, opened: Index, folder: Folder, missing: Sequence[int], kept: dict[int, bytes]
) -> None:
    """Of the head of each message: they are for lists, and may be poor where much stands before the text."""
    path = ledger.folder_path(folder.dir)
    for start in range(0, len(missing), _SLICE):
        made: list[tuple[int, bytes]] = []
        for row in opened.rows(folder, sorted(missing[start : start + _SLICE])):
            raw = _read(path, row.name, _HEAD)
            if raw is not None:
                made.append((row.uid, string(preview(raw).encode("utf-8"))))
        with opened.transaction():
            opened.keep_previews(folder, made)
        kept.update(made)


def _read(path: str, name: str, limit: int = _LARGEST) -> bytes | None:
    found = locate(path, name)
    if found is None:
        return None
    try:
        fd = files.open_message(os.path.join(path, found))
    except OSError:
        return None
    try:
        length = os.fstat(fd).st_size
        if length <= limit:
            return b"".join(files.chunks_of(fd))
        return os.pread(fd, limit, 0)
    except OSError as error:
        _log.warn("{path} cannot be read: {error}", path=path, error=error)
        return None
    finally:
        os.close(fd)


class Kept:
    """Rendered items in memory: by mailbox and item, least recently used first out, `limit` octets in all."""

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._size = 0
        self._items: OrderedDict[tuple[int, str], dict[int, bytes | None]] = OrderedDict()
        self._sizes: dict[tuple[int, str], int] = {}

    def get(self, mailbox: int, item: str, uids: Sequence[int]) -> list[bytes | None] | None:
        """All values, or None where one is not here."""
        values = self._items.get((mailbox, item))
        if values is None:
            return None
        self._items.move_to_end((mailbox, item))
        try:
            return [values[uid] for uid in uids]
        except KeyError:
            return None

    def put(self, mailbox: int, item: str, uids: Sequence[int], values: Iterable[bytes | None]) -> None:
        key = (mailbox, item)
        here = self._items.setdefault(key, {})
        self._items.move_to_end(key)
        size = 0
        for uid, value in zip(uids, values, strict=True):
            if value is not None and uid not in here:
                size += len(value) + 150
                here[uid] = value
        self._sizes[key] = self._sizes.get(key, 0) + size
        self._size += size
        while self._size > self._limit and self._items:
            oldest, _ = self._items.popitem(last=False)
            self._size -= self._sizes.pop(oldest)

    def forget(self, mailbox: int, uid: int | None = None) -> None:
        """A message whose file changed, or all of a mailbox."""
        for item in RENDERED:
            if uid is not None:
                self._items.get((mailbox, item), {}).pop(uid, None)
            elif self._items.pop((mailbox, item), None) is not None:
                self._size -= self._sizes.pop((mailbox, item))
