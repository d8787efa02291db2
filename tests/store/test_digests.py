"""Digests of headers are made once, from the head of the file, and kept in the index."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mailserver.store import digests as module
from tests.helpers.store import ALICE, Listener, account_dir, make_store, now


def open_inbox(store: Any) -> Any:
    return now(now(store.account(ALICE)).open("INBOX", Listener()))


@pytest.fixture
def mailbox(tmp_path: Path) -> Any:
    store = make_store(tmp_path)
    now(store.account(ALICE))
    inbox = account_dir(store) / "cur"
    (inbox / "1.a.x:2,").write_bytes(b"Subject: Re: one\nDate: 1 Jan 2000 00:00\nMessage-ID: <1@x>\n\nbody")
    (inbox / "2.b.x:2,").write_bytes(b"X-Long: " + b"x" * 9000 + b"\nSubject: two\n\nSubject: no\n")
    (inbox / "3.c.x:2,").write_bytes(b"Subject: three\r\n\r\n")
    return open_inbox(store)


def test_fields_of_several_groups(mailbox: Any) -> None:
    wanted = ("base", "sent", "reply", "ids")
    expected = [("ONE", 946684800, 1, "1@x"), ("TWO", None, 0, ""), ("THREE", None, 0, "")]
    assert now(mailbox.digests(wanted, [1, 2, 3])) == expected
    assert now(mailbox.digests(wanted, [1, 2, 3])) == expected
    assert now(mailbox.digests(("subject",), [3, 9, 1])) == [("THREE",), None, ("RE: ONE",)]


def test_a_message_is_read_once_for_a_question(mailbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    head = module._head

    def counting(path: str, name: str) -> bytes | None:
        read.append(name)
        return head(path, name)

    monkeypatch.setattr(module, "_head", counting)
    now(mailbox.digests(("sent", "base"), [1, 2, 3]))
    assert len(read) == 3
    now(mailbox.digests(("day", "subject"), [1, 2, 3]))
    assert len(read) == 3
    now(mailbox.digests(("from_",), [1]))
    assert len(read) == 4


def test_they_outlive_the_memory_and_go_with_the_message(tmp_path: Path, mailbox: Any) -> None:
    assert now(mailbox.digests(("base",), [1])) == [("ONE",)]
    now(mailbox.remove([1], None))
    index = account_dir(mailbox._store) / "mailserver-index.sqlite"
    with sqlite3.connect(index) as db:
        assert db.execute("SELECT count(*) FROM subjects").fetchone() == (0,)
    assert now(mailbox.digests(("base",), [1])) == [None]


def test_a_file_that_is_renamed_or_gone(mailbox: Any) -> None:
    path = Path(mailbox._path)
    os.rename(path / mailbox.names[0], path / "cur" / "1.a.x:2,S")
    os.unlink(path / mailbox.names[1])
    assert now(mailbox.digests(("base",), [1, 2, 3])) == [("ONE",), None, ("THREE",)]
