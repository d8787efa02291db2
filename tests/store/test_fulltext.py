"""The search index of an account: exact, filled behind the scenes, and nothing that could not be lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mailserver.interfaces import TextFound
from mailserver.message.matching import Matcher
from mailserver.store.fulltext import database, filling, texts, wordbook
from mailserver.store.fulltext.database import FILE, Entry, FullText
from mailserver.store.sqlite import IndexDamaged
from mailserver.store.store import MailStore
from tests.helpers.store import (
    ALICE,
    Listener,
    StoreClock,
    account_dir,
    append,
    deliver,
    drop_file,
    make_store,
    now,
)


def message(number: int, text: str) -> bytes:
    return f"Subject: number{number}\n\n{text} of {number}\n".encode()


class Office:
    """A store with a clock, and alice's account."""

    def __init__(self, path: Path, **overrides: Any) -> None:
        self.clock = StoreClock()
        self.store: MailStore = make_store(path, reactor=self.clock, **overrides)
        self.store.indexing.start()
        self.account: Any = now(self.store.account(ALICE))
        self.path = account_dir(self.store)

    def fill(self) -> None:
        """Time goes by until all is entered."""
        for _ in range(400):
            self.clock.advance(0.5)

    def open(self, folder: str = "INBOX") -> Any:
        return now(self.account.open(folder, Listener()))

    def look(self, text: str, folder: str = "INBOX", header: bool = True) -> TextFound:
        mailbox = self.open(folder)
        return now(mailbox.indexed(text, header, list(mailbox.uids)))

    def search(self, text: str, folder: str = "INBOX", header: bool = True) -> list[int]:
        mailbox = self.open(folder)
        found = now(mailbox.indexed(text, header, list(mailbox.uids)))
        return sorted([*found.sure, *now(mailbox.containing(text, header, found.unsure))])

    def texts(self) -> int:
        """How many different texts are kept."""
        opened = FullText.open(str(self.path))
        count = opened._db.execute("SELECT count(*) FROM texts").fetchone()[0]
        opened.close()
        return int(count)


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "WORTH", 0)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_what_came_is_entered_some_time_later(office: Office) -> None:
    deliver(office.store, data=message(1, "apples"))
    deliver(office.store, data=message(2, "pears"))
    assert office.look("apples") == TextFound([], [1, 2])
    assert office.search("apples") == [1]
    office.fill()
    assert office.look("apples") == TextFound([1], [])
    assert office.look("PEAR") == TextFound([2], [])
    assert office.look("number2", header=False) == TextFound([], [])
    deliver(office.store, data=message(3, "apples"))
    assert office.look("apples") == TextFound([1], [3])


def test_what_another_process_took_is_entered_too(office: Office, tmp_path: Path) -> None:
    office.fill()
    other = make_store(tmp_path, reactor=office.clock)
    other.indexing.fills = False
    deliver(other, data=message(1, "apples"))
    office.fill()
    uids = list(office.open().uids)
    assert office.look("apples") == TextFound([], uids)
    office.store.indexing.changed_elsewhere({ALICE: (1, 0)})
    office.fill()
    assert office.look("apples") == TextFound(uids, [])


def test_a_delivery_does_not_wait_for_it(office: Office) -> None:
    deliver(office.store, data=message(1, "apples"))
    assert not (office.path / FILE).exists()
    office.fill()
    assert (office.path / FILE).stat().st_mode & 0o777 == 0o600


def test_texts_of_several_words_are_read_where_they_may_be(office: Office) -> None:
    append(office.account, "INBOX", message(1, "red apples"))
    append(office.account, "INBOX", message(2, "apples red"))
    append(office.account, "INBOX", message(3, "red pears"))
    office.fill()
    assert office.look("red apples").unsure == [1, 2]
    assert office.search("red apples") == [1]


def test_a_copy_or_a_move_is_no_other_text(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    append(office.account, "INBOX", message(1, "apples"))
    append(office.account, "INBOX", message(2, "pears"))
    office.fill()
    mailbox = office.open()
    now(mailbox.copy([1], "Archive"))
    now(mailbox.move([2], "Archive", None))
    monkeypatch.setattr(texts, "words_of", lambda wire: pytest.fail("read again"))
    office.fill()
    assert office.look("apples", "Archive") == TextFound([1], [])
    assert office.look("pears", "Archive") == TextFound([2], [])
    assert office.look("pears") == TextFound([], [])
    assert office.texts() == 2


def test_a_renamed_folder_keeps_its_index(office: Office) -> None:
    now(office.account.create("Old"))
    append(office.account, "Old", message(1, "apples"))
    office.fill()
    now(office.account.rename("Old", "New"))
    assert office.look("apples", "New") == TextFound([1], [])


def test_expunged_messages_leave_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "REMOVED", 2)
    now(office.account.create("Gone"))
    append(office.account, "Gone", message(9, "plums"))
    for number in range(4):
        append(office.account, "INBOX", message(number, "apples"))
    office.fill()
    assert office.texts() == 5
    now(office.open().remove([2, 3], None))
    now(office.account.delete("Gone"))
    office.fill()
    assert office.texts() == 2
    assert office.look("apples") == TextFound([1, 4], [])


def test_a_lost_index_of_the_mail_loses_nothing_here(tmp_path: Path) -> None:
    office = Office(tmp_path)
    append(office.account, "INBOX", message(1, "apples"))
    office.fill()
    now(office.store.stop())
    (office.path / "mailserver-index.sqlite").unlink()
    office = Office(tmp_path)
    assert office.look("apples") == TextFound([1], [])


@pytest.mark.parametrize("damage", [b"no database at all", None, b""])
def test_what_is_damaged_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    office = Office(tmp_path)
    append(office.account, "INBOX", message(1, "apples"))
    office.fill()
    now(office.store.stop())
    data = (office.path / FILE).read_bytes()
    middle = len(data) // 2
    (office.path / FILE).write_bytes(
        data[:middle] + b"\xff" * 16384 + data[middle + 16384 :] if damage is None else damage
    )
    office = Office(tmp_path)
    assert office.search("apples") == [1]
    office.fill()
    assert office.look("apples") == TextFound([1], [])


def test_the_work_of_another_edition_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(tmp_path)
    append(office.account, "INBOX", message(1, "apples"))
    office.fill()
    now(office.store.stop())
    monkeypatch.setattr(database, "EDITION", "2 16.0.0")
    office = Office(tmp_path)
    assert office.look("apples") == TextFound([], [1])
    office.fill()
    assert office.look("apples") == TextFound([1], [])


def test_a_few_messages_are_not_worth_an_index(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "WORTH", 2)
    for number in (1, 2):
        append(office.account, "INBOX", message(number, "apples"))
    office.fill()
    assert not (office.path / FILE).exists()
    assert office.search("apples") == [1, 2]
    append(office.account, "INBOX", message(3, "apples"))
    office.fill()
    assert office.look("apples") == TextFound([1, 2, 3], [])


def test_it_can_be_turned_off_for_a_user(tmp_path: Path) -> None:
    office = Office(tmp_path)
    append(office.account, "INBOX", message(1, "apples"))
    office.fill()
    now(office.store.stop())
    office = Office(tmp_path, users={ALICE: {"search_index": False}}, search={"index": True})
    assert office.look("apples") == TextFound([], [1])
    assert office.search("apples") == [1]
    office.fill()
    assert not (office.path / FILE).exists()


def test_after_a_start_what_is_missing_is_entered(tmp_path: Path) -> None:
    office = Office(tmp_path)
    append(office.account, "INBOX", message(1, "apples"))
    now(office.store.stop())
    office = Office(tmp_path)
    office.fill()
    assert office.look("apples") == TextFound([1], [])


def test_a_file_has_its_limit(tmp_path: Path) -> None:
    office = Office(tmp_path, search={"index_size": 1024})
    append(office.account, "INBOX", message(1, "apples"))
    office.fill()
    assert office.look("apples") == TextFound([], [1])


def test_messages_put_there_from_outside(office: Office) -> None:
    drop_file(office.path, "1.M1P1.host", message(1, "apples"))
    office.open()
    office.fill()
    assert office.look("apples") == TextFound([1], [])
    name = next((office.path / "cur").iterdir(), None) or next((office.path / "new").iterdir())
    mailbox = office.open()
    os.rename(name, office.path / "cur" / (name.name.partition(":")[0] + ":2,FS"))
    assert now(mailbox.containing("apples", True, [1])) == [1]


def test_files_that_are_renamed_meanwhile(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """We give strangers names with their UIDs, also while somebody is about to read them."""
    for number in range(3):
        drop_file(office.path, f"{number}.M1P1.host", message(number, "apples"))
    mailbox = office.open()
    old = list(zip(mailbox.uids, mailbox.names, strict=True))
    office.clock.advance(1)
    assert [name for _, name in old] != list(mailbox.names)
    searching = office.store.indexing.containing(
        office.account, "", mailbox.uidvalidity, old, Matcher("apples", True)
    )
    assert now(searching) == [1, 2, 3]
    monkeypatch.setattr(filling, "_messages", lambda *args: old)
    office.fill()
    assert office.look("apples") == TextFound([1, 2, 3], [])


def test_E10_a_bomb_is_read_by_each_search(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LARGEST", 1000)
    append(office.account, "INBOX", message(1, "apples" * 200))
    office.fill()
    assert office.look("apples") == TextFound([], [1])
    assert office.search("apples") == [1]


def test_many_messages_become_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordbook, "MESSAGES", 4)
    opened = FullText.open(str(tmp_path))
    words = [(b"\nSUBJECT%d\n" % n, b"\nBODY%d\nCOMMON\n" % n) for n in range(1, 11)]
    with opened.transaction():
        opened.enter(7, [Entry(n, b"%16d" % n, words[n - 1]) for n in range(1, 10)])
    opened.enter(
        8, [Entry(1, b"%16d" % 2), Entry(2, b"%16d" % 99), Entry(3, b"%16d" % 10, words[9]), Entry(4)]
    )
    every = list(range(1, 11))
    assert opened.find(7, every, "common", False) == TextFound(every[:9], [10])
    assert opened.find(7, every, "body3", False) == TextFound([3], [10])
    assert opened.find(7, every, "subject3", False) == TextFound([], [10])
    assert opened.find(7, [2, 3], "subject", True) == TextFound([2, 3], [])
    assert opened.find(8, [1, 2, 3, 4], "common", True) == TextFound([1, 3], [2, 4])
    opened.keep_only({7: [1, 5, 9], 8: [1, 3]})
    assert opened.find(7, [1, 5, 9], "common", True) == TextFound([1, 5, 9], [])
    assert opened.find(7, [1, 5, 9], "body5", True) == TextFound([5], [])
    assert opened.find(8, [1, 3], "body2", True) == TextFound([1], [])
    assert opened._db.execute("SELECT count(*) FROM texts").fetchone()[0] == 5
    opened.close()


def test_what_one_process_has_entered_no_other_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Office(tmp_path, run="1"), Office(tmp_path, run="1")
    append(one.account, "INBOX", message(1, "apples"))
    one.fill()
    monkeypatch.setattr(texts, "words_of", lambda wire: pytest.fail("read again"))
    other.fill()
    assert other.look("apples") == one.look("apples") == TextFound([1], [])


def test_a_damaged_book_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordbook, "MESSAGES", 2)
    opened = FullText.open(str(tmp_path))
    opened.enter(7, [Entry(n, b"%16d" % n, (b"", b"\nWORD\n")) for n in range(1, 3)])
    opened._db.execute("UPDATE books SET lists = x'0100000006000000ff000000'")
    with pytest.raises(IndexDamaged):
        opened.find(7, [1, 2], "word", True)
    opened.close()
