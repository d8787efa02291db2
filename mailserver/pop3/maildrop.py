"""The maildrop of one session: the snapshot of log-in and what is marked for deletion (RFC 1939, 5).

Numbers never change within a session, whatever other sessions and programs do meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailserver.pop3 import texts
from mailserver.pop3.events import Maildrop


class Refusal(Exception):
    """A command that was understood and cannot be done; `code` is a response code (RFC 2449, 8)."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Marks:
    """left, octets: the messages not marked, and their octets. Marked ones are in no answer."""

    def __init__(self, maildrop: Maildrop) -> None:
        self.sizes = maildrop.sizes
        self.unique_id = maildrop.unique_id
        self.deleted: set[int] = set()
        self.octets = self._total = sum(maildrop.sizes)

    @property
    def left(self) -> int:
        return len(self.sizes) - len(self.deleted)

    def index(self, number: int) -> int:
        """The index of a message number that the client may use. Raises Refusal."""
        if not 0 < number <= len(self.sizes):
            raise Refusal(texts.NO_SUCH_MESSAGE)
        if number - 1 in self.deleted:
            raise Refusal(texts.ALREADY_DELETED)
        return number - 1

    def mark(self, number: int) -> None:
        index = self.index(number)
        self.deleted.add(index)
        self.octets -= self.sizes[index]

    def clear(self) -> None:
        self.deleted.clear()
        self.octets = self._total

    def scan_listing(self) -> Iterator[str]:
        """Lines of LIST."""
        deleted = self.deleted
        return (f"{n} {size}\r\n" for n, size in enumerate(self.sizes, 1) if n - 1 not in deleted)

    def unique_id_listing(self) -> Iterator[str]:
        """Lines of UIDL."""
        deleted, unique_id = self.deleted, self.unique_id
        return (f"{n + 1} {unique_id(n)}\r\n" for n in range(len(self.sizes)) if n not in deleted)
