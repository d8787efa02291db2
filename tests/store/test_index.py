"""The index may be lost, damaged, old or new: the mail is not."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mailserver.errors import TemporaryFailure
from mailserver.interfaces import StoreMode
from mailserver.store.index import database
from mailserver.store.index.database import Index
from mailserver.store.store import MailStore
from tests.helpers.store import ALICE, Listener, account_dir, deliver, make_store, now

COUNT = 12


@pytest.fixture
def filled(tmp_path: Path) -> MailStore:
    """A store that was stopped: twelve messages, flags, one expunged, rendered items."""
    store = make_store(tmp_path)
    for n in range(COUNT + 1):
        deliver(store, data=b"Subject: %d\n\n" % n + b"x" * 50 * n)
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    now(mailbox.store([2, 3], StoreMode.ADD, 8, None, None))
    now(mailbox.remove([5], None))
    now(mailbox.rendered("ENVELOPE", list(mailbox.uids)))
    now(store.stop())
    return store


def check(store: MailStore, known: Any = None) -> Any:
    """All messages are there and open; the mailbox can be changed."""
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    expected = [uid for uid in range(1, COUNT + 2) if uid != 5]
    if known is None or mailbox.uidvalidity == known:
        assert list(mailbox.uids) == expected
        assert mailbox.flags[1:3] == [8, 8]
    assert len(mailbox.uids) == COUNT
    for uid, number in zip(mailbox.uids, (uid - 1 for uid in expected), strict=True):
        data = mailbox.open_message(uid).read_all()
        assert data is not None and b"Subject: %d\r\n" % number in data
    assert None not in now(mailbox.rendered("ENVELOPE", list(mailbox.uids)))
    now(mailbox.store([2], StoreMode.ADD, 2, None, None))
    assert mailbox.flags[1] == 10
    deliver(store)
    assert mailbox.uids[-1] > COUNT + 1
    return mailbox


def index_path(store: MailStore) -> Path:
    return account_dir(store) / database.FILE


def again(store: MailStore) -> MailStore:
    return make_store(store.settings.now.data_dir)


def test_after_a_clean_stop(filled: MailStore) -> None:
    assert check(again(filled)).uidnext == COUNT + 3


def test_I8_truncated_at_every_512_octets(filled: MailStore) -> None:
    whole = index_path(filled).read_bytes()
    assert len(whole) > 30000
    steps = range(0, len(whole), 512)
    for length in [*steps[:9], *steps[9::7]]:
        index_path(filled).write_bytes(whole[:length])
        for suffix in ("-wal", "-shm"):
            index_path(filled).with_name(database.FILE + suffix).unlink(missing_ok=True)
        store = again(filled)
        mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
        assert [uid for uid in mailbox.uids if uid < COUNT + 2] == [u for u in range(1, COUNT + 2) if u != 5]
        assert all(mailbox.open_message(uid).read_all() for uid in mailbox.uids)
        deliver(store)
        now(store.stop())


@pytest.mark.parametrize("seed", range(25))
def test_I8_random_bit_flips(filled: MailStore, seed: int) -> None:
    random = Random(seed)
    data = bytearray(index_path(filled).read_bytes())
    for _ in range(random.choice((1, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    index_path(filled).write_bytes(data)
    store = again(filled)
    contents: set[bytes | None] = set()
    for _ in range(3):  # a session may lose its mailbox once, when the damage is met
        errors: list[BaseException] = []
        try:
            mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
            now(mailbox.store(list(mailbox.uids), StoreMode.ADD, 2, None, None))
            deliver(store)
            contents = {mailbox.open_message(uid).read_all() for uid in mailbox.uids}
        except Exception as error:
            errors.append(error)
    assert not errors, [(error, getattr(error, "cause", None)) for error in errors]
    subjects = {n for n in range(COUNT + 1) if any(b"Subject: %d\r\n" % n in (c or b"") for c in contents)}
    assert subjects == set(range(COUNT + 1)) - {4}, contents


@pytest.mark.parametrize("content", [b"", b"\0" * 65536, b"no database" * 999])
def test_I8_zeroed_or_something_else(filled: MailStore, content: bytes) -> None:
    index_path(filled).write_bytes(content)
    check(again(filled))
    if content:
        assert (account_dir(filled) / database.DAMAGED).exists()


def test_I8_damaged_while_it_is_open(filled: MailStore) -> None:
    store = again(filled)
    listener = Listener()
    mailbox = now(now(store.account(ALICE)).open("INBOX", listener))
    with sqlite3.connect(index_path(filled)) as db:
        db.execute("DROP TABLE messages")
    with pytest.raises(TemporaryFailure):
        for uids in ([1], [2]):
            now(mailbox.store(uids, StoreMode.ADD, 4, None, None))
            raise TemporaryFailure  # it was rebuilt and done
    assert ("gone",) in listener.take()
    fresh = now(now(store.account(ALICE)).open("INBOX", Listener()))
    assert len(fresh.uids) == COUNT


def test_I8_an_index_older_than_the_mail(filled: MailStore) -> None:
    old = index_path(filled).read_bytes()
    store = again(filled)
    deliver(store)
    deliver(store)
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    now(mailbox.remove([1], None))
    highest = mailbox.highestmodseq
    now(store.stop())
    index_path(filled).write_bytes(old)
    after = now(now(again(filled).account(ALICE)).open("INBOX", Listener()))
    assert list(after.uids) == list(mailbox.uids) and after.uidvalidity == mailbox.uidvalidity
    assert after.highestmodseq > highest and after.uidnext >= mailbox.uidnext


def test_I8_the_disk_is_full_for_the_index(filled: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = again(filled)
    mailbox = now(now(store.account(ALICE)).open("INBOX", Listener()))
    before = sorted(path.name for sub in ("new", "cur") for path in (account_dir(store) / sub).iterdir())

    def full(*args: Any) -> None:
        raise TemporaryFailure(cause="full")

    monkeypatch.setattr(Index, "save_folder", full)
    with pytest.raises(TemporaryFailure):
        deliver(store)
    with pytest.raises(TemporaryFailure):
        now(mailbox.store([1], StoreMode.ADD, 4, None, None))
    monkeypatch.undo()
    after = sorted(path.name for sub in ("new", "cur") for path in (account_dir(store) / sub).iterdir())
    assert after == before and mailbox.flags[0] == 0
    deliver(store)
    assert len(mailbox.uids) == COUNT + 1


def test_I9_a_newer_index_is_left_alone(filled: MailStore) -> None:
    with sqlite3.connect(index_path(filled)) as db:
        db.execute("PRAGMA user_version = 700")
    before = index_path(filled).read_bytes()
    with pytest.raises(TemporaryFailure) as caught:
        now(again(filled).account(ALICE))
    assert "version 700" in str(caught.value.cause)
    assert index_path(filled).read_bytes() == before


def test_counters_equal_a_recount(filled: MailStore) -> None:
    store = again(filled)
    deliver(store)
    with sqlite3.connect(index_path(filled)) as db:
        counted = db.execute(
            "SELECT count(*), sum(NOT flags & 8), sum((flags & 4) / 4), sum(wire) FROM messages"
        ).fetchone()
        row = db.execute("SELECT messages, unseen, deleted, size FROM folders WHERE dir = ''").fetchone()
    assert counted == row
