"""What the queue holds and what becomes of it."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from attrs import evolve, field, frozen

from mailserver.interfaces import Envelope, IMessageBody, Recipient, Target


class State(IntEnum):
    """Of one recipient, as stored. Whether a delivery is under way is never stored: after a restart
    whatever waits is tried again."""

    WAITING = 0
    DELIVERED = 1
    FAILED = 2
    EXPIRED = 3
    HELD = 4


Turn = str | tuple[str, int]
"""Who takes turns with others: a sender; with the priority of his messages, where that is not 0."""


class Lane(NamedTuple):
    """Recipients of one domain ("" for local ones) of the messages of one sender and one priority."""

    domain: str
    sender: str
    priority: int = 0

    @property
    def turn(self) -> Turn:
        return (self.sender, self.priority) if self.priority else self.sender


def lane_of(envelope: Envelope, domain: str) -> Lane:
    """Where the recipients of a message wait that are of this domain."""
    return Lane(domain, sender_of(envelope), envelope.priority)


def sender_of(envelope: Envelope) -> str:
    """Who has a turn of his own, and room of his own: the user, or what a stranger calls himself."""
    return envelope.user or envelope.reverse_path


@frozen
class NewMessage:
    """A message to be queued: the file will hold `trace` and then the body."""

    envelope: Envelope
    trace: bytes
    body: IMessageBody
    targets: tuple[tuple[Recipient, Target], ...]


@frozen
class Place:
    """Where a message's octets lie: a whole file, or a part of a file that holds many small messages."""

    file: str  # below messages/
    offset: int
    size: int
    wire_size: int
    eight_bit: bool
    checksum: int  # CRC-32


@frozen
class QueuedMessage:
    """A message of the queue. `envelope.recipients` is empty: the rows of the recipients say more."""

    row: int
    envelope: Envelope
    place: Place


@frozen
class QueuedRecipient:
    """One recipient of a queued message, with what the last attempt brought."""

    row: int
    address: str  # as it was given in RCPT
    target: Target
    notify: frozenset[str] = frozenset()
    orcpt: str = ""
    state: State = State.WAITING
    attempts: int = 0
    next_try: float = 0.0
    first_attempt: float = 0.0
    last_attempt: float = 0.0
    code: int = 0
    status: str = ""
    reason: str = ""
    host: str = ""
    warned: bool = False
    deadline: float | None = None  # when something is to be done about its being late (RFC 2852)


@frozen
class Job:
    """A message for those of its recipients that go the same way, taken out for delivery.

    head: the beginning of the message, with its whole header block where that is sane.
    whole: the message itself as it is kept (LF line ends, a binary one CRLF), where it is small; else it is
    read from `path`.
    """

    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]
    head: bytes = field(repr=False)
    whole: bytes | None = field(repr=False)
    path: str

    @property
    def sender(self) -> str:
        return sender_of(self.message.envelope)

    @property
    def turn(self) -> Turn:
        return self.lane.turn

    @property
    def lane(self) -> Lane:
        """Of its recipients, which are all of one domain."""
        return self.lane_of(self.recipients[0])

    def lane_of(self, recipient: QueuedRecipient) -> Lane:
        return lane_of(self.message.envelope, recipient.target.domain)


@frozen
class Verdict:
    """What is recorded for a recipient after an attempt. `attempted` is False where it was given up or
    put off without one. `reported`: the next host tells the sender of a success, if that is wanted.
    `relayed`: the sender is to be told that it was passed on. `overdue`: that it is late was told."""

    row: int
    state: State
    at: float
    next_try: float = 0.0
    code: int = 0
    status: str = ""
    reason: str = ""
    host: str = ""
    attempted: bool = True
    warned: bool = False
    reported: bool = False
    relayed: bool = False
    overdue: bool = False

    def after(self, recipient: QueuedRecipient) -> QueuedRecipient:
        """The recipient as it stands after this."""
        return evolve(
            recipient,
            state=self.state,
            attempts=recipient.attempts + self.attempted,
            code=self.code,
            status=self.status,
            reason=self.reason,
            host=self.host,
            first_attempt=recipient.first_attempt or self.at,
            last_attempt=self.at,
        )


@frozen
class Taken:
    """Jobs of some lanes, each for one domain, and when more of these lanes is due."""

    jobs: tuple[Job, ...]
    next_due: tuple[tuple[Lane, float], ...]


def waits_since(envelope: Envelope) -> float:
    """When the time began after which a message is late: it came, or was released (RFC 4865)."""
    return max(envelope.received_at, envelope.release_at)
