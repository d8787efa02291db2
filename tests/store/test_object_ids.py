"""EMAILID and MAILBOXID stay what they are: copies, moves, names, a lost index, other programs (RFC 8474)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mailserver.interfaces import StoreMode
from mailserver.store import object_ids
from mailserver.store.index import database
from mailserver.store.store import MailStore
from tests.helpers.store import ALICE, BOB, Listener, account_dir, append, deliver, drop_file, make_store, now


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    return make_store(tmp_path)


def opened(store: MailStore, folder: str = "INBOX") -> Any:
    return now(now(store.account(ALICE)).open(folder, Listener()))


def ids(store: MailStore, folder: str = "INBOX") -> list[str]:
    mailbox = opened(store, folder)
    return list(mailbox.email_ids(list(mailbox.uids)))


def without_index(store: MailStore) -> MailStore:
    """The next run of the server, whose index is lost."""
    now(store.stop())
    for path in account_dir(store).glob(database.FILE + "*"):
        path.unlink()
    return make_store(store.settings.now.data_dir)


def test_different_messages_have_different_ids(store: MailStore) -> None:
    for _ in range(5):
        deliver(store)
    account = now(store.account(ALICE))
    append(account, "INBOX", b"Subject: x\n\nbody\n", date=1.0)
    append(account, "INBOX", b"Subject: x\n\nbody\n", date=2.0)
    found = ids(store)
    assert len(set(found)) == 7 and all(one.startswith("M") and len(one) == 33 for one in found)


def test_a_copy_and_what_is_moved_keep_it(store: MailStore) -> None:
    for _ in range(3):
        deliver(store)
    before = ids(store)
    mailbox = opened(store)
    now(mailbox.copy([1, 3], "Archive"))
    now(mailbox.move([2], "Archive", None))
    now(mailbox.copy([1], "INBOX"))
    assert ids(store, "Archive") == [before[0], before[2], before[1]]
    assert ids(store) == [before[0], before[2], before[0]]
    now(opened(store, "Archive").move([1], "Sent", None))
    assert ids(store, "Sent") == before[:1]


def test_flags_do_not_change_it(store: MailStore) -> None:
    deliver(store)
    before = ids(store)
    mailbox = opened(store)
    now(mailbox.store([1], StoreMode.ADD, 9, None, None))
    store.reactor.advance(1)
    assert ids(store) == before


def test_a_lost_index_gives_the_same_ids(store: MailStore) -> None:
    deliver(store)
    deliver(store)
    drop_file(account_dir(store), "1")
    drop_file(account_dir(store), "1700000000.V1I2.other.example,S=28:2,S", sub="cur")
    now(opened(store).copy([1, 2, 3], "Archive"))
    before = ids(store), ids(store, "Archive"), opened(store).mailboxid, opened(store, "Archive").mailboxid
    assert before[1] == before[0][:3]
    store = without_index(store)
    assert before == (
        *(ids(store), ids(store, "Archive")),
        *(opened(store).mailboxid, opened(store, "Archive").mailboxid),
    )


def test_a_message_of_another_program_keeps_it_when_it_gets_a_name_of_ours(store: MailStore) -> None:
    now(store.account(ALICE))
    folder = account_dir(store)
    drop_file(folder, "1700000000.V1I2.other.example,U=7:2,S", sub="cur")
    drop_file(folder, "x" * 250 + ":2,", sub="cur")
    before = ids(store)
    store.reactor.advance(1)  # the names get their I=
    names = sorted(name for name in os.listdir(folder / "cur"))
    assert all(",I=" in name for name in names), names
    assert ids(store) == before
    assert ids(without_index(store)) == before


def test_equal_poor_names_of_different_messages(store: MailStore) -> None:
    now(store.account(ALICE))
    for folder, data in (
        (account_dir(store), b"a\n\none\n"),
        (account_dir(store) / ".Archive", b"a\n\nother\n"),
    ):
        drop_file(folder, "1", data)
    assert ids(store) != ids(store, "Archive")


def test_a_file_that_another_program_moves_keeps_it(store: MailStore) -> None:
    deliver(store)
    before = ids(store)
    folder = account_dir(store)
    (name,) = os.listdir(folder / "new")
    os.rename(folder / "new" / name, folder / ".Archive" / "cur" / f"{name}:2,S")
    assert ids(store, "Archive") == before
    store.reactor.advance(1)
    assert ids(store, "Archive") == before


def test_a_mailbox_keeps_its_id_when_it_is_renamed_and_no_other_gets_it(store: MailStore) -> None:
    account = now(store.account(ALICE))
    made = now(account.create("a"))
    assert opened(store, "a").mailboxid == made == now(account.status("a")).mailboxid
    now(account.rename("a", "b/c"))
    assert now(account.status("b/c")).mailboxid == made
    assert now(account.create("a")) != made
    now(account.delete("b/c"))
    assert now(account.create("b/c")) not in (made, now(account.status("a")).mailboxid)


def test_renaming_the_inbox_makes_a_new_mailbox(store: MailStore) -> None:
    deliver(store)
    before = opened(store).mailboxid, ids(store)
    now(now(store.account(ALICE)).rename("INBOX", "old"))
    assert opened(store).mailboxid == before[0] != opened(store, "old").mailboxid
    assert ids(store, "old") == before[1]


def test_the_mailboxes_of_two_users_differ(store: MailStore) -> None:
    """Also where both were made in the same second: one client may see both."""
    found = {now(now(store.account(user)).status("INBOX")).mailboxid for user in (ALICE, BOB)}
    assert len(found) == 2
    assert object_ids.mailbox_id(ALICE, 7) != object_ids.mailbox_id(BOB, 7)
