"""SORT: all criteria, REVERSE, ties, return options (RFC 5256, 5957, 5267), while messages come and go."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from mailserver.imap.search.columns import surviving
from mailserver.imap.search.field_texts import BLOCK, Texts
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.imap_session import SelectedClient

MESSAGES = [  # header, internal date
    (b"From: Bob <zed@x>\nTo: ann@x\nCc: q@x\nSubject: Re: beta\nDate: 3 Jan 2000 10:00 +0000\n", 50),
    (b"From: alice@x\nTo: Zoe <bob@x>\nSubject: Alpha\nDate: 1 Jan 2000 23:00 -0800\n", 40),
    (b"From: =?utf-8?q?=C3=84nne?= <mike@x>\nSubject: [list] BETA (fwd)\nDate: 2 Jan 2000 06:59 +0000\n", 30),
    (b"Subject: gamma\nTo: ann@y\n", 946800000),  # 2 Jan 2000, by its arrival
    (b"From: \nSubject:\nDate: rubbish\nCc: B <a@x>\n\nlong text", 10),
]


@pytest.fixture
def account() -> FakeAccount:
    made = FakeAccount()
    for header, date in MESSAGES:
        made.inbox.add(header + b"\n", date=date)
    return made


def order(client: SelectedClient, criteria: str, keys: str = "ALL") -> str:
    lines = client.told(f"SORT ({criteria}) UTF-8 {keys}")
    assert lines[-1] == "a OK SORT completed"
    return lines[0].removeprefix("* SORT").strip()


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ("ARRIVAL", "5 3 2 1 4"),
        ("REVERSE ARRIVAL", "4 1 2 3 5"),
        ("DATE", "5 3 2 4 1"),
        ("REVERSE DATE", "1 4 2 3 5"),
        ("SUBJECT", "5 2 1 3 4"),
        ("REVERSE SUBJECT", "4 1 3 2 5"),  # ties stay in the order of the mailbox
        ("SUBJECT DATE", "5 2 3 1 4"),
        ("SUBJECT REVERSE DATE", "5 2 1 3 4"),
        ("REVERSE SUBJECT REVERSE DATE", "4 1 3 2 5"),
        ("FROM", "4 5 2 3 1"),
        ("TO", "3 5 1 4 2"),
        ("CC", "2 3 4 5 1"),
        ("SIZE", "4 5 2 1 3"),
        ("DISPLAYFROM", "4 5 2 3 1"),
        ("DISPLAYTO", "3 5 1 4 2"),
        ("TO ARRIVAL", "5 3 1 4 2"),
        ("date DATE reverse DATE", "5 3 2 4 1"),
    ],
)
def test_criteria(account: FakeAccount, criteria: str, expected: str) -> None:
    client = SelectedClient(account)
    assert order(client, criteria) == expected
    assert order(client, criteria) == expected  # as it was kept


def test_display_names_sort_by_what_they_say() -> None:
    """RFC 5957, 3."""
    account = FakeAccount()
    for sender in (
        b"zoe@x",
        b"=?utf-8?q?anne?= <z@x>",
        b'"Bob" <a@x>',
        b'"" <amy@x>',
        b"=?utf-8?b??= <amy@w>",
    ):
        account.inbox.add(b"From: " + sender + b"\n\n")
    assert order(SelectedClient(account), "DISPLAYFROM") == "5 4 2 3 1"
    assert order(SelectedClient(account), "FROM") == "3 4 5 2 1"


def test_only_what_was_found_is_sorted(account: FakeAccount) -> None:
    client = SelectedClient(account)
    assert order(client, "DATE", "SUBJECT beta") == "3 1"
    assert order(client, "SUBJECT", "2:4") == "2 3 4"
    assert order(client, "SUBJECT", 'TEXT "not in mailbox"') == ""
    assert client.told("UID SORT (REVERSE DATE) US-ASCII 1:2")[0] == "* SORT 1 2"


def test_return_options(account: FakeAccount) -> None:
    """RFC 5267, 3: MIN is the first in this order; ranges ascend."""
    client = SelectedClient(account)

    def esearch(command: str) -> str:
        return client.told(command)[0].removeprefix('* ESEARCH (TAG "a") ')

    assert esearch("UID SORT RETURN () (REVERSE DATE) UTF-8 ALL") == "UID ALL 1,4,2,3,5"
    assert esearch("SORT RETURN () (DATE) UTF-8 2:4") == "ALL 3,2,4"
    assert esearch("SORT RETURN () (ARRIVAL) UTF-8 1") == "ALL 1"
    assert esearch("SORT RETURN (MIN MAX COUNT) (DATE) UTF-8 ALL") == "MIN 5 MAX 1 COUNT 5"
    assert esearch("SORT RETURN (PARTIAL 2:3) (DATE) UTF-8 ALL") == "PARTIAL (2:3 3,2)"
    assert esearch("SORT RETURN (PARTIAL -1:-2) (DATE) UTF-8 ALL") == "PARTIAL (-1:-2 4,1)"
    client.told("SORT RETURN (SAVE PARTIAL 2:3) (DATE) UTF-8 ALL")
    assert client.told("SEARCH $")[0] == "* SEARCH 2 3"


@pytest.mark.parametrize(
    "command",
    [
        "SORT DATE UTF-8 ALL",
        "SORT () UTF-8 ALL",
        "SORT (DATE) UTF-8",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
        "SORT (COLOUR) UTF-8 ALL",
        "SORT (DATE)",
        "SORT RETURN (DATE) UTF-8 ALL",
        "SORT (" + "DATE " * 30 + "DATE) UTF-8 ALL",
        "THREAD UTF-8 ALL",
        "THREAD REFS UTF-8 ALL",
        "THREAD REFERENCES UTF-8",
    ],
)
def test_what_is_bad(account: FakeAccount, command: str) -> None:
    assert ImapClient(ImapServer(account), select="INBOX").say("b " + command)[0].startswith("b BAD")


@pytest.mark.parametrize("command", ["SORT (DATE)", "THREAD REFERENCES", "UID SORT RETURN (ALL) (DATE)"])
def test_H4_unknown_charset(account: FakeAccount, command: str) -> None:
    answer = SelectedClient(account).told(f"{command} X-UNKNOWN ALL")
    assert answer == ["a NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset"]


def test_new_and_expunged_messages_are_where_they_belong(account: FakeAccount) -> None:
    client = SelectedClient(account)
    assert order(client, "DATE") == "5 3 2 4 1"
    assert order(client, "SUBJECT REVERSE DATE") == "5 2 1 3 4"
    account.inbox.add(b"Subject: beta\nDate: 2 Jan 2000 07:00\n\n")
    assert order(client, "DATE") == "5 3 2 4 1"  # told with the answer
    assert order(client, "DATE") == "5 3 2 6 4 1"
    assert order(client, "SUBJECT REVERSE DATE") == "5 2 1 6 3 4"
    account.inbox.expunge_now(2, 3)
    assert order(client, "DATE") == "5 6 4 1"  # by the numbers that the client knows
    assert client.told("SEARCH SUBJECT beta")[0] == "* SEARCH 1 6"
    client.told("NOOP")
    assert order(client, "DATE") == "3 4 2 1"
    assert order(SelectedClient(account), "SUBJECT REVERSE DATE") == "3 1 4 2"


def test_H9_messages_come_and_go_during_a_sort() -> None:
    account = FakeAccount()
    for day in range(28, 0, -1):
        account.inbox.add(b"Date: %d Jan 2000 00:00\n\n" % day)
    account.clock = Clock()
    client = SelectedClient(account)
    done: list[object] = []
    client.start("SORT (DATE) UTF-8 ALL").addBoth(done.append)
    account.inbox.expunge_now(1, 20)
    account.inbox.add(b"Date: 1 Jan 1999 00:00\n\n")
    for _ in range(20):
        account.clock.advance(0)

    assert done == [None]
    numbers = [int(word) for word in client.wire.take().split(b"\r\n")[0].split()[2:]]
    assert numbers == [n for n in range(28, 0, -1) if n not in (1, 20)]


CRITERIA = ["DATE", "SUBJECT", "REVERSE SUBJECT", "SUBJECT DATE", "REVERSE FROM DATE", "ARRIVAL", "SIZE"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_kept_orders_are_those_of_a_new_mailbox(seed: int) -> None:
    """Whatever comes and goes: a session that sorted before sees what one would see that comes fresh."""
    rng = random.Random(seed)
    account = FakeAccount()
    client = SelectedClient(account)
    for _ in range(12):
        for _ in range(rng.choice((0, 1, 3, 90))):
            header = b"Subject: %d\nFrom: a%d@x\nDate: %d Jan 2000 00:00\n\n"
            account.inbox.add(
                header % (rng.randrange(5), rng.randrange(3), rng.randint(1, 28)), date=rng.random()
            )
        uids = list(account.inbox.uids)
        account.inbox.expunge_now(*rng.sample(uids, min(len(uids), rng.choice((0, 1, 20)))))
        client.told("NOOP")
        criteria = rng.choice(CRITERIA)
        keys = rng.choice(("ALL", "SUBJECT 1", "NOT FROM a0", "1:*", "SENTSINCE 15-Jan-2000", "UID 1:9"))
        kept = client.told(f"UID SORT ({criteria}) UTF-8 {keys}")
        account.inbox.derived.clear()
        assert kept == SelectedClient(account).told(f"UID SORT ({criteria}) UTF-8 {keys}")


def test_long_mailboxes_are_sorted_in_slices() -> None:
    account = FakeAccount()
    count = 30_000
    account.inbox.uids.extend(range(1, count + 1))
    account.inbox.flags += [0] * count
    dates = list(range(count))
    random.Random(1).shuffle(dates)
    account.inbox.dates.extend(dates)
    account.inbox.sizes.extend([1] * count)
    account.inbox.modseqs.extend([1] * count)
    client = SelectedClient(account)

    found = [
        int(n) for n in client.raw("SORT (SIZE REVERSE ARRIVAL) UTF-8 ALL").split(b"\r\n")[0].split()[2:]
    ]

    assert [dates[n - 1] for n in found] == list(range(count - 1, -1, -1))
    assert client.wire.breaths > 6


# --- columns -----------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sets(st.integers(61, 70)))
def test_runs_that_survive(stay: set[int], go: set[int], come: set[int]) -> None:
    old, new = sorted(stay | go), sorted(stay | come)
    runs = surviving(old, new)
    assert [uid for start, stop in runs for uid in old[start:stop]] == sorted(stay)
    assert all(start < stop for start, stop in runs)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.text("ab", max_size=3)), max_size=5), max_size=6),
    st.sets(st.integers(0, 30)),
    st.text("ab", max_size=2),
)
def test_texts_are_found_as_one_by_one(parts: list[list[str | None]], gone: set[int], wanted: str) -> None:
    texts = Texts()
    values: list[str | None] = []
    for part in parts:
        texts.extend(part)
        values += part
    texts.keep([(n, n + 1) for n in range(len(values)) if n not in gone])
    values = [value for n, value in enumerate(values) if n not in gone]
    texts.extend(["abab"])
    values.append("abab")

    expected = [n for n, value in enumerate(values) if value is not None and wanted in value]
    assert [row for found in texts.find(wanted) for row in found] == expected
    assert len(texts) == len(values)


def test_texts_of_several_blocks() -> None:
    texts = Texts()
    for start in range(0, 3 * BLOCK, 1000):
        texts.extend([f"<{n}>" for n in range(start, start + 1000)])
    texts.keep([(0, 10), (BLOCK - 1, BLOCK + 1), (2 * BLOCK, 2 * BLOCK + 5)])

    assert [row for found in texts.find(f"<{BLOCK}>") for row in found] == [11]
    assert [row for found in texts.find(f"<{2 * BLOCK + 4}>") for row in found] == [16]
    assert list(texts.find("\n")) == [[]] * len(list(texts.find("")))
