"""Random sequences of everything a store does, with crashes in between, against a simple model.

What may never happen, whatever comes: a UID given twice, MODSEQ or UIDNEXT going backwards, a message lost,
counters that differ from a recount, sessions that are told something else than the arrays show.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailserver.interfaces import StoreMode
from mailserver.store.index.database import FILE
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    Listener,
    account_dir,
    append,
    deliver,
    drop_file,
    file_names,
    make_store,
    now,
)

FOLDERS = ("INBOX", "Archive", "Sent")
FOLDER = st.sampled_from(FOLDERS)
PICK = st.lists(st.integers(0, 30), min_size=1, max_size=6)
MASK = st.integers(0, 31)


@define
class Known:
    """What the model knows of a folder: UID -> (content, flags)."""

    messages: dict[int, tuple[bytes, int]] = field(factory=dict)
    given: set[int] = field(factory=set)
    uidvalidity: int = 0
    uidnext: int = 1
    modseq: int = 1
    remembered: dict[int, int] = field(factory=dict)  # UID -> flags, by a client that comes back now and then
    remembered_modseq: int = 0


class Replaying(Listener):
    """A session that keeps its own list of UIDs from what it is told."""

    mailbox: Any = None
    uids: list[int]

    def messages_added(self, count: int) -> None:
        self.uids += list(self.mailbox.uids)[len(self.mailbox.uids) - count :]

    def messages_removed(self, uids: Any, by: Any) -> None:
        self.uids = [uid for uid in self.uids if uid not in set(uids)]


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.path = tempfile.mkdtemp()
        self.runs = self.boots = 0
        self.known = {name: Known() for name in FOLDERS}
        self.count = 0
        self.start()

    def start(self) -> None:
        self.store: MailStore = self.make_store()
        self.account: Any = now(self.store.account(ALICE))
        self.mailboxes: dict[str, Any] = {}
        self.sessions: dict[str, Replaying] = {}
        for name in FOLDERS:
            session = Replaying()
            mailbox = now(self.account.open(name, session))
            session.mailbox, session.uids = mailbox, list(mailbox.uids)
            self.mailboxes[name], self.sessions[name] = mailbox, session
            self.take_over_strangers(name)

    def make_store(self) -> MailStore:
        return make_store(self.path, run=self.new_run())

    def new_run(self) -> str:
        """Of the server, in this boot of the machine."""
        self.runs += 1
        return f"boot{self.boots}/{self.runs}"

    def teardown(self) -> None:
        if hasattr(self, "path"):
            shutil.rmtree(self.path, ignore_errors=True)

    def content(self) -> bytes:
        self.count += 1
        return b"Subject: %d\n\nbody\n" % self.count

    def folder(self, name: str) -> Any:
        return account_dir(self.store) / ("" if name == "INBOX" else "." + name)

    def chosen(self, name: str, pick: list[int]) -> list[int]:
        uids = sorted(self.known[name].messages)
        return sorted({uids[n % len(uids)] for n in pick}) if uids else []

    def entered(self, name: str, uid: int, content: bytes, flags: int) -> None:
        known = self.known[name]
        assert uid not in known.given, f"UID {uid} of {name} was given before"
        assert uid >= known.uidnext
        known.given.add(uid)
        known.messages[uid] = (content, flags)

    def take_over_strangers(self, name: str) -> None:
        """What the model does not know has to be new."""
        mailbox, known = self.mailboxes[name], self.known[name]
        for index, uid in enumerate(mailbox.uids):
            if uid not in known.messages:
                data = self.read(mailbox, uid)
                self.entered(name, uid, data, mailbox.flags[index])

    def read(self, mailbox: Any, uid: int) -> bytes:
        file = mailbox.open_message(uid)
        data = file.read_all()
        if data is None:  # the kernel is busy with it
            data = now(file.read(0, file.size))
        file.close()
        assert len(data) == mailbox.sizes[mailbox.index_of(uid)]
        return data.replace(b"\r\n", b"\n").partition(b"example>\n")[2] or data.replace(b"\r\n", b"\n")

    @rule(name=FOLDER)
    def delivery(self, name: str) -> None:
        content = self.content()
        deliver(self.store, data=content, folder=name)
        self.entered(name, self.mailboxes[name].uids[-1], content, 0)

    @rule(name=FOLDER, seen=st.booleans())
    def append(self, name: str, seen: bool) -> None:
        content = self.content()
        uid = append(self.account, name, content, ["\\Seen"] if seen else [])
        self.entered(name, uid, content, 8 if seen else 0)

    @rule(name=FOLDER, pick=PICK, mask=MASK, mode=st.sampled_from(list(StoreMode)))
    def flags(self, name: str, pick: list[int], mask: int, mode: StoreMode) -> None:
        uids = self.chosen(name, pick)
        now(self.mailboxes[name].store(uids, mode, mask, None, None))
        for uid in uids:
            content, old = self.known[name].messages[uid]
            new = {"FLAGS": mask, "+FLAGS": old | mask, "-FLAGS": old & ~mask}[mode.value]
            self.known[name].messages[uid] = (content, new)

    @rule(name=FOLDER, pick=PICK)
    def expunge(self, name: str, pick: list[int]) -> None:
        uids = self.chosen(name, pick)
        removed = now(self.mailboxes[name].expunge(uids, None))
        expected = [uid for uid in uids if self.known[name].messages[uid][1] & 4]
        assert list(removed) == expected
        for uid in removed:
            del self.known[name].messages[uid]

    @rule(name=FOLDER, into=FOLDER, pick=PICK, move=st.booleans())
    def copy(self, name: str, into: str, pick: list[int], move: bool) -> None:
        uids = self.chosen(name, pick)
        mailbox = self.mailboxes[name]
        result = now(mailbox.move(uids, into, None) if move else mailbox.copy(uids, into))
        assert list(result.source) == uids and len(result.target) == len(uids)
        for source, target in zip(result.source, result.target, strict=True):
            content, flags = self.known[name].messages[source]
            if move:
                del self.known[name].messages[source]
            self.entered(into, target, content, flags)

    @rule(name=FOLDER, pick=PICK)
    def rendered(self, name: str, pick: list[int]) -> None:
        uids = self.chosen(name, pick)
        for uid, header in zip(uids, now(self.mailboxes[name].rendered("HEADER", uids)), strict=True):
            subject = self.known[name].messages[uid][0].partition(b"\n")[0]
            assert subject + b"\r\n" in header

    @rule(name=FOLDER, sub=st.sampled_from(["new", "cur"]))
    def foreign_delivery(self, name: str, sub: str) -> None:
        content = self.content()
        drop_file(
            self.folder(name), f"1.{self.count}.foreign" + (":2,F" if sub == "cur" else ""), content, sub
        )
        now(self.mailboxes[name].refresh())
        self.take_over_strangers(name)

    @precondition(lambda self: any(known.messages for known in self.known.values()))
    @rule(name=FOLDER, number=st.integers(0, 30), remove=st.booleans())
    def foreign_change(self, name: str, number: int, remove: bool) -> None:
        folder = self.folder(name)
        names = file_names(folder)
        if not names:
            return
        chosen = folder / names[number % len(names)]
        mailbox, known = self.mailboxes[name], self.known[name]
        if remove:
            chosen.unlink()
            now(mailbox.refresh())
            gone = known.messages.keys() - set(mailbox.uids)
            assert len(gone) == 1
            del known.messages[gone.pop()]
        else:
            base = chosen.name.partition(":")[0]
            letters = set(chosen.name.partition(":2,")[2])
            os.rename(chosen, folder / "cur" / f"{base}:2,{''.join(sorted(letters ^ {'F'}))}")
            before = list(mailbox.flags)
            now(mailbox.refresh())
            different = [i for i, (a, b) in enumerate(zip(before, mailbox.flags, strict=True)) if a != b]
            assert len(different) <= 1  # none where our own change, not in the name yet, was the same
            for index in different:
                uid = mailbox.uids[index]
                known.messages[uid] = (known.messages[uid][0], before[index] ^ 2)

    @rule(name=FOLDER)
    def client_comes_back(self, name: str) -> None:
        """It asks what has changed since its MODSEQ, and then knows all (RFC 7162, 3.2.5)."""
        mailbox, known = self.mailboxes[name], self.known[name]
        memory, since = known.remembered, known.remembered_modseq
        expunged = now(mailbox.expunged_since(since))
        for uid in list(memory) if expunged is None else expunged:
            if uid not in mailbox.uids:
                memory.pop(uid, None)
        for uid, flags, modseq in zip(mailbox.uids, mailbox.flags, mailbox.modseqs, strict=True):
            if modseq > since:
                memory[uid] = flags
        assert memory == {uid: flags for uid, (_, flags) in known.messages.items()}
        known.remembered_modseq = mailbox.highestmodseq

    @rule()
    def time_passes(self) -> None:
        self.store.reactor.advance(1)

    @rule()
    def clean_restart(self) -> None:
        now(self.store.stop())
        self.start()

    @rule()
    def crash(self) -> None:
        for account in self.store._accounts.values():
            account.ledger.close()  # a process that is killed loses its locks
        self.start()

    @rule()
    def index_lost(self) -> None:
        """Flags that no file name shows yet go with it: names are brought up to date before."""
        self.store.reactor.advance(1)
        for account in self.store._accounts.values():
            account.ledger.close()
        for path in account_dir(self.store).glob("mailserver-index*"):
            path.unlink()
        self.start()

    @rule()
    def remember(self) -> None:
        """What a power cut may throw the index back to."""
        self.store.reactor.advance(1)
        self.account.ledger.close()
        shutil.copy(account_dir(self.store) / FILE, self.path + "/old-index")

    @precondition(lambda self: os.path.exists(self.path + "/old-index"))
    @rule()
    def power_cut(self) -> None:
        self.store.reactor.advance(1)
        self.account.ledger.close()
        shutil.copy(self.path + "/old-index", account_dir(self.store) / FILE)
        self.boots += 1
        self.start()

    @invariant()
    def nothing_is_lost_or_reused(self) -> None:
        if not hasattr(self, "store"):
            return
        for name, known in self.known.items():
            mailbox = self.mailboxes[name]
            assert known.uidvalidity in (0, mailbox.uidvalidity)
            assert mailbox.uidnext >= known.uidnext and mailbox.highestmodseq >= known.modseq
            known.uidvalidity, known.uidnext = mailbox.uidvalidity, mailbox.uidnext
            known.modseq = mailbox.highestmodseq
            assert list(mailbox.uids) == sorted(known.messages) == self.sessions[name].uids
            assert mailbox.flags == [known.messages[uid][1] for uid in mailbox.uids]
            assert all(modseq <= mailbox.highestmodseq for modseq in mailbox.modseqs)
            for uid in mailbox.uids:
                assert self.read(mailbox, uid) == known.messages[uid][0]

    @invariant()
    def counters_equal_a_recount(self) -> None:
        if not hasattr(self, "store"):
            return
        for name in FOLDERS:
            mailbox = self.mailboxes[name]
            status = now(self.account.status(name))
            assert status.messages == len(mailbox.uids)
            assert status.unseen == sum(not flags & 8 for flags in mailbox.flags)
            assert status.deleted == sum(bool(flags & 4) for flags in mailbox.flags)
            assert status.size == sum(mailbox.sizes)
            assert status.uidnext == mailbox.uidnext and status.highestmodseq == mailbox.highestmodseq
        assert now(self.account.quota()).used == sum(
            sum(mailbox.sizes) for mailbox in self.mailboxes.values()
        )


StoreMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStore = StoreMachine.TestCase
