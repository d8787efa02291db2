"""Searching, sorting and threading over the real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailserver.store import digests
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.store import ALICE, deliver, make_store, now


def message(number: int, subject: str, day: int, answers: int = 0) -> bytes:
    references = b"References: <%d@x>\n" % answers if answers else b""
    head = b"From: Bob%d <b@x>\nSubject: %b\nDate: %d Jan 2020 10:00 +0000\nMessage-ID: <%d@x>\n"
    return head % (number, subject.encode(), day, number) + references + b"\nbody %d\n" % number


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = make_store(tmp_path)
    now(made.account(ALICE))
    for number, subject, day, answers in ((1, "b", 5, 0), (2, "a", 3, 0), (3, "Re: b", 4, 1), (4, "c", 1, 0)):
        deliver(made, data=message(number, subject, day, answers))
    return made


def session(store: Any, select: str = "INBOX") -> ImapClient:
    return ImapClient(ImapServer(now(store.account(ALICE))), login=True, select=select)


def answers(client: ImapClient) -> list[str]:
    commands = (
        "SORT (DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "SEARCH SUBJECT b",
        "SEARCH FROM bob3",
    )
    return [client.say(f"t {command}")[0] for command in commands]


def test_deliveries_are_sorted_threaded_and_found(store: Any) -> None:
    client = session(store)
    assert answers(client) == ["* SORT 4 2 3 1", "* THREAD (4)(2)(1 3)", "* SEARCH 1 3", "* SEARCH 3"]
    deliver(store, data=message(5, "Re: a", 2, 2))
    client.say("n NOOP")
    assert answers(client)[:2] == ["* SORT 4 5 2 3 1", "* THREAD (4)(2 5)(1 3)"]
    client.say("d STORE 1 +FLAGS.SILENT (\\Deleted)")
    client.say("e EXPUNGE")
    assert answers(client) == ["* SORT 3 4 1 2", "* THREAD (3)(1 4)(2)", "* SEARCH 2", "* SEARCH 2"]


def test_what_was_derived_outlives_the_server(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(session(store))
    now(store.stop())

    def no_file(path: str, name: str) -> bytes:
        raise AssertionError(f"{name} was read again")

    monkeypatch.setattr(digests, "_head", no_file)
    assert answers(session(make_store(tmp_path))) == before


def test_a_delivery_comes_into_the_results_of_an_idle_client(store: Any) -> None:
    client = session(store)
    client.say("u UID SORT RETURN (UPDATE COUNT) (REVERSE DATE) UTF-8 UNSEEN")
    client.say("i IDLE")
    deliver(store, data=message(5, "new", 4))
    client.server.settle()
    assert client.take().splitlines()[-1] == b'* ESEARCH (TAG "u") UID ADDTO (3 5)'


def test_several_mailboxes(store: Any) -> None:
    client = session(store, "")
    client.say("c CREATE Lists")
    deliver(store, data=message(6, "b", 6), folder="Lists")
    lines = client.say("t ESEARCH IN (personal) RETURN (ALL COUNT) SUBJECT b")
    assert [line.partition(") ")[2] for line in lines[:-1]] == ["UID COUNT 2 ALL 1,3", "UID COUNT 1 ALL 1"]
    assert lines[-1] == "t OK ESEARCH completed"
