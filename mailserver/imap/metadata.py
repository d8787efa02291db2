"""Which annotations a question means, and what a session that enabled METADATA is to be told (RFC 5464)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mailserver.events import AccountEvent, MetadataChanged
from mailserver.imap import commands as c

MAX_CHANGED = 1000  # entries that wait


def chosen(
    entries: Mapping[str, bytes], asked: Sequence[str], depth: int | None, maxsize: int | None
) -> tuple[list[tuple[str, bytes | None]], int]:
    """What is told, under the names that the client gave, and the size of the largest value that was too
    long (RFC 5464, 4.2.1, 4.2.2). `entries` are in lower case; depth: None for infinity. A question that
    finds nothing is answered NIL."""
    found: dict[str, tuple[str, bytes | None]] = {}
    longest = 0
    for name in asked:
        key = name.lower()
        below = [
            entry
            for entry in entries
            if entry.startswith(key + "/") and (depth is None or entry.count("/", len(key)) <= depth)
        ]
        values = [(key, name), *((entry, name + entry[len(key) :]) for entry in sorted(below))]
        there = [(entry, told) for entry, told in values if entry in entries]
        if not there:
            found.setdefault(key, (name, None))
        for entry, told in there:
            size = len(entries[entry])
            if maxsize is not None and size > maxsize:
                longest = max(longest, size)
            else:
                found[entry] = (told, entries[entry])
    return list(found.values()), longest


class MetadataWatch:
    """What changed since the client was told last. `end` stops watching the account."""

    def __init__(self) -> None:
        self.end: Callable[[], None] = lambda: None
        self._changed: dict[str, dict[str, None]] = {}

    def hear(self, event: AccountEvent, command: c.Command | None) -> bool:
        """`command`: what the client is doing just now, of which it need not be told. True for news."""
        if not isinstance(event, MetadataChanged):
            return False
        if isinstance(command, c.SetMetadata) and command.mailbox == event.name:
            return False
        if sum(map(len, self._changed.values())) > MAX_CHANGED:
            return False
        self._changed.setdefault(event.name, {}).update(dict.fromkeys(event.entries))
        return True

    def take(self) -> dict[str, dict[str, None]]:
        """Entries by mailbox."""
        changed, self._changed = self._changed, {}
        return changed
