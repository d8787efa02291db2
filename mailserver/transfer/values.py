"""What a source of mail is, and what comes of bringing it in."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Protocol

from attrs import define, field, frozen


@frozen
class Message:
    """One message of a source.

    key:   names it within its folder, for as long as the source is what it is
    data:  LF line ends
    flags: "\\\\Seen", "$Forwarded" …
    date:  internal date in seconds since the epoch, None for now
    octets: the size of a text that was not read
    """

    key: str
    data: bytes = field(repr=False)
    flags: frozenset[str] = frozenset()
    date: float | None = None
    octets: int | None = None

    @property
    def size(self) -> int:
        return len(self.data) if self.octets is None else self.octets


@frozen
class Passed:
    """A message that the source gives no more of: it was brought in before, or cannot be."""

    key: str
    reason: str = ""  # "" for what was brought in before


class Folder(Protocol):
    """One folder of a source.

    origin:  how the source calls it
    name:    where it goes, levels by "/"
    special: its special use ("\\\\Sent"), where the source knows
    size:    what there is to do: octets, or messages where octets are not known
    """

    origin: str
    name: str
    special: str
    size: int

    def messages(self, done: Container[str]) -> Iterator[Message | Passed]:
        """All that are there, those with a key in `done` as Passed. Raises SourceError."""

    def position(self) -> int:
        """How much of `size` is done."""


class Source(Protocol):
    """Where mail comes from. `kind`, `place`: by which the journal knows it again."""

    kind: str
    place: str

    @property
    def passed_over(self) -> Sequence[str]:
        """Folders that only show what is in others; known once `folders` was asked."""

    def folders(self) -> Sequence[Folder]:
        """Raises SourceError."""

    def close(self) -> None: ...


class SourceError(Exception):
    """The source cannot be read (any further). The text is for the administrator."""


@define
class FolderReport:
    """What came of one folder. failed: reasons of those that were not brought in, by key."""

    origin: str
    name: str
    imported: int = 0
    before: int = 0
    octets: int = 0
    failed: dict[str, str] = field(factory=dict)


@define
class Report:
    """What came of all. stopped: why it ended early, "" where it did not."""

    folders: list[FolderReport] = field(factory=list)
    passed_over: Sequence[str] = ()
    stopped: str = ""

    def total(self, name: str) -> int:
        """The sum of a count over all folders."""
        return sum(getattr(folder, name) for folder in self.folders)

    @property
    def failed(self) -> int:
        return sum(len(folder.failed) for folder in self.folders)
