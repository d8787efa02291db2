"""What a search reads from: the messages of a view as they are when it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mailserver.imap.values import SearchSet, SearchText

SLICE = 1000  # messages whose headers are looked at between rests
REST = 256 * 1024  # octets looked at between rests: some ms

Rows = list[int]


class Source(Protocol):
    """The arrays are parallel to the view's indices and do not change. Methods that look at many messages
    rest by themselves; `headers` takes `SLICE` rows at most."""

    uids: Sequence[int]
    flags: Sequence[int]
    sizes: Sequence[int]
    dates: Sequence[int]
    modseqs: Sequence[int]
    saved: Sequence[int]
    recent: set[int]
    now: int  # seconds since the epoch when the search began

    def mask(self, flag: str) -> int:
        """The bit of a flag, 0 where no message has it."""

    def in_set(self, key: SearchSet) -> Sequence[tuple[int, int]]:
        """Ascending index ranges of a set."""

    def email_ids(self, rows: Sequence[int]) -> Sequence[str | None]:
        """EMAILIDs (RFC 8474); None where a message is gone. Some µs each."""

    async def by_field(self, field: str, wanted: str, rows: Rows) -> Rows:
        """Messages whose FROM, TO, CC, BCC or SUBJECT holds a text that is folded; that have the field, where
        it is empty."""

    async def sent_days(self, rows: Rows) -> Sequence[int | None]:
        """Parallel to `rows`: the day of the Date field since the epoch, None where there is none."""

    async def headers(self, rows: Sequence[int]) -> Sequence[bytes | None]:
        """Header blocks (CRLF, with the empty line) of at most `SLICE` messages; None where one is gone."""

    async def indexed(self, key: SearchText, rows: Rows) -> tuple[Rows, Rows]:
        """Messages that have a text, and those that must be read to know; without a look at any."""

    def reading(self, count: int) -> None:
        """So many messages are going to be read by `containing`."""

    async def containing(self, key: SearchText, rows: Rows) -> Rows:
        """Those of a few messages that have a text; each is read."""

    async def rest(self, octets: int) -> None:
        """So much was looked at: others may get their turn."""
