"""Who may send what to whom: the rules of the MX service and of submission, as a chain of small classes.

Each `Policy` sees a transaction at up to four moments and refuses by raising a MailError; one that must wait
returns a Deferred, which fails with it. Filters are further links of the chain. Rules are asked in order,
and the settings are looked at when a rule is asked: a reload holds from the next command on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.config import schema
from mailserver.errors import (
    LimitReached,
    MailError,
    MessageTooLarge,
    NoSpace,
    OverQuota,
    RelayDenied,
    RoutingLoop,
)
from mailserver.interfaces import IMessageBody, IRouter, QuotaUsage, Target
from mailserver.message import headers, trace
from mailserver.message.headers import Headers
from mailserver.smtp.commands import Rcpt
from mailserver.smtp.transaction import Transaction
from mailserver.wire.lines import ends_in_pairs
from mailserver.wire.networks import in_networks

MAX_HEADER = 256 * 1024  # octets of a header block
MAX_FROM = 4096  # octets of a From or Sender value: one address and a name
_SPACE_SECONDS = 5.0  # how long an answer about free disk space is believed

Answer = Deferred[None] | None


class Policy:
    """A rule that allows everything."""

    def on_sender(self, transaction: Transaction) -> Answer:
        """At MAIL."""
        return None

    def on_recipient(self, transaction: Transaction, rcpt: Rcpt, targets: Sequence[Target]) -> Answer:
        """At RCPT, once the address is known to lead to `targets`."""
        return None

    def on_header(self, transaction: Transaction, data: bytes) -> bytes:
        """`data` is the beginning of the message with its whole header block, or more than MAX_HEADER of it.
        What is returned takes its place."""
        return data

    def on_message(self, transaction: Transaction, body: IMessageBody) -> Answer:
        """The message is whole."""
        return None


Rule = Callable[..., Answer]


def rules_of(policies: Sequence[Policy], moment: str) -> tuple[Any, ...]:
    """What there is to ask at a moment, a method of `Policy`: of those policies that say something then."""
    allows = getattr(Policy, moment)
    found = [getattr(policy, moment) for policy in policies]
    return tuple(rule for rule in found if getattr(rule, "__func__", rule) is not allows)


def ask(rules: Sequence[Rule], *args: Any) -> Answer:
    """Ask one after the other; a Deferred only where one of them must wait."""
    for number, rule in enumerate(rules):
        answer = rule(*args)
        if answer is not None:
            return _then(answer, rules[number + 1 :], args)
    return None


def edit_binary(edit: Callable[[bytes], bytes], data: bytes) -> bytes:
    """`on_header` for a message that is kept as it comes (RFC 3030, 3): only the header block is looked at,
    in the form that policies know, and that has to be text."""
    end = data.find(b"\r\n\r\n") + 4
    if data.startswith(b"\r\n"):
        end = 2
    elif end < 4:
        end = len(data)
    header = data[:end]
    if b"\0" in header or not ends_in_pairs(header):
        raise MailError("The message header is not text", code=550, enhanced="5.6.0")
    return edit(header.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n") + data[end:]


def _then(answer: Deferred[None], rest: Sequence[Rule], args: tuple[Any, ...]) -> Deferred[None]:
    def go_on(result: None) -> Any:
        return ask(rest, *args)

    return answer.addCallback(go_on)


def grant_priority(transaction: Transaction, limits: schema.Limits) -> bool:
    """The priority that a message gets of what was asked for (RFC 6710, 4.1): above the ordinary one none
    that was not allowed to users, and to servers that are named; anybody may lower his own. True where it is
    another."""
    asked = transaction.mail.priority or 0
    known = transaction.sender.user or in_networks(transaction.peer.ip, limits.priority_networks)
    transaction.priority = min(asked, limits.priority if known else 0)
    return transaction.priority != asked


# --- both services -------------------------------------------------------------------------------


class Limits(Policy):
    """Recipients (RFC 5321, 4.5.3.1.8), hops (6.3), size and shape of the header block."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def on_recipient(self, transaction: Transaction, rcpt: Rcpt, targets: Sequence[Target]) -> None:
        if len(transaction.recipients) >= self._settings.now.limits.recipients:
            raise LimitReached("Too many recipients", enhanced="4.5.3")

    def on_header(self, transaction: Transaction, data: bytes) -> bytes:
        if not headers.begins_with_field(data):
            return b"\n" + data  # text without a header: our own fields must not run into it
        head = Headers(data)
        if head.end > MAX_HEADER:
            raise MessageTooLarge("Message header too large")
        if trace.hops(head) > self._settings.now.limits.hops:
            raise RoutingLoop("Too many hops")
        return data


class FreeSpace(Policy):
    """New mail waits while the disk is nearly full: reading and deleting must stay possible (CASES F9)."""

    def __init__(
        self,
        settings: Any,
        clock: Callable[[], float],
        statvfs: Callable[[Any], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._statvfs = statvfs
        self._asked = float("-inf")
        self._free = 0

    def on_sender(self, transaction: Transaction) -> None:
        config = self._settings.now
        size = transaction.mail.size or 0
        if self._free_now(config.data_dir) < config.limits.min_free + size + size // 2:
            raise NoSpace

    def _free_now(self, directory: object) -> int:
        now = self._clock()
        if not 0 <= now - self._asked < _SPACE_SECONDS:
            self._asked = now
            try:
                found = self._statvfs(directory)
            except OSError:
                self._free = 1 << 62  # unknown: the write itself will tell
            else:
                self._free = found.f_bavail * found.f_frsize
        return self._free


class Quota(Policy):
    """A full mailbox is told at RCPT, so that no bounce is needed later (RFC 5321, 3.6.2; CASES G20)."""

    def __init__(self, usage: Callable[[str], QuotaUsage | None]) -> None:
        self._usage = usage

    def on_recipient(self, transaction: Transaction, rcpt: Rcpt, targets: Sequence[Target]) -> None:
        size = transaction.mail.size or 1
        for target in targets:
            if not self._is_full(target, size):
                return
        if targets:
            raise OverQuota

    def _is_full(self, target: Target, size: int) -> bool:
        usage = self._usage(target.user) if target.user else None
        return usage is not None and not usage.fits(size)


# --- MX ------------------------------------------------------------------------------------------


class NoRelay(Policy):
    """Mail from strangers goes to our own domains only (RFC 5321, 3.6; CASES C1). The address as it was given
    decides: an alias may well lead elsewhere."""

    def __init__(self, router: IRouter) -> None:
        self._router = router

    def on_recipient(self, transaction: Transaction, rcpt: Rcpt, targets: Sequence[Target]) -> None:
        domain = rcpt.path.domain
        if domain and not self._router.is_local_domain(domain) and not transaction.sender.may_relay():
            raise RelayDenied


class LocalOnly(Policy):
    """LMTP delivers; it sends nothing on for anybody, wherever he comes from. An alias may lead elsewhere."""

    def __init__(self, router: IRouter) -> None:
        self._router = router

    def on_recipient(self, transaction: Transaction, rcpt: Rcpt, targets: Sequence[Target]) -> None:
        domain = rcpt.path.domain
        if domain and not self._router.is_local_domain(domain):
            raise RelayDenied


# --- submission (RFC 6409) -----------------------------------------------------------------------


class LogInFirst(Policy):
    """Submission is for users (RFC 6409, 4.3)."""

    def on_sender(self, transaction: Transaction) -> None:
        if not transaction.sender.user:
            raise MailError("Authentication required", code=530, enhanced="5.7.0")


class OwnSender(Policy):
    """A user sends from its own addresses only (RFC 6409, 6.1); the null path is for receipts (RFC 8098)."""

    def on_sender(self, transaction: Transaction) -> None:
        path = transaction.reverse_path
        if path and not transaction.sender.owns(path):
            raise MailError("Sender address is not yours", code=553, enhanced="5.7.1")


class Hold(Policy):
    """How long a user may have a message held back (RFC 4865, 4.2). A time that is over holds nothing."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def on_sender(self, transaction: Transaction) -> None:
        mail, now = transaction.mail, transaction.started
        if mail.hold_for is None and mail.hold_until is None:
            return
        if mail.hold_for is not None and mail.hold_until is not None:
            raise MailError("HOLDFOR or HOLDUNTIL, not both", code=501, enhanced="5.5.4")
        release_at = now + mail.hold_for if mail.hold_for is not None else mail.hold_until or 0.0
        if release_at > now + self._settings.now.limits.future_release:
            raise MailError("Cannot be held as long as that", code=501, enhanced="5.5.4")
        if mail.by is not None and release_at > now + mail.by.seconds:  # RFC 4865, 5.2.2
            raise MailError("Cannot be delivered before it is released", code=501, enhanced="5.5.4")
        transaction.release_at = release_at


class Complete(Policy):
    """The header a submitted message must have (RFC 6409, 8): one From that is the user's; Date, Message-ID
    and From are added where they are missing; Bcc goes, and a Sender that is not the user's."""

    def __init__(self, settings: Any, addresses: Callable[[bytes], Sequence[str] | None]) -> None:
        self._settings = settings
        self._addresses = addresses

    def on_header(self, transaction: Transaction, data: bytes) -> bytes:
        head = Headers(data)
        present = head.find(b"from", b"sender", b"date", b"message-id", b"bcc")
        names = {field.name for field in present}
        self._check_from(transaction, head, [field for field in present if field.name == b"from"])
        remove = {b"bcc"} if b"bcc" in names else set()
        for field in present:
            if field.name == b"sender" and not self._is_own(transaction, head.value(field)):
                remove.add(b"sender")
        added = b"".join(self._missing(transaction, names))
        return added + (head.without(*remove) if remove else data)

    def _check_from(self, transaction: Transaction, head: Headers, fields: Sequence[headers.Field]) -> None:
        if len(fields) > 1:
            raise MailError("More than one From field", code=550, enhanced="5.7.1")
        if fields and not self._is_own(transaction, head.value(fields[0])):
            raise MailError("From must be one address of yours", code=550, enhanced="5.7.1")

    def _is_own(self, transaction: Transaction, value: bytes) -> bool:
        found = self._addresses(value) if len(value) <= MAX_FROM else None
        return found is not None and len(found) == 1 and bool(transaction.sender.owns(found[0]))

    def _missing(self, transaction: Transaction, names: set[bytes]) -> list[bytes]:
        """The fields to add, in the order in which they will stand."""
        added = []
        if b"date" not in names:
            added.append(f"Date: {trace.date(transaction.started)}\n")
        if b"message-id" not in names:
            added.append(f"Message-ID: <{transaction.id}@{self._settings.now.hostname}>\n")
        if b"from" not in names:
            added.append(f"From: <{transaction.reverse_path or transaction.sender.user}>\n")
        return [field.encode("utf-8", "replace") for field in added]
