"""A mailbox for a session of another user than its owner: the shared one, within the rights granted.

A list that changes is in force at once: the session is told of the flags it may set now, and one that may
not read any more loses the mailbox (RFC 4314, 5.1.1). \\Recent stays the owner's: such a session sees it and
does not take it. \\Seen is one for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from zope.interface import classImplements

from mailserver.errors import NotPermitted
from mailserver.events import RightsChanged
from mailserver.interfaces import CopyResult, Count, IMailbox, IMailboxListener, StoreMode, StoreResult
from mailserver.rights import Acl
from mailserver.store.mailbox import Mailbox
from mailserver.store.sharing.transfer import settable

if TYPE_CHECKING:
    from mailserver.store.sharing.account import SharingAccount


class SharedMailbox:
    """Everything but the changing methods is the mailbox's own. examine: it was opened without changes."""

    def __init__(
        self,
        actor: SharingAccount,
        mailbox: Mailbox,
        listener: IMailboxListener,
        *,
        name: str,
        rights: str,
        examine: bool,
    ) -> None:
        self.name = name
        self.rights = rights
        self._actor = actor
        self._mailbox = mailbox
        self._listener = listener
        self._examine = examine
        self._end = actor.store.changes.watch_rights(self._changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mailbox, name)

    @property
    def read_only(self) -> bool:
        """RFC 4314, 5.2: nothing of what makes a mailbox READ-WRITE is granted."""
        return self._examine or self._mailbox.read_only or set("iewst").isdisjoint(self.rights)

    def _changed(self, event: RightsChanged) -> None:
        own = self._mailbox
        if (event.user, event.name) != (own.user, own.name):
            return
        rights = Acl(event.after).rights_of(self._actor.user)
        if rights == self.rights:
            return
        self.rights = rights
        if "r" in rights:
            self._listener.rights_changed()
        else:
            self.close(self._listener)
            self._listener.mailbox_gone()

    def close(self, listener: IMailboxListener) -> None:
        self._end()
        self._mailbox.close(listener)

    def _needs(self, rights: str) -> bool:
        return not self.read_only and set(rights) <= set(self.rights)

    def take_recent(self, listener: IMailboxListener, read_only: bool) -> frozenset[int]:
        return self._mailbox.take_recent(listener, True)

    def flag_mask(self, names: Iterable[str], create: bool) -> int:
        """Without the right `w` no keyword is made; \\Flagged, which needs it as well, stands for all of
        them, so that `store` sees what was asked for."""
        if not create or self._needs("w"):
            return self._mailbox.flag_mask(names, create)
        return self._mailbox.flag_mask([n if n.startswith("\\") else "\\Flagged" for n in names], False)

    def store(
        self,
        uids: Sequence[int],
        mode: StoreMode,
        mask: int,
        unchanged_since: int | None,
        by: IMailboxListener | None,
    ) -> Deferred[StoreResult]:
        """What may be changed is; where that is nothing, it is not permitted (RFC 4314, 4: STORE)."""
        within = 0 if self.read_only else settable(self.rights)
        if not within or (mask and not mask & within and mode is not StoreMode.REPLACE):
            return fail(NotPermitted())
        return self._mailbox.store(uids, mode, mask, unchanged_since, by, within=within)

    def expunge(self, uids: Sequence[int] | None, by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        return self._mailbox.expunge(uids, by) if self._needs("e") else fail(NotPermitted())

    def remove(self, uids: Sequence[int], by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        return self._mailbox.remove(uids, by) if self._needs("te") else fail(NotPermitted())

    def copy(self, uids: Sequence[int], folder: str, told: Count | None = None) -> Deferred[CopyResult]:
        return self._actor.transfer(self._mailbox, uids, folder, move=False, by=None)

    def move(
        self, uids: Sequence[int], folder: str, by: IMailboxListener | None, told: Count | None = None
    ) -> Deferred[CopyResult]:
        """RFC 6851, 3.3: as COPY, STORE \\Deleted and EXPUNGE need it."""
        if not self._needs("te"):
            return fail(NotPermitted())
        return self._actor.transfer(self._mailbox, uids, folder, move=True, by=by)


classImplements(SharedMailbox, IMailbox)
