"""The envelope of a message, and who takes and routes one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import floor
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mailserver.errors import MailError


@frozen
class Peer:
    """The other end of a connection, and how it came. What a proxy tells of it stands for what is seen, and
    where the client connected to; empty where none did."""

    ip: str
    port: int = 0
    tls: str = ""  # "" in clear, else "TLSv1.3 TLS_AES_256_GCM_SHA384"
    protocol: str = ""  # smtp, submission, submissions, imap, imaps, pop3, pop3s, lmtp
    channel: Any = field(default=None, eq=False, repr=False)  # IChannel inside TLS, while it is open
    server_ip: str = ""
    server_port: int = 0
    name: str = ""  # of `ip` in DNS


@frozen
class Target:
    """Where one recipient's copy goes. Exactly one of `user` and `domain` is not empty.

    address: the address after aliases, what a next hop or a DSN is told
    user:    the local account (a key of users.toml)
    folder:  the folder of that account, as IMAP names it
    domain:  the remote domain in A-label form, lower case
    """

    address: str
    user: str = ""
    domain: str = ""
    folder: str = "INBOX"


@frozen
class Recipient:
    """One RCPT that was accepted: the address as it was given, and where its copies go. notify, orcpt: DSN
    parameters (RFC 3461, 4.1, 4.2), empty where none were given."""

    address: str
    targets: tuple[Target, ...]
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)", re.IGNORECASE)
LONGEST_BY = 999_999_999  # seconds


@frozen
class By:
    """BY of MAIL (RFC 2852, 4): to be delivered within so many seconds; zero or less where that time is over.
    returns: then it comes back (mode R), else the sender is told that it is late (mode N). trace: the sender
    is told of each server that passes it on."""

    seconds: int
    returns: bool
    trace: bool = False

    @classmethod
    def read(cls, text: str) -> By:
        """`120;RT`. Raises ValueError."""
        match = _BY.fullmatch(text)
        if match is None:
            raise ValueError(text)
        return cls(int(match[1]), match[2] in "Rr", bool(match[3]))

    def __str__(self) -> str:
        return f"{self.seconds};{'R' if self.returns else 'N'}{'T' if self.trace else ''}"


@frozen
class DeliverBy:
    """at: by when a message is to be delivered, seconds since the epoch. by: as that was asked for."""

    at: float
    by: By

    def is_over(self, now: float) -> bool:
        return now >= self.at

    def returned(self, now: float) -> bool:
        """The message is not to be delivered any more: it comes back (RFC 2852, 4.1.3)."""
        return self.by.returns and now >= self.at

    def left(self, now: float) -> By:
        """What the next server is asked for (RFC 2852, 4.1.4)."""
        seconds = max(-LONGEST_BY, min(LONGEST_BY, floor(self.at - now)))
        return By(seconds, self.by.returns, self.by.trace)


@frozen
class Envelope:
    """A message's envelope (RFC 5321, 2.3.1) and what the server knows of the transaction. reverse_path: ""
    is the null reverse-path. id: names the message in every log line from here on.

    ret, envid: DSN parameters (RFC 3461, 4.3, 4.4), "" for none. require_tls: True for REQUIRETLS, False for
    "TLS-Required: No" (RFC 8689). release_at: not delivered before; hold: how that was asked for (RFC 4865).
    deliver_by: RFC 2852. priority: from -9 to 9 (RFC 6710).
    """

    id: str
    reverse_path: str
    recipients: tuple[Recipient, ...]
    peer: Peer
    helo: str = ""
    user: str = ""  # the authenticated user, "" where nobody logged in
    received_at: float = 0.0  # seconds since the epoch
    smtputf8: bool = False
    body_type: str = "7BIT"  # 7BIT, 8BITMIME or BINARYMIME
    ret: str = ""
    envid: str = ""
    require_tls: bool | None = None
    release_at: float = 0.0
    hold: str = ""
    deliver_by: DeliverBy | None = None
    priority: int = 0

    @property
    def binary(self) -> bool:
        """The message is kept as it came, not as lines of text (RFC 3030, 3)."""
        return self.body_type == "BINARYMIME"


class IMessageBody(Interface):
    """A message's bytes, in memory or in a file: LF line ends, or as it came if the envelope is `binary`."""

    size = Attribute("octets as `chunks` gives them: int")
    wire_size = Attribute("octets with CRLF line ends: int")
    path = Attribute("the spool file that holds the body, or None where it is in memory: str | None")

    def chunks() -> Iterable[bytes]:
        """The bytes. [disk] where `path` is set: then only in a thread."""

    def head(limit: int) -> bytes:
        """At most the first `limit` octets; kept in memory, never touches the disk."""

    def discard() -> None:
        """Forget the body; a spool file is removed. Harmless when called twice."""


class IAcceptor(Interface):
    """Takes the responsibility for a message (RFC 5321, 6.1)."""

    def accept(envelope: Envelope, trace: bytes, body: IMessageBody) -> Deferred[None]:
        """Fire when the message is durable for every recipient: delivered, or a row of the queue.

        `trace` is the header block to put on top (LF line ends, without Return-Path, which is added
        where a copy is finally delivered). Fails with a MailError, and then nothing was kept.
        """

    def accept_each(
        envelope: Envelope, trace: bytes, body: IMessageBody
    ) -> Deferred[Sequence[MailError | None]]:
        """The same with an outcome for each recipient of the envelope (LMTP, RFC 2033): None where the
        message is durable for it, else what to tell; nothing was kept for that one."""


class IRouter(Interface):
    """Addresses to targets (aliases followed, loops cut)."""

    def resolve(address: str) -> Sequence[Target]:
        """Where mail for `address` goes. Raises NoSuchUser, RoutingLoop, BadAddress."""

    def is_local_domain(domain: str) -> bool:
        """True for the domains in the configuration (case and a trailing dot do not matter)."""

    def owns(user: str, address: str) -> bool:
        """True where `user` may send from `address` (own address, its aliases, its subaddresses)."""
