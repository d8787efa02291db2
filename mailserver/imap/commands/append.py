"""Messages that a client sends: APPEND and REPLACE, and the steps that they are done in."""

from __future__ import annotations

from attrs import field, frozen

from mailserver.imap.commands.base import Command
from mailserver.imap.values import SequenceSet


@frozen
class Begin:
    """A message of an APPEND begins; the one before it is complete. date: seconds since the epoch, None for
    now."""

    flags: frozenset[str]
    date: float | None


@frozen
class Octets:
    """`size` octets of the message come next. binary: as literal8 (RFC 3516, 4.4); part: of several
    (CATENATE)."""

    size: int
    binary: bool = False
    part: bool = False


@frozen
class Url:
    """Octets of the message are those that an IMAP URL stands for (RFC 4469, 3)."""

    url: bytes


Step = Begin | Octets | Url


@frozen
class Append(Command):
    """The messages come as literals that are streamed, and the command is read as they come
    (`grammar.appending`).

    uses:  capabilities that it has made use of
    steps: what is left to do once everything has come
    """

    NAME = "APPEND"
    mailbox: str
    uses: frozenset[str] = frozenset()
    steps: tuple[Step, ...] = ()


@frozen
class Replace(Append):
    """An APPEND of one message that takes the place of another (RFC 8508)."""

    NAME = "REPLACE"
    numbers: SequenceSet = field(kw_only=True)
    uid: bool = field(default=False, kw_only=True)
