"""Final delivery into accounts of this server: Return-Path, trace and body in one file, one fsync.

The file is written in the spool and gets a name in each target's folder: a link, or a rename where there is
one target only. One outcome for each target: a mailbox that is full or broken does not harm the others,
and nothing is told before it is on the disk (DESIGN, "Durability").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailserver.disk import durable
from mailserver.errors import CannotName, MailError, NoSuchUser
from mailserver.interfaces import Envelope, ILocalDelivery, IMessageBody, Target
from mailserver.store import maildir
from mailserver.store.filing import AccountPlace, Deposit, Paper
from mailserver.store.quota import limit_of
from mailserver.store.spool import Spool
from mailserver.store.store import MailStore


@implementer(ILocalDelivery)
class LocalDelivery:
    """In the reactor thread only."""

    def __init__(self, store: MailStore) -> None:
        self._store = store

    def deliver(
        self, envelope: Envelope, trace: bytes, body: IMessageBody, targets: Sequence[Target]
    ) -> Deferred[Sequence[Exception | None]]:
        """One outcome for each target. A mailbox that is named twice gets one copy. Fails as a whole with
        NoSpace, Busy and the like before anything was delivered."""
        if not targets:
            return succeed(())
        copies: dict[tuple[str, str], int] = {}
        parts: list[tuple[AccountPlace, Deposit]] = []
        where: list[int | Exception] = []
        for target in targets:
            try:
                directory = _directory(target.folder)
                account = self._store.get(target.user)
            except MailError as error:
                where.append(NoSuchUser(cause=error))
                continue
            key = (target.user, directory)
            if key not in copies:
                copies[key] = len(parts)
                self._store.used(account)
                limit = limit_of(self._store.settings, target.user)
                parts.append((account.place, Deposit(directory, (), limit, or_inbox=True)))
            where.append(copies[key])
        if not parts:
            return succeed([one if isinstance(one, Exception) else None for one in where])
        head = b"Return-Path: <%b>\n%b" % (envelope.reverse_path.encode("utf-8", "replace"), trace)
        if "\n" in envelope.reverse_path or "\r" in envelope.reverse_path:
            return fail(MailError(cause="line end in a reverse-path"))
        return self._store.writer.submit(_DeliveryJob(self._store.spool, head, body, parts, where))


def _directory(folder: str) -> str:
    """Where the folder lies; a name that cannot be one means the inbox."""
    try:
        return maildir.directory_of(folder)
    except CannotName:
        return ""


@define(eq=False)
class _DeliveryJob:
    """See `GroupJob`."""

    spool: Spool
    head: bytes
    body: IMessageBody
    deposits: list[tuple[AccountPlace, Deposit]]
    where: list[int | Exception]
    paper: Paper | None = field(default=None, init=False)

    def write(self) -> Sequence[int]:
        self.paper, fd = self.spool.write(self.head, self.body, moves=len(self.deposits) == 1)
        return (fd,)

    def parts(self) -> Sequence[tuple[AccountPlace, Any]]:
        assert self.paper is not None
        for _, deposit in self.deposits:
            deposit.papers = (self.paper,)
        return self.deposits

    def finish(self, outcomes: Sequence[Exception | None]) -> Sequence[Exception | None]:
        """From here on nothing may raise: the message is delivered."""
        if len(self.deposits) > 1 or outcomes[0] is not None:
            self.abandon()
        return [one if isinstance(one, Exception) else outcomes[one] for one in self.where]

    def abandon(self) -> None:
        if self.paper is not None:
            durable.unlink_quietly(self.paper.path)
