"""What the process has in memory of hot mailboxes, of what the index holds or what was made of that.

One item of one mailbox takes three quarters at most, and what goes beyond is not kept: a client that reads a
whole mailbox again and again would else find that the end has driven out the beginning, each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

_EACH = 150  # octets that a value takes besides its own


class Kept:
    """By mailbox and item, least recently used first out, `limit` octets in all."""

    def __init__(self, limit: int = 64 << 20) -> None:
        self._limit = limit
        self._most = limit // 4 * 3
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
        if self._sizes.get(key, 0) >= self._most:
            return
        here = self._items.setdefault(key, {})
        self._items.move_to_end(key)
        size = 0 if key in self._sizes else len(item)
        for uid, value in zip(uids, values, strict=True):
            if value is not None and uid not in here:
                size += len(value) + _EACH
                here[uid] = value
        self._sizes[key] = self._sizes.get(key, 0) + size
        self._size += size
        while self._size > self._limit and self._items:
            oldest, _ = self._items.popitem(last=False)
            self._size -= self._sizes.pop(oldest)

    def forget(self, mailbox: int, uids: Collection[int] | None = None) -> None:
        """Messages that are gone or whose files changed, or all of a mailbox."""
        for key in [key for key in self._items if key[0] == mailbox]:
            if uids is None:
                del self._items[key]
                self._size -= self._sizes.pop(key)
                continue
            values = self._items[key]
            gone = [value for uid in uids if (value := values.pop(uid, None)) is not None]
            size = sum(map(len, gone)) + _EACH * len(gone)
            self._sizes[key] -= size
            self._size -= size
