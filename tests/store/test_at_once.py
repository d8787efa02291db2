"""Short work that is done in the reactor's thread, and when it is not."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailserver.errors import TemporaryFailure
from mailserver.interfaces import StoreMode
from mailserver.store import operations
from mailserver.store.index import database
from mailserver.store.locking import LOCK
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    Listener,
    StoreClock,
    account_dir,
    append,
    deliver,
    drop_file,
    file_names,
    make_store,
    now,
)

ADD, REMOVE = StoreMode.ADD, StoreMode.REMOVE
SEEN = 8


class Case:
    """An open mailbox of one message. threads: what was handed to a thread."""

    def __init__(self, path: Path, **how: Any) -> None:
        self.store: MailStore = make_store(path, **how)
        self.account: Any = now(self.store.account(ALICE))
        self.uid = append(self.account, "INBOX", b"Subject: x\n\nbody\n", ["\\Flagged"])
        self.listener = Listener()
        self.mailbox: Any = now(self.account.open("INBOX", self.listener))
        self.threads: list[Hashable] = []
        pool = self.store.threads
        run = pool.run

        def noted(key: Hashable, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            self.threads.append(key)
            return run(key, function, *args)

        pool.run = noted  # type: ignore[assignment]

    def mark(self, mode: StoreMode = ADD) -> Any:
        return now(self.mailbox.store([self.uid], mode, SEEN, None, None))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """By another process, which goes when a thread of ours waits for it."""
        fd = os.open(account_dir(self.store) / LOCK, os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        pool = self.store.threads
        run = pool.run

        def leave(key: Hashable, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            fcntl.flock(fd, fcntl.LOCK_UN)
            return run(key, function, *args)

        pool.run = leave  # type: ignore[assignment]
        yield
        os.close(fd)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_store_needs_no_thread_and_is_told_before_it_is_answered(case: Case) -> None:
    told: list[Any] = []
    done = case.mailbox.store([case.uid], ADD, SEEN, None, None)
    done.addCallback(lambda _: told.extend(case.listener.take()))
    now(done)
    assert case.threads == []
    assert told == [("flags", [case.uid], None)]
    assert case.mailbox.flags[0] & SEEN


def test_a_status_needs_no_thread(tmp_path: Path) -> None:
    case = Case(tmp_path, clock=lambda: time.time() + 10)  # no directory is young
    now(case.account.status("INBOX"))
    case.threads.clear()
    assert now(case.account.status("INBOX")).messages == 1
    assert case.threads == []


def test_what_another_program_delivered_is_read_in_a_thread(case: Case) -> None:
    drop_file(account_dir(case.store), "1.foreign.mx")
    assert now(case.account.status("INBOX")).messages == 2
    assert case.threads == [ALICE]


def test_work_that_waits_is_not_overtaken(case: Case) -> None:
    case.store.threads._waiting[ALICE] = None  # type: ignore[assignment]
    case.mark()
    assert case.threads == [ALICE]


def test_a_lock_that_another_process_has_is_waited_for_in_a_thread(case: Case) -> None:
    with case.locked():
        assert case.mark().changed == (case.uid,)
    assert case.threads == [ALICE]


def test_a_lock_that_a_thread_has_is_waited_for_in_a_thread(case: Case) -> None:
    ledger = case.account.ledger
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger.held():
            begun.set()
            end.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(10)
    run = case.store.threads.run

    def wait(key: Hashable, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        end.set()
        thread.join(10)
        return run(key, function, *args)

    case.store.threads.run = wait  # type: ignore[assignment]
    assert case.mark().changed == (case.uid,)
    assert case.threads == [ALICE]


def test_many_messages_are_changed_in_a_thread(case: Case) -> None:
    now(case.mailbox.store(list(range(1, 60)), ADD, SEEN, None, None))
    assert case.threads[:1] == [ALICE]


def test_a_new_keyword_is_written_in_a_thread(case: Case) -> None:
    mask = case.mailbox.flag_mask(["$Work"], True)
    assert now(case.mailbox.store([case.uid], ADD, mask, None, None)).changed == (case.uid,)
    assert case.threads[:1] == [ALICE]
    assert (account_dir(case.store) / "mailserver-keywords").read_text() == "0 $Work\n"


def test_what_threads_have_posted_comes_first(case: Case) -> None:
    calls: list[Callable[[], None]] = []
    inbox = case.store.changes._inbox
    inbox._reactor.callFromThread = calls.append  # type: ignore[method-assign]
    order: list[str] = []
    inbox.post(order.append, "thread")
    done = case.mailbox.store([case.uid], ADD, SEEN, None, None)
    done.addCallback(lambda _: order.append("store"))
    assert order == []
    for call in calls:
        call()
    assert order == ["thread", "store"]


def test_a_failure_is_told_as_that_of_a_thread(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise TemporaryFailure(cause="broken")

    monkeypatch.setattr(operations, "set_flags", fail)
    with pytest.raises(TemporaryFailure):
        case.mark()
    monkeypatch.undo()
    assert case.mark().changed == (case.uid,)


def test_the_log_goes_into_the_database_in_a_thread(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    log = account_dir(case.store) / f"{database.FILE}-wal"
    monkeypatch.setattr(database, "_LOG", 200_000)
    for _ in range(60):
        case.mark(ADD)
        case.mark(REMOVE)
    assert log.stat().st_size > 200_000
    deliver(case.store)
    assert log.stat().st_size < 20_000
    case.mark(ADD)
    assert now(case.account.status("INBOX")).unseen == 1


def test_file_names_wait_while_clients_wait_for_threads(tmp_path: Path) -> None:
    clock = StoreClock()
    case = Case(tmp_path, reactor=clock)
    folder = account_dir(case.store)
    before = file_names(folder)
    pool = case.store.threads
    pool._count = 1
    case.mark()
    clock.pump([0.02] * 20)
    assert file_names(folder) == before
    pool._count = 0
    clock.advance(0.02)
    assert file_names(folder) != before
    pool._count = 1  # … but not for ever
    before = file_names(folder)
    case.mark(REMOVE)
    clock.pump([0.02] * 80)
    assert file_names(folder) != before
