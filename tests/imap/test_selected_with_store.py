"""Sessions in the selected state on the real store: what is told, and what is on the disk afterwards."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from mailserver.interfaces import StoreMode
from tests.helpers.imap_session import SelectedClient
from tests.helpers.store import ALICE, account_dir, append, deliver, drop_file, make_store, now
from tests.imap.test_fetch import MESSAGE, WIRE


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return make_store(tmp_path)


@pytest.fixture
def account(store: Any) -> Any:
    return now(store.account(ALICE))


def test_fetch_from_the_disk(store: Any, account: Any) -> None:
    append(account, "INBOX", MESSAGE, ["\\Seen"], 837596665.0)
    client = SelectedClient(account)

    answer = client.raw("FETCH 1 (UID FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[])")
    assert answer == (
        b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent) "
        b'INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE %d BODY[] {%d}\r\n%b)\r\n'
        b"a OK FETCH completed\r\n" % (len(WIRE), len(WIRE), WIRE)
    )
    for _ in range(2):  # rendered, then from the index
        told = client.told("FETCH 1 (ENVELOPE BODY.PEEK[HEADER.FIELDS (Subject)])")
        assert told[0].startswith('* 1 FETCH (ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800 (PST)" "afternoon')
        assert told[1:] == ["Subject: afternoon", " meeting", "", ")", "a OK FETCH completed"]
        client = SelectedClient(account)


def test_large_messages_are_streamed(store: Any, account: Any) -> None:
    big = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + b"line\n" * 500_000 + b"--b\n\nend\n--b--\n"
    )
    append(account, "INBOX", big)
    client = SelectedClient(account)

    answer = client.raw("FETCH 1 BODY.PEEK[]")
    wire = big.replace(b"\n", b"\r\n")
    assert b"{%d}\r\n" % len(wire) in answer[:40]
    assert wire in answer
    assert client.told("FETCH 1 BODY.PEEK[2]")[1:2] == ["end)"]
    assert client.told("FETCH 1 BODY.PEEK[1]<2999990.20>")[0].endswith("{8}")


def test_seen_by_reading_stands_in_the_store(store: Any, account: Any) -> None:
    deliver(store)
    client, other = SelectedClient(account), SelectedClient(account)

    assert client.told("FETCH 1 BODY[TEXT]")[0].startswith(
        "* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {6}"
    )
    assert other.told("NOOP") == ["* 1 FETCH (FLAGS (\\Seen))", "a OK NOOP completed"]
    assert now(account.status("INBOX")).unseen == 0


def test_foreign_programs_are_noticed_at_noop_and_check(store: Any, account: Any) -> None:
    """CASES I5: a file that another program delivers, and one that it removes."""
    deliver(store)
    client = SelectedClient(account)
    foreign = drop_file(account_dir(store), "123.foreign")

    assert client.told("NOOP")[0] == "* 2 EXISTS"
    for place in ("new", "cur"):
        for path in (foreign.parent.parent / place).glob("123.foreign*"):
            path.unlink()
    assert client.told("CHECK")[0] == "* 2 EXPUNGE"


def test_copy_move_expunge(store: Any, account: Any) -> None:
    for number in range(4):
        deliver(store, data=b"Subject: %d\n\nx\n" % number)
    a, b = SelectedClient(account), SelectedClient(account, "Trash")

    copied = a.told("COPY 1:2 Trash")[-1]
    assert re.fullmatch(r"a OK \[COPYUID \d+ 1:2 1:2\] COPY completed", copied)
    assert b.told("NOOP")[:2] == ["* 2 EXISTS", "* 2 RECENT"]
    moved = a.told("MOVE 3 Trash")
    assert re.fullmatch(r"\* OK \[COPYUID \d+ 3 3\] Moved", moved[0])
    assert moved[1:] == ["* 3 EXPUNGE", "a OK MOVE completed"]
    a.told("STORE 1 +FLAGS.SILENT \\Deleted")
    assert a.told("CLOSE") == ["a OK CLOSE completed"]
    assert SelectedClient(account).told("UID SEARCH ALL")[0] == "* SEARCH 2 4"
    b.told("NOOP")
    subjects = [line for line in b.told("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]") if ":" in line]
    assert subjects == ["Subject: 0", "Subject: 1", "Subject: 2"]


def test_a_session_whose_folder_is_deleted(store: Any, account: Any) -> None:
    now(account.create("Old"))
    client = SelectedClient(account, "Old")
    now(account.delete("Old"))

    assert client.view.gone


def test_keywords_live_on(store: Any, account: Any) -> None:
    deliver(store)
    SelectedClient(account).told("STORE 1 +FLAGS ($Label1 $Forwarded)")

    client = SelectedClient(account)
    assert "$Label1 $Forwarded" in client.told("FETCH 1 FLAGS")[0]
    assert client.told("SEARCH KEYWORD $label1")[0] == "* SEARCH 1"


@pytest.mark.parametrize("seed", range(3))
def test_H11_sessions_that_change_the_store_at_random(store: Any, account: Any, seed: int) -> None:
    """Three sessions; after each round their numbers and flags are those of the store."""
    chance = random.Random(seed)
    for _ in range(5):
        deliver(store)
    clients = [SelectedClient(account) for _ in range(3)]
    for _ in range(60):
        client = chance.choice(clients)
        count = client.view.told
        kind = chance.choice(["deliver", "STORE", "STORE", "EXPUNGE", "COPY", "MOVE", "FETCH", "foreign"])
        if kind == "deliver" or not count:
            deliver(store)
        elif kind == "foreign":
            box = client.view.mailbox
            if box.uids:
                now(box.store([chance.choice(list(box.uids))], StoreMode.ADD, 2, None, None))
        elif kind == "EXPUNGE":
            client.told(kind)
        else:
            flag = chance.choice(["\\Deleted", "\\Seen", "$A"])
            what = {
                "STORE": f"{chance.choice('+-')}FLAGS ({flag})",
                "COPY": "INBOX",
                "MOVE": "Trash",
                "FETCH": "BODY[]",
            }[kind]
            client.told(f"{kind} {chance.randint(1, count)} {what}")
    answers = []
    for client in clients:
        client.told("NOOP")
        answers.append(re.sub(rb" ?\\Recent", b"", client.raw("FETCH 1:* (UID FLAGS)")))
    assert len(set(answers)) == 1
    fresh = SelectedClient(account).raw("FETCH 1:* (UID FLAGS)")
    assert re.sub(rb" ?\\Recent", b"", fresh) == answers[0]
