"""Two processes of one server in one account; each has a store of its own here."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from mailserver.delivery.body import MemoryBody
from mailserver.delivery.local import _DeliveryJob
from mailserver.disk import durable
from mailserver.disk.group_commit import Crew, _Submission, run_batch
from mailserver.errors import NoSuchMailbox
from mailserver.interfaces import StoreMode
from mailserver.store import files, operations
from mailserver.store.changes import Change
from mailserver.store.files import read_uids
from mailserver.store.filing import Deposit
from mailserver.store.index.database import IndexDamaged
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    BOB,
    Listener,
    account_dir,
    append,
    deliver,
    drop_file,
    file_names,
    make_store,
    now,
)

ADD, REMOVE = StoreMode.ADD, StoreMode.REMOVE
SEEN, DELETED, FLAGGED = 8, 4, 2
RUN = "of-the-test"


class Process:
    """One of them. told: what it has told the other."""

    def __init__(self, path: Path, **how: Any) -> None:
        self.store: MailStore = make_store(path, run=RUN, **how)
        self.account: Any = now(self.store.account(ALICE))
        self.told: list[Change] = []
        self.store.changes.forward = self.told.append

    def open(self, name: str = "INBOX") -> tuple[Any, Listener]:
        listener = Listener()
        return now(self.account.open(name, listener)), listener

    def tell(self, other: Process) -> None:
        """What it has to tell arrives."""
        told, self.told[:] = list(self.told), []
        for change in told:
            other.store.changes.arrived(change)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Process, Process]:
    monkeypatch.setattr(durable, "calls", durable.Calls())
    return Process(tmp_path), Process(tmp_path)


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Process, Process]:
    """With inotify."""
    monkeypatch.setattr(durable, "calls", durable.Calls())
    return Process(tmp_path, inotify=True), Process(tmp_path, inotify=True)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Directories of mail that are read."""
    read: list[str] = []
    real = files.message_names

    def message_names(folder: str, sub: str) -> set[str]:
        read.append(f"{Path(folder).name}/{sub}")
        return real(folder, sub)

    monkeypatch.setattr(files, "message_names", message_names)
    return read


def test_uids_and_modseqs_of_two_processes(pair: tuple[Process, Process]) -> None:
    one, other = pair
    mailbox, _ = one.open()
    for number in range(3):
        deliver(one.store)
        assert append(other.account, "INBOX", b"a: b\n\n") == 2 * number + 2
    now(mailbox.refresh())
    assert list(mailbox.uids) == [1, 2, 3, 4, 5, 6]
    assert list(mailbox.modseqs) == sorted(set(mailbox.modseqs))
    assert mailbox.uidnext == 7


def test_a_process_that_dies_leaves_no_gap(pair: tuple[Process, Process], tmp_path: Path) -> None:
    """Its commits survive in the index, which only a power cut can throw back."""
    one, other = pair
    deliver(one.store)
    one.account.ledger.close()  # what the end of a process does to its locks
    again = Process(tmp_path)
    assert append(again.account, "INBOX", b"a: b\n\n") == 2
    assert append(other.account, "INBOX", b"a: b\n\n") == 3


def test_a_process_that_stops_leaves_the_others_going(pair: tuple[Process, Process], tmp_path: Path) -> None:
    one, other = pair
    deliver(one.store)
    deliver(other.store)
    now(one.store.stop())
    inbox = str(account_dir(one.store))
    exact = read_uids(inbox)
    assert exact is not None and exact.uidnext == 3
    assert append(other.account, "INBOX", b"a: b\n\n") == 3
    ahead = read_uids(inbox)  # reserved anew, before the UID was given
    assert ahead is not None and ahead.uidnext > 4
    now(other.store.stop())
    last = make_store(tmp_path)
    assert append(now(last.account(ALICE)), "INBOX", b"a: b\n\n") == 4


def test_the_next_command_shows_what_the_other_did_though_its_news_are_lost(
    pair: tuple[Process, Process],
) -> None:
    one, other = pair
    for _ in range(3):
        deliver(one.store)
    mailbox, told = one.open()
    there, _ = other.open()
    now(there.store([1], ADD, SEEN, None, None))
    now(there.store([2], ADD, DELETED, None, None))
    now(there.expunge(None, None))
    deliver(other.store)
    told.take()
    now(mailbox.refresh())
    assert {event[0] for event in told.take()} == {"flags", "added", "removed"}
    assert list(mailbox.uids) == [1, 3, 4] and mailbox.flags == [SEEN, 0, 0]
    assert list(mailbox.modseqs) == list(there.modseqs)
    assert mailbox.highestmodseq == there.highestmodseq


def test_news_are_told_at_once_and_without_a_look(
    watching: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = watching
    deliver(one.store)
    _, told = one.open()
    there, _ = other.open()
    one.tell(other)

    def nobody_looks(*args: Any) -> None:
        raise AssertionError("the account was entered")

    monkeypatch.setattr(one.account.ledger, "run", nobody_looks)
    now(there.store([1], ADD, SEEN, None, None))
    other.tell(one)
    assert told.take() == [("flags", [1], None)]
    deliver(other.store)
    other.tell(one)
    assert told.take() == [("added", 1)]
    now(there.remove([1], None))
    other.tell(one)
    assert told.take() == [("removed", [1], None)]
    one.store.watches.doRead()
    one.store.reactor.advance(1)
    assert told.take() == []


def test_news_are_wanted_while_there_is_somebody_to_be_told(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    wanted: Counter[str] = Counter()
    one.store.changes.wanted = lambda user, more: wanted.update({user: more})
    mailbox, listener = one.open()
    second, another = one.open()
    assert wanted[ALICE] == 2
    second.close(another)
    second.close(another)  # once more does nothing
    mailbox.close(listener)
    assert not wanted[ALICE]
    end = one.account.watch(lambda event: None)
    assert wanted[ALICE] == 1
    end()
    end()
    with pytest.raises(NoSuchMailbox):
        one.open("None")
    assert not wanted[ALICE]
    now(one.account.create("Going"))
    one.open("Going")
    now(one.account.delete("Going"))
    assert not wanted[ALICE]


def test_news_are_wanted_before_a_mailbox_is_looked_at(
    pair: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what happens behind the look would be told to nobody."""
    one, _ = pair
    wanted: Counter[str] = Counter()
    one.store.changes.wanted = lambda user, more: wanted.update({user: more})
    seen: list[int] = []
    real = operations.load

    def load(*args: Any) -> Any:
        seen.append(wanted[ALICE])
        return real(*args)

    monkeypatch.setattr(operations, "load", load)
    one.open()
    assert len(seen) == 1 and seen[0] > 0
    assert wanted[ALICE] == 1


def test_who_was_told_nothing_sees_it_when_it_opens_the_mailbox_again(
    watching: tuple[Process, Process],
) -> None:
    """A mailbox that stays in memory, of which nobody has been told since its last session left."""
    one, other = watching
    deliver(one.store)
    mailbox, listener = one.open()
    there, _ = other.open()
    mailbox.close(listener)
    now(there.store([1], ADD, SEEN, None, None))
    deliver(other.store)
    other.store.reactor.advance(1)  # the file of the first has its name
    again, _ = one.open()
    assert again is mailbox
    assert list(again.uids) == [1, 2] and again.flags == [SEEN, 0] and again.names == there.names
    assert again.highestmodseq == there.highestmodseq


def test_a_message_is_found_under_the_name_that_the_other_process_gave_it(
    pair: tuple[Process, Process],
) -> None:
    """A stranger's file gets its UID into its name a moment after it was entered. Who opens it then and has
    not heard of that must not be told that it is gone."""
    one, other = pair
    folder = account_dir(one.store)
    for number in (1, 2):
        drop_file(folder, f"{number}.stranger", b"a: b\n\n", sub="cur")
    one.open()
    there, _ = other.open()
    before = list(there.names)
    one.store.reactor.advance(1)
    assert set(file_names(folder)).isdisjoint(before) and there.names == before
    for uid in (1, 2):
        with closing(there.open_message(uid)) as file:
            assert file.read_all() == b"a: b\r\n\r\n"
    assert sorted(there.names) == file_names(folder)


def test_files_of_the_other_process_are_no_foreign_ones(
    watching: tuple[Process, Process], readings: list[str]
) -> None:
    """inotify tells of them, before or after the other process does; nobody reads the directories."""
    one, other = watching
    deliver(one.store)
    mailbox, _ = one.open()
    there, _ = other.open()
    one.tell(other)
    for early, mode in ((True, ADD), (False, REMOVE)):
        for work in (
            lambda: deliver(other.store),
            lambda mode=mode: now(there.store(list(there.uids), mode, FLAGGED, None, None)),
            lambda: other.store.reactor.advance(1),  # file names follow
            lambda: now(there.copy(list(there.uids)[:1], "INBOX")),
            lambda: now(there.remove(list(there.uids)[:1], None)),
        ):
            work()
            readings.clear()
            if early:
                one.store.watches.doRead()
            other.tell(one)
            if not early:
                one.store.watches.doRead()
            one.store.reactor.advance(1)
            now(mailbox.refresh())
            assert readings == [] and list(mailbox.uids) == list(there.uids)
            assert mailbox.names == there.names and mailbox.flags == there.flags


def test_lost_news_of_files_cost_a_question_to_the_index(
    watching: tuple[Process, Process], readings: list[str]
) -> None:
    one, other = watching
    deliver(one.store)
    mailbox, told = one.open()
    one.tell(other)
    deliver(other.store)
    there, _ = other.open()
    now(there.store([1], ADD, SEEN, None, None))
    other.store.reactor.advance(1)
    readings.clear()
    one.store.watches.doRead()
    one.store.reactor.advance(1)
    assert list(mailbox.uids) == [1, 2] and mailbox.names == there.names and readings == []
    assert mailbox.current
    drop_file(account_dir(one.store), "1.1.foreign")
    one.store.watches.doRead()
    one.store.reactor.advance(1)
    assert len(mailbox.uids) == 3 and readings
    assert told.take()[-1] == ("added", 1)


def test_an_unseen_rename_does_not_hide_a_message(pair: tuple[Process, Process]) -> None:
    one, other = pair
    deliver(one.store)
    mailbox, _ = one.open()
    there, _ = other.open()
    now(there.store([1], ADD, SEEN, None, None))
    other.store.reactor.advance(1)
    assert file_names(account_dir(one.store))[0].endswith(":2,S")
    file = mailbox.open_message(1)
    assert file.read_all() is not None
    file.close()


def test_one_keyword_number_is_not_given_twice(pair: tuple[Process, Process]) -> None:
    """Both sessions name a new keyword before either has stored it."""
    one, other = pair
    deliver(one.store)
    deliver(one.store)
    mailbox, _ = one.open()
    there, _ = other.open()
    here_mask, there_mask = mailbox.flag_mask(["here"], True), there.flag_mask(["there"], True)
    assert here_mask == there_mask
    now(there.store([1], ADD, there_mask, None, None))
    now(mailbox.store([2], ADD, here_mask, None, None))
    now(there.refresh())
    for box in (mailbox, there):
        assert box.keywords == ["there", "here"]
        assert box.flags == [box.flag_mask(["there"], False), box.flag_mask(["here"], False)]


def test_recent_is_told_to_one_session(pair: tuple[Process, Process]) -> None:
    one, other = pair
    deliver(one.store)
    mailbox, told = one.open()
    there, told_there = other.open()
    assert mailbox.take_recent(told, False) == {1}
    one.tell(other)
    assert there.take_recent(told_there, False) == set()
    third, told_third = Process(Path(one.store.root).parent).open()
    assert third.take_recent(told_third, False) == set()


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("how", ["delete", "rename", "anew"])
def test_a_folder_that_goes(pair: tuple[Process, Process], how: str, told: bool) -> None:
    one, other = pair
    now(one.account.create("Work"))
    mailbox, sessions = one.open("Work")
    if how == "rename":
        now(other.account.rename("Work", "Play"))
    else:
        now(other.account.delete("Work"))
    if how == "anew":
        now(other.account.create("Work"))
    if told:
        other.tell(one)
        one.store.reactor.advance(0.01)
    else:
        with suppress(NoSuchMailbox):
            now(mailbox.refresh())
    assert ("gone",) in sessions.take()
    names = {folder.name for folder in now(one.account.folders())}
    assert ("Work" in names) == (how == "anew") and ("Play" in names) == (how == "rename")
    if how == "anew":
        assert one.open("Work")[0].uidvalidity > mailbox.uidvalidity


def test_an_index_that_the_other_made_anew(pair: tuple[Process, Process]) -> None:
    one, other = pair
    deliver(one.store)
    _, sessions = one.open()
    other.account.ledger.rebuild(IndexDamaged("a test says so"))
    there, _ = other.open()
    assert list(there.uids) == [1]
    assert append(one.account, "INBOX", b"a: b\n\n") > 1
    assert ("gone",) in sessions.take()
    now(there.refresh())
    assert list(there.uids) == list(one.open()[0].uids)


def test_use_is_counted_together(pair: tuple[Process, Process]) -> None:
    one, other = pair
    deliver(one.store)
    before = now(one.account.quota()).used
    deliver(other.store)
    assert now(one.account.quota()).used == 2 * before


def test_a_catch_up_is_not_told_again(pair: tuple[Process, Process]) -> None:
    """Else two processes would wake each other for ever."""
    one, other = pair
    mailbox, _ = one.open()
    deliver(other.store)
    now(mailbox.refresh())
    assert len(mailbox.uids) == 1 and one.told == []


def test_batches_of_two_processes_do_not_wait_for_each_other(pair: tuple[Process, Process]) -> None:
    """Each holds several accounts at once. Taken in different order they would wait for ever."""
    done: list[Any] = []

    def work(process: Process, users: tuple[str, ...]) -> None:
        for _ in range(30):
            batch = [submitted(process.store, user) for user in users]
            run_batch(batch, Crew(0))
            done.extend(submission.error for submission in batch)

    threads = [
        threading.Thread(target=work, args=args, daemon=True)
        for args in ((pair[0], (ALICE, BOB)), (pair[1], (BOB, ALICE)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "two batches wait for each other"
    assert done == [None] * 120


def submitted(store: MailStore, user: str) -> _Submission:
    """A delivery as the writer has it."""
    place = store.get(user).place
    job = _DeliveryJob(store.spool, b"a: b\n\n", MemoryBody(b"x\n"), [(place, Deposit("", ()))], [0])
    return _Submission(job)


def test_a_stamp_on_a_full_disk(pair: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch) -> None:
    """The account can be read; nothing that the other does is missed."""
    one, other = pair
    mailbox, _ = one.open()
    real = operations.os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    lock = account_dir(one.store) / "mailserver-lock"
    lock.write_bytes(b"")
    monkeypatch.setattr(operations.os, "pwrite", full)
    assert now(one.account.status("INBOX")).messages == 0
    monkeypatch.setattr(operations.os, "pwrite", real)
    deliver(other.store)
    now(mailbox.refresh())
    assert len(mailbox.uids) == 1
