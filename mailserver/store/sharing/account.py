"""An account that sees other users' mailboxes as well, as far as these grant rights (RFC 4314; RFC 2342, 5).

`Other Users/alice@example.org/Work` is the folder `Work` of alice. Everything that is done to it happens in
her account, under her lock and her quota, after a look at the list in the folder. Who has not the right that
is needed learns that the mailbox exists only if it could be listed (`l`); else it is as if it did not exist
(RFC 4314, 6). Own mailboxes cost nothing more than before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from mailserver.config.units import format_size
from mailserver.errors import CannotName, MailboxExists, MailError, NoSuchMailbox, NoSuchUser, NotPermitted
from mailserver.events import AccountEvent
from mailserver.interfaces import (
    CopyResult,
    FolderInfo,
    IAccount,
    IMailbox,
    IMailboxListener,
    MailboxStatus,
    NewMessage,
    Quota,
    QuotaUsage,
)
from mailserver.rights import ALL, ANYONE, OTHERS, Acl
from mailserver.store import files, maildir, metadata
from mailserver.store.account import Account
from mailserver.store.filing import Deposit, FolderJob
from mailserver.store.mailbox import Mailbox
from mailserver.store.quota import limit_of
from mailserver.store.sharing import acl
from mailserver.store.sharing.mailbox import SharedMailbox
from mailserver.store.sharing.transfer import permitted, take_out
from mailserver.store.sharing.watch import OthersWatch

T = TypeVar("T")
ANY = "lrikxa"  # one of these lets a user ask for their rights (RFC 4314, 4: MYRIGHTS)


def _later(steps: Coroutine[Any, Any, T]) -> Deferred[T]:
    return Deferred.fromCoroutine(steps)


@frozen
class Place:
    """A mailbox as its owner names it."""

    account: Account
    name: str
    directory: str


def is_others(name: str) -> bool:
    return name.startswith(OTHERS) or name == OTHERS.removesuffix("/")


@implementer(IAccount)
class SharingAccount(Account):
    """In the reactor thread only."""

    # --- who may do what -------------------------------------------------------------------------

    def _owner(self, name: str) -> tuple[Account, str]:
        """The account that a name leads to, and the name there. Raises NoSuchMailbox."""
        owner, _, own = name[len(OTHERS) :].partition("/")
        if owner == self.user or owner not in self.store.settings.users.users:
            raise NoSuchMailbox
        account = self.store.get(owner)
        if not own or not files.is_directory(account.ledger.path):
            raise NoSuchMailbox
        return account, own

    def _place(self, name: str) -> Place:
        """Raises NoSuchMailbox."""
        if not is_others(name):
            account, own = cast(Account, self), name
        else:
            account, own = self._owner(name)
        try:
            return Place(account, own, maildir.directory_of(own))
        except CannotName as error:
            raise NoSuchMailbox(cause=error) from error

    async def _acl(self, place: Place) -> Acl:
        """Raises NoSuchMailbox."""
        return await place.account.run(acl.of_folder, place.directory, self.store.acls)

    async def _need(self, place: Place, needed: str) -> str:
        """The rights of this user there. Raises NoSuchMailbox, NotPermitted."""
        listed = await self._acl(place)
        rights = ALL if place.account is self else listed.rights_of(self.user)
        if set(needed) <= set(rights):
            return rights
        if "l" in rights:
            raise NotPermitted
        raise NoSuchMailbox

    def rights(self, name: str) -> Deferred[str]:
        return _later(self._rights(name))

    async def _rights(self, name: str) -> str:
        rights = await self._need(self._place(name), "")
        if set(rights).isdisjoint(ANY):
            raise NoSuchMailbox
        return rights

    def acl(self, name: str) -> Deferred[Sequence[tuple[str, str]]]:
        return _later(self._get_acl(name))

    async def _get_acl(self, name: str) -> Sequence[tuple[str, str]]:
        place = self._place(name)
        await self._need(place, "a")
        return [(place.account.user, ALL), *(await self._acl(place)).entries]

    def set_acl(self, name: str, identifier: str, edit: Callable[[str], str]) -> Deferred[None]:
        return _later(self._set_acl(name, identifier, edit))

    async def _set_acl(self, name: str, identifier: str, edit: Callable[[str], str]) -> None:
        place = self._place(name)
        await self._need(place, "a")
        owner = place.account.user
        plain = identifier.removeprefix("-")
        if plain == owner:
            raise CannotName("The owner of a mailbox has all rights")
        if plain not in (ANYONE, *self.store.settings.users.users) and edit(""):
            raise NoSuchUser
        await place.account.run(
            acl.change,
            place.directory,
            acls=self.store.acls,
            by=self.user,
            identifier=identifier,
            edit=edit,
            note=self.store.shares.note,
        )

    # --- folders ---------------------------------------------------------------------------------

    async def owners(self) -> Sequence[str]:
        """Users who share anything with this one."""
        owners = self.store.shares.owners(self.user)
        if owners is None:
            await self.store.threads.run(acl.FILE, self.store.shares.load)
            owners = self.store.shares.owners(self.user)
        return [owner for owner in owners or () if owner in self.store.settings.users.users]

    async def shared_by(self, owner: str) -> Sequence[tuple[str, str]]:
        """Folders of a user that this one may list, as that user names them, and the rights there."""
        account = self.store.get(owner)
        if not files.is_directory(account.ledger.path):
            return ()
        return await account.run(acl.shared_with, self.user, self.store.acls)

    def folders(self) -> Deferred[Sequence[FolderInfo]]:
        if self.store.shares.owners(self.user) == []:
            return super().folders()
        return _later(self._folders())

    async def _folders(self) -> Sequence[FolderInfo]:
        found = [folder for folder in await super().folders() if not is_others(folder.name)]
        owners = await self.owners()
        subscribed = set(await super().subscriptions()) if owners else set()
        for owner in owners:
            for own, rights in await self.shared_by(owner):
                name = f"{OTHERS}{owner}/{own}"
                found.append(FolderInfo(name, subscribed=name in subscribed, rights=rights))
        return found

    def create(self, name: str, special_use: str = "") -> Deferred[str]:
        return (
            _later(self._create(name, special_use)) if is_others(name) else super().create(name, special_use)
        )

    async def _create(self, name: str, special_use: str) -> str:
        """The right `k` on the nearest mailbox above (RFC 4314, 4)."""
        if special_use:
            raise CannotName("Special uses are for own mailboxes", imap="USEATTR")
        place = self._place(name)
        await self._may_create(place)
        try:
            return await place.account.create(place.name)
        except MailboxExists:
            await self._need(place, "l")  # who may not list it learns nothing but that it cannot be
            raise

    async def _may_create(self, place: Place) -> None:
        for above in reversed(maildir.superiors(maildir.normal_name(place.name.removesuffix("/")))):
            try:
                await self._need(Place(place.account, above, maildir.directory_of(above)), "k")
            except NoSuchMailbox:
                if await self._exists(place.account, above):
                    break
            else:
                return
        raise NotPermitted

    async def _exists(self, account: Account, name: str) -> bool:
        try:
            await account.run(acl.of_folder, maildir.directory_of(name), self.store.acls)
        except NoSuchMailbox:
            return False
        return True

    def delete(self, name: str) -> Deferred[None]:
        return _later(self._delete(name)) if is_others(name) else super().delete(name)

    async def _delete(self, name: str) -> None:
        place = self._place(name)
        await self._need(place, "x")
        await place.account.delete(place.name)

    def rename(self, old: str, new: str) -> Deferred[None]:
        if is_others(old) or is_others(new):
            return _later(self._rename(old, new))
        return super().rename(old, new)

    async def _rename(self, old: str, new: str) -> None:
        """Within one account: the right `x` there, and `k` above the new name."""
        place = self._place(old)
        await self._need(place, "x")
        if not is_others(old) or not place.directory:
            raise CannotName
        target = self._place(new)
        if target.account is not place.account:
            raise CannotName("A mailbox stays with its owner")
        await self._may_create(target)
        await place.account.rename(place.name, target.name)

    def metadata(self, name: str) -> Deferred[Mapping[str, bytes]]:
        return _later(self._metadata(name)) if is_others(name) else super().metadata(name)

    async def _metadata(self, name: str) -> Mapping[str, bytes]:
        place = self._place(name)
        await self._may_annotate(place)
        return await place.account.run(metadata.get, place.name, self.user)

    def set_metadata(self, name: str, values: Mapping[str, bytes | None]) -> Deferred[None]:
        return (
            _later(self._set_metadata(name, values))
            if is_others(name)
            else super().set_metadata(name, values)
        )

    async def _set_metadata(self, name: str, values: Mapping[str, bytes | None]) -> None:
        place = self._place(name)
        await self._may_annotate(place)
        await place.account.annotate(place.name, values, self.user)

    async def _may_annotate(self, place: Place) -> None:
        """The right `l`, and one of those to its messages (RFC 5464, 3.3)."""
        if set("rswip").isdisjoint(await self._need(place, "l")):
            raise NotPermitted

    # --- mailboxes -------------------------------------------------------------------------------

    def status(self, name: str) -> Deferred[MailboxStatus]:
        return _later(self._status(name)) if is_others(name) else super().status(name)

    async def _status(self, name: str) -> MailboxStatus:
        place = self._place(name)
        await self._need(place, "r")
        return await place.account.status(place.name)

    async def _open(self, name: str, listener: IMailboxListener, read_only: bool) -> IMailbox:
        if not is_others(name):
            return await super()._open(name, listener, read_only)
        place = self._place(name)
        rights = await self._need(place, "r")
        mailbox = cast(Mailbox, await place.account.open(place.name, listener))
        shared = SharedMailbox(self, mailbox, listener, name=name, rights=rights, examine=read_only)
        return cast(IMailbox, shared)

    def append(self, name: str, messages: Sequence[NewMessage], replacing: int = 0) -> Deferred[CopyResult]:
        if is_others(name):
            return _later(self._append(name, messages, replacing))
        return super().append(name, messages, replacing)

    async def _append(self, name: str, messages: Sequence[NewMessage], replacing: int) -> CopyResult:
        place = self._place(name)
        rights = await self._need(place, "i")
        kept = [evolve(message, flags=permitted(message.flags, rights)) for message in messages]
        return await place.account.append(place.name, kept, replacing)

    def quota(self, name: str = maildir.INBOX) -> Deferred[QuotaUsage]:
        return _later(self._quota(name)) if is_others(name) else super().quota()

    async def _quota(self, name: str) -> QuotaUsage:
        """The owner's, for who may read the mailbox."""
        place = self._place(name)
        await self._need(place, "r")
        return await place.account.quota()

    def quota_of(self, user: str) -> Deferred[QuotaUsage]:
        try:
            return self._administered(user).quota()
        except MailError as error:
            return fail(error)

    def set_quota(self, user: str, quota: Quota) -> Deferred[None]:
        try:
            self._administered(user)
        except MailError as error:
            return fail(error)
        values: dict[str, str | int] = {
            "quota": format_size(quota.octets),
            "quota_messages": quota.messages,
        }
        changed: Deferred[None] = self.store.settings.change_user(user, values)
        return changed

    def _administered(self, user: str) -> Account:
        """Raises NotPermitted, NoSuchUser."""
        if self.user not in self.store.settings.now.imap.administrators:
            raise NotPermitted
        if user not in self.store.settings.users.users:
            raise NoSuchUser
        return self.store.get(user)

    def watch(self, watcher: Callable[[AccountEvent], None], foreign: bool = False) -> Callable[[], None]:
        return OthersWatch(self, watcher, foreign).start()

    # --- COPY and MOVE between accounts ----------------------------------------------------------

    def transfer(
        self, source: Mailbox, uids: Sequence[int], folder: str, *, move: bool, by: IMailboxListener | None
    ) -> Deferred[CopyResult]:
        """From a mailbox, whosever it is, into one that this user may insert into."""
        return _later(self._transfer(source, uids, folder, move=move, by=by))

    async def _transfer(
        self, source: Mailbox, uids: Sequence[int], folder: str, *, move: bool, by: IMailboxListener | None
    ) -> CopyResult:
        place = self._place(folder)
        rights = await self._need(place, "i")
        wanted = sorted(set(uids))
        store, owner = self.store, place.account
        papers = await store.get(source.user).run(
            take_out, source.directory, wanted, spool=store.spool, rights=rights
        )
        limit = limit_of(store.settings, owner.user)
        keywords = store.settings.now.limits.keywords
        deposit = Deposit(place.directory, (), limit, keywords=keywords)
        store.used(owner)
        job = FolderJob(owner.place, deposit, papers=papers, source=wanted)
        try:
            result: CopyResult = await store.writer.submit(job)
        except MailError:
            job.abandon()
            raise
        if move:
            await source.remove(wanted, by)
        return result
