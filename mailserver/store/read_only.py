"""A mailbox for a session that asked for no changes (EXAMINE): the shared one, without what changes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail
from zope.interface import classImplements

from mailserver.errors import NotPermitted
from mailserver.interfaces import IMailbox, IMailboxListener
from mailserver.store.mailbox import Mailbox


class ReadOnlyMailbox:
    """Everything but the changing methods is the shared mailbox's own."""

    read_only = True

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mailbox, name)

    def take_recent(self, listener: IMailboxListener, read_only: bool) -> frozenset[int]:
        return self._mailbox.take_recent(listener, True)

    def flag_mask(self, names: Iterable[str], create: bool) -> int:
        return self._mailbox.flag_mask(names, False)

    def _refuse(self, *args: Any, **kwargs: Any) -> Deferred[Any]:
        return fail(NotPermitted("Mailbox is open read-only"))

    store = expunge = remove = move = _refuse


classImplements(ReadOnlyMailbox, IMailbox)
