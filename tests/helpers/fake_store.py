"""A mail store in memory: `IMailStore`, `IAccount`, `IMailbox` as interfaces.py describes them.

For tests of IMAP sessions. Everything fires at once, unless `account.clock` is a
`twisted.internet.task.Clock`: then each result waits for `clock.advance(0)`, as it would for a thread.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer

from mailserver.errors import (
    CannotName,
    LimitReached,
    MailboxExists,
    MailError,
    MessageGone,
    NoSuchMailbox,
    NoSuchUser,
    NotPermitted,
)
from mailserver.interfaces import (
    KEYWORD,
    CopyResult,
    Flag,
    FolderInfo,
    IAccount,
    IMailbox,
    IMailboxListener,
    IMailStore,
    IMessageFile,
    MailboxStatus,
    NewMessage,
    Quota,
    QuotaUsage,
    StoreMode,
    StoreResult,
    TextFound,
)
from mailserver.message.digest import GROUPS, digest, groups_of
from mailserver.message.envelope import string
from mailserver.message.headers import header_end
from mailserver.message.matching import Matcher
from mailserver.message.preview import preview
from mailserver.message.render import Rendered, render
from mailserver.rights import ALL

SMALL = 1024 * 1024
SYSTEM = {f"\\{flag.name.capitalize()}": flag.value for flag in Flag if flag.name}
SPECIAL = {
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
}


@implementer(IMessageFile)
class FakeFile:
    """A message in memory, wire form. `at_once` false: `read_all` declines, as for a cold disk."""

    def __init__(self, account: FakeAccount, data: bytes, at_once: bool) -> None:
        self.size = len(data)
        self.closed = False
        self._account = account
        self._data = data
        self._at_once = at_once

    def read_all(self) -> bytes | None:
        assert not self.closed
        return self._data if self._at_once and self.size <= SMALL else None

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        assert not self.closed
        return self._account.later(self._data[offset : offset + length])

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        self._account.open_files -= 1


@implementer(IMailbox)
class FakeMailbox:
    """One folder. at_once: messages can be read without waiting; keep_header: longer header blocks are not
    cached; max_keywords: as limits.keywords."""

    def __init__(self, account: FakeAccount, name: str, uidvalidity: int) -> None:
        self.account = account
        self.name = name
        self.read_only = False
        self.rights = ALL
        self.uidvalidity = uidvalidity
        self.uidnext = 1
        self.highestmodseq = 1
        self.uids = array("Q")
        self.flags: list[int] = []
        self.modseqs = array("Q")
        self.sizes = array("Q")
        self.dates = array("q")
        self.saved = array("q")
        self.keywords: list[str] = []
        self.derived: dict[str, Any] = {}
        self.special_use = ""
        self.metadata: dict[str, bytes] = {}
        self.at_once = True
        self.keep_header = 64 * 1024
        self.max_keywords = 200
        self.in_index: set[int] = set()  # what the search index holds
        self.read: list[int] = []  # UIDs that were searched in by reading them
        self.unclaimed: set[int] = set()  # \Recent for nobody yet
        self.data: dict[int, bytes] = {}
        self.listeners: list[IMailboxListener] = []
        self.expunged: list[tuple[int, int]] = []
        self.floor = 1  # what was expunged at or below this MODSEQ is forgotten
        self._rendered: dict[int, Rendered] = {}

    # --- what tests do ----------------------------------------------------------------------------

    def add(self, message: bytes, flags: Iterable[str] = (), date: float = 0.0, by: Any = None) -> int:
        """A message with LF or CRLF line ends arrives; sessions are told. Its UID."""
        bits = self.flag_mask(flags, True)
        uid = self._put(message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), bits, int(date))
        self._added(1)
        return uid

    def flag_names(self, uid: int) -> set[str]:
        bits = self.flags[self.index_of(uid)]
        names = {name for name, bit in SYSTEM.items() if bits & bit}
        return names | {word for n, word in enumerate(self.keywords) if bits & 1 << (KEYWORD + n)}

    def set_flags(self, uid: int, *names: str) -> None:
        """Another program changes flags."""
        index = self.index_of(uid)
        self.flags[index] = self.flag_mask(names, True)
        self.highestmodseq += 1
        self.modseqs[index] = self.highestmodseq
        self._changed([uid], None)

    def expunge_now(self, *uids: int) -> None:
        """Another program removes messages."""
        self._remove([uid for uid in uids if uid in self.data], None)

    def disappear(self) -> None:
        """The folder is deleted by another session."""
        for listener in list(self.listeners):
            listener.mailbox_gone()

    # --- within -----------------------------------------------------------------------------------

    def _put(self, wire: bytes, bits: int, date: int) -> int:
        uid = self.uidnext
        self.uidnext += 1
        self.highestmodseq += 1
        self.data[uid] = wire
        self.uids.append(uid)
        self.flags.append(bits)
        self.modseqs.append(self.highestmodseq)
        self.sizes.append(len(wire))
        self.dates.append(date)
        self.saved.append(date)
        self.unclaimed.add(uid)
        return uid

    def _added(self, count: int) -> None:
        for listener in list(self.listeners):
            listener.messages_added(count)

    def _changed(self, uids: Sequence[int], by: IMailboxListener | None) -> None:
        for listener in list(self.listeners):
            listener.flags_changed(uids, by)

    def _remove(self, uids: Sequence[int], by: IMailboxListener | None) -> Sequence[int]:
        gone = set(uids)
        if not gone:
            return ()
        self.highestmodseq += 1
        self.expunged += [(self.highestmodseq, uid) for uid in sorted(gone)]
        keep = [n for n, uid in enumerate(self.uids) if uid not in gone]
        self.uids = array("Q", [self.uids[n] for n in keep])
        self.flags = [self.flags[n] for n in keep]
        self.modseqs = array("Q", [self.modseqs[n] for n in keep])
        self.sizes = array("Q", [self.sizes[n] for n in keep])
        self.dates = array("q", [self.dates[n] for n in keep])
        self.saved = array("q", [self.saved[n] for n in keep])
        self.unclaimed -= gone
        for uid in gone:
            del self.data[uid]
        for listener in list(self.listeners):
            listener.messages_removed(sorted(gone), by)
        return sorted(gone)

    def _existing(self, uids: Sequence[int]) -> list[int]:
        """COPY and MOVE are all or none."""
        if any(uid not in self.data for uid in uids):
            raise MessageGone
        return list(uids)

    # --- IMailbox ---------------------------------------------------------------------------------

    def index_of(self, uid: int) -> int:
        return self.uids.index(uid) if uid in self.data else -1

    @property
    def mailboxid(self) -> str:
        return f"F{self.uidvalidity}"

    def first_unseen(self) -> int:
        return next((n for n, bits in enumerate(self.flags, 1) if not bits & Flag.SEEN), 0)

    def email_ids(self, uids: Sequence[int]) -> Sequence[str | None]:
        """By content."""
        return [f"M{crc32(self.data[uid]):08x}" if uid in self.data else None for uid in uids]

    def flag_mask(self, names: Iterable[str], create: bool) -> int:
        mask = 0
        lower = {name.lower(): bit for name, bit in SYSTEM.items()}
        for name in names:
            if name.startswith("\\"):
                mask |= lower.get(name.lower(), 0)
                continue
            known = [keyword.lower() for keyword in self.keywords]
            if name.lower() not in known:
                if not create:
                    continue
                if len(self.keywords) >= self.max_keywords:
                    raise LimitReached
                self.keywords.append(name)
                known.append(name.lower())
            mask |= 1 << (KEYWORD + known.index(name.lower()))
        return mask

    def take_recent(self, listener: IMailboxListener, read_only: bool) -> frozenset[int]:
        found = frozenset(self.unclaimed)
        if not read_only:
            self.unclaimed.clear()
        return found

    def store(
        self,
        uids: Sequence[int],
        mode: StoreMode,
        mask: int,
        unchanged_since: int | None,
        by: IMailboxListener | None,
    ) -> Deferred[StoreResult]:
        return self.account.later_call(lambda: self._store(uids, mode, mask, unchanged_since, by))

    def _store(
        self,
        uids: Sequence[int],
        mode: StoreMode,
        mask: int,
        unchanged_since: int | None,
        by: IMailboxListener | None,
    ) -> StoreResult:
        changed = []
        modified = []
        modseq = self.highestmodseq + 1
        for uid in uids:
            index = self.index_of(uid)
            if index < 0:
                continue
            if unchanged_since is not None and self.modseqs[index] > unchanged_since:
                modified.append(uid)
                continue
            old = self.flags[index]
            new = {StoreMode.REPLACE: mask, StoreMode.ADD: old | mask, StoreMode.REMOVE: old & ~mask}[mode]
            if new != old:
                self.flags[index] = new
                self.modseqs[index] = self.highestmodseq = modseq
                changed.append(uid)
        if changed:
            self._changed(changed, by)
        return StoreResult(tuple(changed), tuple(modified))

    def expunge(self, uids: Sequence[int] | None, by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        def run() -> Sequence[int]:
            deleted = [u for u, bits in zip(self.uids, self.flags, strict=True) if bits & Flag.DELETED]
            return self._remove([uid for uid in deleted if uids is None or uid in set(uids)], by)

        return self.account.later_call(run)

    def remove(self, uids: Sequence[int], by: IMailboxListener | None) -> Deferred[Sequence[int]]:
        return self.account.later_call(lambda: self._remove([u for u in uids if u in self.data], by))

    def copy(self, uids: Sequence[int], folder: str, told: Any = None) -> Deferred[CopyResult]:
        return self.account.later_call(lambda: self._copy(uids, folder))

    def _copy(self, uids: Sequence[int], folder: str) -> CopyResult:
        target = self.account.folder(folder)
        if self.account.failing is not None:
            raise self.account.failing
        made = []
        for uid in self._existing(uids):
            index = self.index_of(uid)
            bits = target.flag_mask(self.flag_names(uid), True)
            made.append(target._put(self.data[uid], bits, self.dates[index]))
        target._added(len(made))
        return CopyResult(target.uidvalidity, tuple(uids), tuple(made))

    def move(
        self, uids: Sequence[int], folder: str, by: IMailboxListener | None, told: Any = None
    ) -> Deferred[CopyResult]:
        def run() -> CopyResult:
            result = self._copy(uids, folder)
            self._remove(uids, by)
            return result

        return self.account.later_call(run)

    def open_message(self, uid: int) -> IMessageFile:
        if uid not in self.data:
            raise MessageGone
        self.account.open_files += 1
        return FakeFile(self.account, self.data[uid], self.at_once)

    def indexed(self, text: str, header: bool, uids: Sequence[int]) -> Deferred[TextFound]:
        """What is known: of the UIDs in `in_index`, that they have the text or not."""
        known = [uid for uid in uids if uid in self.in_index]
        matcher = Matcher(text, header)
        sure = [uid for uid in known if uid in self.data and matcher.fits(self.data[uid])]
        return self.account.later_call(lambda: TextFound(sure, [u for u in uids if u not in self.in_index]))

    def containing(self, text: str, header: bool, uids: Sequence[int]) -> Deferred[Sequence[int]]:
        def run() -> Sequence[int]:
            self.read += uids
            matcher = Matcher(text, header)
            return [uid for uid in uids if uid in self.data and matcher.fits(self.data[uid])]

        return self.account.later_call(run)

    def rendered(self, item: str, uids: Sequence[int], make: bool = True) -> Deferred[Sequence[bytes | None]]:
        assert len(uids) <= 1000
        return self.account.later_call(lambda: [self._render(item, uid) for uid in uids])

    def cut_headers(
        self, name: str, cut: Callable[[bytes], bytes], uids: Sequence[int]
    ) -> Deferred[Sequence[bytes | None]]:
        def run() -> Sequence[bytes | None]:
            headers = [self._render("HEADER", uid) for uid in uids]
            return [None if header is None else cut(header) for header in headers]

        return self.account.later_call(run)

    def _render(self, item: str, uid: int) -> bytes | None:
        if uid not in self.data:
            return None
        if item == "PREVIEW":
            return string(preview(self.data[uid]).encode("utf-8"))
        if uid not in self._rendered:
            self._rendered[uid] = render(self.data[uid].replace(b"\r\n", b"\n"))
        value: bytes = getattr(self._rendered[uid], item.lower())
        return None if item == "HEADER" and len(value) > self.keep_header else value

    def digests(
        self, names: Sequence[str], uids: Sequence[int]
    ) -> Deferred[Sequence[tuple[Any, ...] | None]]:
        assert len(uids) <= 1000
        return self.account.later_call(lambda: [self._digest(names, uid) for uid in uids])

    def _digest(self, names: Sequence[str], uid: int) -> tuple[Any, ...] | None:
        if uid not in self.data:
            return None
        groups = groups_of(names)
        made = digest(self.data[uid][: header_end(self.data[uid])], groups)
        values = {}
        for group, row in zip(groups, made, strict=True):
            values.update(zip(GROUPS[group].fields, row, strict=True))
        return tuple(values[name] for name in names)

    def expunged_since(self, modseq: int) -> Deferred[Sequence[int] | None]:
        if modseq < self.floor:
            return self.account.later(None)
        return self.account.later(sorted(uid for when, uid in self.expunged if when > modseq))

    def refresh(self) -> Deferred[None]:
        return self.account.later(None)

    def close(self, listener: IMailboxListener) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)


@implementer(IAccount)
class FakeAccount:
    """One user's folders, INBOX and the special-use ones. failing: what COPY, MOVE, APPEND fail with."""

    def __init__(self, user: str = "alice@example.org") -> None:
        self.user = user
        self.clock: Clock | None = None
        self.failing: MailError | None = None
        self.limit = self.limit_messages = 0
        self.open_files = 0
        self._uidvalidity = 1_600_000_000
        self.boxes: dict[str, FakeMailbox] = {}
        self.subscribed: set[str] = set()
        for name in ("INBOX", *SPECIAL):
            self._make(name).special_use = SPECIAL.get(name, "")
            self.subscribed.add(name)

    @property
    def inbox(self) -> FakeMailbox:
        return self.boxes["INBOX"]

    # --- results ----------------------------------------------------------------------------------

    def later(self, value: Any) -> Deferred[Any]:
        if self.clock is None:
            return succeed(value)
        return deferLater(self.clock, 0, lambda: value)

    def later_call(self, function: Any) -> Deferred[Any]:
        """The call happens when the result fires."""
        if self.clock is not None:
            return deferLater(self.clock, 0, function)
        try:
            return succeed(function())
        except MailError as error:
            return fail(error)

    # --- folders ----------------------------------------------------------------------------------

    def _name(self, name: str) -> str:
        first, slash, rest = name.partition("/")
        return "INBOX" + slash + rest if first.upper() == "INBOX" else name

    def _make(self, name: str) -> FakeMailbox:
        self._uidvalidity += 1
        box = self.boxes[name] = FakeMailbox(self, name, self._uidvalidity)
        return box

    def folder(self, name: str) -> FakeMailbox:
        box = self.boxes.get(self._name(name))
        if box is None:
            raise NoSuchMailbox
        return box

    def folders(self) -> Deferred[Sequence[FolderInfo]]:
        names = sorted(self.boxes, key=lambda name: (name != "INBOX", name))
        return self.later(
            [
                FolderInfo(
                    n, self.boxes[n].special_use, n in self.subscribed, True, self.boxes[n].highestmodseq
                )
                for n in names
            ]
        )

    def create(self, name: str, special_use: str = "") -> Deferred[str]:
        def run() -> str:
            path = self._name(name).rstrip("/")
            if path in self.boxes:
                raise MailboxExists
            if not path or "//" in path or path.startswith("/"):
                raise CannotName
            if special_use and any(box.special_use == special_use for box in self.boxes.values()):
                raise CannotName(imap="USEATTR")
            for depth in range(1, path.count("/") + 1):
                parent = "/".join(path.split("/")[:depth])
                if parent not in self.boxes:
                    self._make(parent)
            made = self._make(path)
            made.special_use = special_use
            return made.mailboxid

        return self.later_call(run)

    def delete(self, name: str) -> Deferred[None]:
        def run() -> None:
            box = self.folder(name)
            if box.name == "INBOX":
                raise CannotName
            del self.boxes[box.name]
            box.disappear()

        return self.later_call(run)

    def rename(self, old: str, new: str) -> Deferred[None]:
        def run() -> None:
            box, target = self.folder(old), self._name(new)
            if target in self.boxes:
                raise MailboxExists
            if box.name == "INBOX":
                made = self._make(target)
                for uid in list(box.uids):
                    made._put(box.data[uid], made.flag_mask(box.flag_names(uid), True), 0)
                box._remove(list(box.uids), None)
                return
            source = box.name
            for name in [n for n in self.boxes if n == source or n.startswith(source + "/")]:
                moved = self.boxes.pop(name)
                moved.disappear()
                moved.name = target + name[len(source) :]
                self.boxes[moved.name] = moved

        return self.later_call(run)

    def subscribe(self, name: str, wanted: bool) -> Deferred[None]:
        (self.subscribed.add if wanted else self.subscribed.discard)(self._name(name))
        return self.later(None)

    def rights(self, name: str) -> Deferred[str]:
        return self.later_call(lambda: ALL if self.folder(name) else "")

    def acl(self, name: str) -> Deferred[Sequence[tuple[str, str]]]:
        return self.later_call(lambda: [(self.user, ALL)] if self.folder(name) else [])

    def set_acl(self, name: str, identifier: str, edit: Any) -> Deferred[None]:
        """Nothing is shared: for that there is the real store."""
        return fail(NotPermitted())

    def watch(self, watcher: Any, foreign: bool = False) -> Any:
        """Nothing is told: for that there is the real store."""
        return lambda: None

    def metadata(self, name: str) -> Deferred[Mapping[str, bytes]]:
        return self.later_call(lambda: dict(self.folder(name).metadata if name else {}))

    def set_metadata(self, name: str, values: Mapping[str, bytes | None]) -> Deferred[None]:
        def run() -> None:
            entries = self.folder(name).metadata
            for entry, value in values.items():
                if value is None:
                    entries.pop(entry, None)
                else:
                    entries[entry] = value

        return self.later_call(run)

    def subscriptions(self) -> Deferred[Sequence[str]]:
        return self.later(sorted(self.subscribed))

    def status(self, name: str) -> Deferred[MailboxStatus]:
        def run() -> MailboxStatus:
            box = self.folder(name)
            return MailboxStatus(
                messages=len(box.uids),
                recent=len(box.unclaimed),
                unseen=sum(1 for bits in box.flags if not bits & Flag.SEEN),
                uidnext=box.uidnext,
                uidvalidity=box.uidvalidity,
                highestmodseq=box.highestmodseq,
                size=sum(box.sizes),
                deleted=sum(1 for bits in box.flags if bits & Flag.DELETED),
                mailboxid=box.mailboxid,
            )

        return self.later_call(run)

    def open(self, name: str, listener: IMailboxListener, read_only: bool = False) -> Deferred[IMailbox]:
        def run() -> IMailbox:
            box = self.folder(name)
            box.listeners.append(listener)
            return box

        return self.later_call(run)

    def append(self, name: str, messages: Sequence[NewMessage], replacing: int = 0) -> Deferred[CopyResult]:
        def run() -> CopyResult:
            box = self.folder(name)
            if self.failing is not None:
                raise self.failing
            made = []
            for message in messages:
                wire = b"".join(message.body.chunks()).replace(b"\n", b"\r\n")
                bits = box.flag_mask(message.flags, True)
                made.append(box._put(wire, bits, int(message.internal_date or 0)))
                message.body.discard()
            box._added(len(made))
            return CopyResult(box.uidvalidity, (), tuple(made))

        return self.later_call(run)

    def quota(self, name: str = "INBOX") -> Deferred[QuotaUsage]:
        return self.later(
            QuotaUsage(
                sum(sum(box.sizes) for box in self.boxes.values()),
                sum(len(box.uids) for box in self.boxes.values()),
                Quota(self.limit, self.limit_messages),
            )
        )

    def quota_of(self, user: str) -> Deferred[QuotaUsage]:
        return self.quota() if user == self.user else fail(NoSuchUser())

    def set_quota(self, user: str, quota: Quota) -> Deferred[None]:
        self.limit, self.limit_messages = quota.octets, quota.messages
        return self.later(None)


@implementer(IMailStore)
class FakeStore:
    """Accounts made at first use."""

    def __init__(self) -> None:
        self.accounts: dict[str, FakeAccount] = {}

    def get(self, user: str) -> FakeAccount:
        return self.accounts.setdefault(user, FakeAccount(user))

    def account(self, user: str) -> Deferred[IAccount]:
        return succeed(self.get(user))

    def quota(self, user: str) -> QuotaUsage | None:
        return None
