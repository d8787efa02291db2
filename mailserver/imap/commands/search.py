"""Commands that look for messages: SEARCH and its relatives (RFC 3501, 6.4.4)."""

from __future__ import annotations

from attrs import frozen

from mailserver.imap.commands.base import Command
from mailserver.imap.values import MailboxSet, Returning, SearchKey, SearchSet, SortKey, search_leaves


@frozen
class Search(Command):
    """`key` holds all keys of the command; texts are decoded from `charset` already, where that is known.
    `returning`: None for the answer of RFC 3501."""

    NAME = "SEARCH"
    key: SearchKey
    charset: str = "US-ASCII"
    uid: bool = False
    returning: Returning | None = None

    @property
    def allow_expunge(self) -> bool:
        """Not where the keys name message numbers either (RFC 7162, 3.2.10.2)."""
        return self.uid and not any(
            isinstance(leaf, SearchSet) and not (leaf.uid or leaf.numbers.saved)
            for leaf in search_leaves(self.key)
        )


@frozen
class Sort(Search):
    """RFC 5256, 3; with `returning` RFC 5267, 3."""

    NAME = "SORT"
    criteria: tuple[SortKey, ...] = ()


@frozen
class Thread(Search):
    """RFC 5256, 3; `algorithm`: ORDEREDSUBJECT or REFERENCES."""

    NAME = "THREAD"
    algorithm: str = ""


@frozen
class Esearch(Search):
    """RFC 7377; `uid` always, and no `returning` means ALL."""

    NAME = "ESEARCH"
    sources: tuple[MailboxSet, ...] = ()


@frozen
class CancelUpdate(Command):
    """RFC 5267, 4.3.5"""

    NAME = "CANCELUPDATE"
    tags: tuple[bytes, ...]
