"""What is remembered of expunged messages, and what a client that comes back learns where it is forgotten.

MODSEQ never goes back, whatever is lost (RFC 7162, 3.1); below the floor nobody knows what has gone (3.2.6).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailserver.interfaces import StoreMode
from mailserver.processes.instance import new_run, same_boot
from mailserver.processes.team import Team
from mailserver.store.files import UIDS
from mailserver.store.index import database
from mailserver.store.store import MailStore
from tests.helpers.store import ALICE, Listener, account_dir, deliver, make_store, now


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    return make_store(tmp_path)


def inbox(store: MailStore) -> Any:
    return now(now(store.account(ALICE)).open("INBOX", Listener()))


def filled(store: MailStore, count: int) -> Any:
    for _ in range(count):
        deliver(store)
    return inbox(store)


def again(store: MailStore) -> MailStore:
    return make_store(store.settings.now.data_dir)


def kill(store: MailStore) -> None:
    """No clean stop: a process that is killed loses its locks."""
    for account in store._accounts.values():
        account.ledger.close()


def lose(store: MailStore, *names: str) -> None:
    for name in names:
        for path in account_dir(store).glob(name + "*"):
            path.unlink()


def test_a_new_folder_remembers_everything(store: MailStore) -> None:
    mailbox = filled(store, 3)
    first = mailbox.highestmodseq
    now(mailbox.remove([1, 3], None))
    assert now(mailbox.expunged_since(1)) == [1, 3]
    assert now(mailbox.expunged_since(first)) == [1, 3]
    assert now(mailbox.expunged_since(mailbox.highestmodseq)) == []


def test_a_clean_stop_forgets_nothing(store: MailStore) -> None:
    mailbox = filled(store, 3)
    now(mailbox.remove([2], None))
    modseqs = list(mailbox.modseqs)
    now(store.stop())
    mailbox = inbox(again(store))
    assert now(mailbox.expunged_since(1)) == [2]
    assert list(mailbox.modseqs) == modseqs


def test_a_kill_forgets_nothing(store: MailStore) -> None:
    """What a process has committed is there as long as the machine runs."""
    mailbox = filled(store, 3)
    now(mailbox.remove([2], None))
    modseqs, latest = list(mailbox.modseqs), mailbox.highestmodseq
    kill(store)
    mailbox = inbox(again(store))
    assert now(mailbox.expunged_since(1)) == [2]
    assert list(mailbox.modseqs) == modseqs and mailbox.highestmodseq > latest


def test_growth_is_bounded(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest are kept; who remembers less is told that nobody knows."""
    monkeypatch.setattr(database, "EXPUNGED_KEPT", 10)
    mailbox = filled(store, 60)
    when: dict[int, int] = {}
    for uid in range(1, 51):
        now(mailbox.remove([uid], None))
        when[uid] = mailbox.highestmodseq
        found = now(mailbox.expunged_since(when[max(uid - 10, 1)]))
        assert found == list(range(max(uid - 10, 1) + 1, uid + 1))
    assert now(mailbox.expunged_since(when[20])) is None
    opened = store._accounts[ALICE].ledger.opened()
    assert opened._db.execute("SELECT count(*) FROM expunged").fetchone()[0] <= 20


def test_what_goes_together_is_forgotten_together(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "EXPUNGED_KEPT", 3)
    mailbox = filled(store, 12)
    before = mailbox.highestmodseq
    now(mailbox.remove(list(range(1, 11)), None))
    assert now(mailbox.expunged_since(before)) is None
    now(mailbox.remove([11], None))
    assert now(mailbox.expunged_since(mailbox.highestmodseq - 1)) == [11]


@pytest.mark.parametrize("clean", [True, False])
def test_an_index_that_was_lost(store: MailStore, clean: bool) -> None:
    """A client at any MODSEQ that was ever told hears everything anew, also of what another program removed
    while nobody looked."""
    mailbox = filled(store, 4)
    now(mailbox.store([1], StoreMode.ADD, 8, None, None))
    now(mailbox.remove([2], None))
    latest = mailbox.highestmodseq
    if clean:
        now(store.stop())
    else:
        store.reactor.advance(1)
        kill(store)
    lose(store, "mailserver-index")
    next(account_dir(store).glob("*/*-3*")).unlink()
    mailbox = inbox(again(store))
    assert list(mailbox.uids) == [1, 4]
    assert now(mailbox.expunged_since(latest)) is None
    assert all(modseq > latest for modseq in mailbox.modseqs)
    assert now(mailbox.expunged_since(mailbox.highestmodseq)) == []
    now(mailbox.remove([4], None))
    assert now(mailbox.expunged_since(mailbox.highestmodseq - 1)) == [4]


def test_an_empty_folder_whose_index_was_lost(store: MailStore) -> None:
    mailbox = filled(store, 1)
    now(mailbox.remove([1], None))
    latest = mailbox.highestmodseq
    now(store.stop())
    lose(store, "mailserver-index")
    mailbox = inbox(again(store))
    assert mailbox.highestmodseq > latest and now(mailbox.expunged_since(latest)) is None


def test_a_power_cut_throws_the_index_back(store: MailStore) -> None:
    """Flags, a message that came and one that went after what the disk kept: a client that knew of them is
    told how things are."""
    mailbox = filled(store, 3)
    store.reactor.advance(1)
    kill(store)
    kept = (account_dir(store) / database.FILE).read_bytes()
    mailbox = inbox(again(store))
    now(mailbox.store([1], StoreMode.ADD, 1 << 40, None, None))  # a keyword that no file name shows
    uid = 3
    store = again(store)
    deliver(store)
    mailbox = inbox(store)
    uid = mailbox.uids[-1]
    now(mailbox.remove([uid], None))
    latest = mailbox.highestmodseq
    kill(store)
    lose(store, database.FILE + "-")
    (account_dir(store) / database.FILE).write_bytes(kept)

    mailbox = inbox(make_store(store.settings.now.data_dir, run="another boot/1"))
    assert list(mailbox.uids) == [1, 2, 3] and not mailbox.flags[0] >> 40
    assert now(mailbox.expunged_since(latest)) is None
    assert all(modseq > latest for modseq in mailbox.modseqs)


def test_index_and_numbers_lost(store: MailStore) -> None:
    """MODSEQ does not go back, however far it was."""
    mailbox = filled(store, 2)
    for _ in range(3):  # each end without a word is a gap
        kill(store)
        store = again(store)
        mailbox = inbox(store)
        now(mailbox.store([1], StoreMode.ADD, 8, None, None))
        now(mailbox.store([1], StoreMode.REMOVE, 8, None, None))
    store.reactor.advance(1)
    validity, latest = mailbox.uidvalidity, mailbox.highestmodseq
    kill(store)
    lose(store, "mailserver-index", UIDS)
    mailbox = inbox(again(store))
    assert mailbox.uidvalidity == validity
    assert mailbox.highestmodseq > latest > 2_000_000
    assert now(mailbox.expunged_since(latest)) is None


def test_starts_of_one_boot_are_known_as_such() -> None:
    """Where the kernel names its boot: else each kill would count as a power cut."""
    assert same_boot(new_run(), new_run())
    assert same_boot(Team().run, new_run())
    assert not same_boot("", "")
