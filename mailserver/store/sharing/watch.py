"""What happens to other users' mailboxes, for a session that watches its account (NOTIFY, RFC 5465, 5.9).

Accounts that share something with the user are watched as well. Events of their mailboxes are told under
the names that the user knows them by, as far as there is the right to list (`l`), and to read (`r`) where
messages are concerned. A mailbox that is granted or withdrawn is told as created or deleted (5.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.events import (
    AccountEvent,
    EventsLost,
    MessagesChanged,
    MetadataChanged,
    NameChanged,
    Naming,
    RightsChanged,
)
from mailserver.rights import OTHERS, Acl
from mailserver.store import maildir

if TYPE_CHECKING:
    from mailserver.store.sharing.account import SharingAccount


class OthersWatch:
    """One watcher, of the own account and of those that share with it. In the reactor thread."""

    log = Logger()

    def __init__(
        self, account: SharingAccount, watcher: Callable[[AccountEvent], None], foreign: bool
    ) -> None:
        """foreign: what other programs do is looked for as well."""
        self._account = account
        self._foreign = foreign
        self._changes = account.store.changes
        self._watcher = watcher
        self._ends: list[Callable[[], None]] = []
        self._visible: dict[str, set[str]] = {}  # by owner: folders that the user may list
        self._stopped = False

    def start(self) -> Callable[[], None]:
        self._listen(self._account.user, self._watcher)
        self._ends.append(self._changes.watch_rights(self._rights_changed))
        if self._account.store.shares.owners(self._account.user) != []:
            Deferred.fromCoroutine(self._begin()).addErrback(
                lambda failure: self.log.warn("watching others: {error}", error=failure.value)
            )
        return self.stop

    def stop(self) -> None:
        self._stopped = True
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    async def _begin(self) -> None:
        for owner in await self._account.owners():
            self._watch(owner)
            self._visible[owner].update([name for name, _ in await self._account.shared_by(owner)])

    def _watch(self, owner: str) -> None:
        if owner not in self._visible and not self._stopped:
            self._listen(owner, self._heard)
        self._visible.setdefault(owner, set())

    def _listen(self, user: str, watcher: Callable[[AccountEvent], None]) -> None:
        self._ends.append(self._changes.watch(user, watcher))
        if self._foreign:
            self._ends.append(self._account.store.foreign.follow(user))

    # --- events -----------------------------------------------------------------------------------

    def _tell(self, event: MessagesChanged | NameChanged | MetadataChanged) -> None:
        self._watcher(evolve(event, name=f"{OTHERS}{event.user}/{event.name}"))

    def _rights(self, owner: str, name: str) -> str:
        store = self._account.store
        path = store.get(owner).ledger.folder_path(maildir.directory_of(name))
        return store.acls.read(path).rights_of(self._account.user)

    def _heard(self, event: AccountEvent) -> None:
        if isinstance(event, NameChanged):
            self._name_changed(event)
        elif isinstance(event, EventsLost):
            self._watcher(event)
        elif event.name and {"l", "r"} <= set(self._rights(event.user, event.name)):
            if isinstance(event, MessagesChanged):
                self._tell(event)
                return
            shared = tuple(entry for entry in event.entries if entry.lower().startswith("/shared/"))
            if shared:
                self._tell(MetadataChanged(event.user, event.name, shared))

    def _name_changed(self, event: NameChanged) -> None:
        """Whether a mailbox that is gone could be listed is remembered: its list went with it."""
        visible = self._visible[event.user]
        if event.what is Naming.CREATED and "l" in self._rights(event.user, event.name):
            visible.add(event.name)
            self._tell(event)
        elif event.what is Naming.DELETED and event.name in visible:
            visible.discard(event.name)
            self._tell(event)
        elif event.what is Naming.RENAMED:
            self._renamed(event, visible)

    def _renamed(self, event: NameChanged, visible: set[str]) -> None:
        told = event.old in visible
        for name in [one for one in visible if f"{one}/".startswith(f"{event.old}/")]:
            visible.discard(name)
            visible.add(event.name + name[len(event.old) :])
        if told:
            old = f"{OTHERS}{event.user}/{event.old}"
            self._tell(evolve(event, old=old))

    def _rights_changed(self, event: RightsChanged) -> None:
        user = self._account.user
        if event.user == user:
            return
        before, after = (Acl(entries).rights_of(user) for entries in (event.before, event.after))
        if "l" in after and "l" not in before:
            self._watch(event.user)
            self._visible[event.user].add(event.name)
            self._tell(NameChanged(event.user, event.name, Naming.CREATED))
        elif "l" in before and "l" not in after:
            self._visible.get(event.user, set()).discard(event.name)
            self._tell(NameChanged(event.user, event.name, Naming.DELETED))
