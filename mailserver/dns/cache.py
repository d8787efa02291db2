"""Answers kept for their time to live, within bounds. Pure: the time is passed in."""

from __future__ import annotations

from collections import OrderedDict

from mailserver.dns.values import Answer, Status

LEAST = 5.0  # seconds, so that a TTL of 0 does not mean one question per message
MOST = 3600.0
MOST_NEGATIVE = 300.0  # a domain that was just set up should get its mail soon
ENTRIES = 10_000


class Cache:
    """Least recently used entries go first."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._kept: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str, rdtype: str, now: float) -> Answer | None:
        entry = self._kept.get((name, rdtype))
        if entry is None:
            return None
        if entry[0] <= now:
            del self._kept[name, rdtype]
            return None
        self._kept.move_to_end((name, rdtype))
        return entry[1]

    def put(self, name: str, rdtype: str, answer: Answer, now: float) -> None:
        most = MOST if answer.status is Status.FOUND else MOST_NEGATIVE
        self._kept[name, rdtype] = (now + min(max(answer.ttl, LEAST), most), answer)
        self._kept.move_to_end((name, rdtype))
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        self._kept.clear()
