"""What all commands are."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen


@frozen
class Command:
    """Base of all. `allow_expunge`: may EXPUNGE responses be sent before the tagged reply? Not during
    FETCH, STORE and SEARCH by sequence number (RFC 3501, 7.4.1).

    given: mailboxes that the client called otherwise: what it called them, and their names
    """

    NAME: ClassVar[str] = ""
    tag: bytes
    given: tuple[tuple[str, str], ...] = field(default=(), kw_only=True, eq=False)

    @property
    def allow_expunge(self) -> bool:
        return True
