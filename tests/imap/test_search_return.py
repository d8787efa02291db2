"""SEARCH with return options (RFC 4731), `$` (RFC 5182), PARTIAL (RFC 9394), OLDER and YOUNGER (RFC 5032)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.imap.search.results import set_pieces
from mailserver.imap.values import PartialRange
from tests.helpers.cost import cheaper_than
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.imap_session import SelectedClient

FLAGGED = (2, 10, 11)


@pytest.fixture
def account() -> FakeAccount:
    """Twelve messages with the UIDs 101 to 112, of which numbers 2, 10, 11 are flagged."""
    made = FakeAccount()
    made.inbox.uidnext = 101
    for number in range(1, 13):
        made.inbox.add(b"Subject: %d\n\n" % number, ["\\Flagged"] if number in FLAGGED else [])
    return made


@pytest.fixture
def client(account: FakeAccount) -> SelectedClient:
    return SelectedClient(account)


def esearch(client: SelectedClient, command: str) -> str:
    """What stands behind the correlator of the one ESEARCH response."""
    response, tagged = client.told(command)
    assert tagged.startswith("a OK ")
    start = '* ESEARCH (TAG "a")'
    assert response.startswith(start)
    return response[len(start) :].lstrip()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("SEARCH RETURN (MIN COUNT) FLAGGED", "MIN 2 COUNT 3"),  # RFC 4731, 3.1
        ("SEARCH RETURN () FLAGGED", "ALL 2,10,11"),
        ("SEARCH RETURN (MIN) FLAGGED", "MIN 2"),
        ("UID SEARCH RETURN (MIN MAX) 1:5000", "UID MIN 101 MAX 112"),
        ("SEARCH RETURN (COUNT) FLAGGED", "COUNT 3"),
        ("search return (all count max) flagged", "MAX 11 COUNT 3 ALL 2,10,11"),
        ("SEARCH RETURN (ALL) UNFLAGGED", "ALL 1,3:9,12"),
        ("UID SEARCH RETURN () ALL", "UID ALL 101:112"),
        ("SEARCH RETURN () CHARSET UTF-8 SUBJECT 7", "ALL 7"),
        ("SEARCH RETURN (MIN MAX ALL) DELETED", ""),
        ("SEARCH RETURN (MIN COUNT ALL) DELETED", "COUNT 0"),
        ("UID SEARCH RETURN (ALL) DELETED", "UID"),
        ("UID SEARCH RETURN (PARTIAL 1:2) FLAGGED", "UID PARTIAL (1:2 102,110)"),
        ("UID SEARCH RETURN (PARTIAL 2:1) FLAGGED", "UID PARTIAL (2:1 102,110)"),
        ("UID SEARCH RETURN (PARTIAL -1:-2) FLAGGED", "UID PARTIAL (-1:-2 110,111)"),
        ("UID SEARCH RETURN (PARTIAL -100:-3) FLAGGED", "UID PARTIAL (-100:-3 102)"),
        ("SEARCH RETURN (PARTIAL 3:500 COUNT) FLAGGED", "COUNT 3 PARTIAL (3:500 11)"),
        ("SEARCH RETURN (PARTIAL 4:500) FLAGGED", "PARTIAL (4:500 NIL)"),
        ("SEARCH RETURN (PARTIAL -4:-9) FLAGGED", "PARTIAL (-4:-9 NIL)"),
        ("SEARCH RETURN (PARTIAL 1:10) DELETED", "PARTIAL (1:10 NIL)"),
        ("SEARCH RETURN (MIN PARTIAL 2:2 MAX) ALL", "MIN 1 MAX 12 PARTIAL (2:2 2)"),
    ],
)
def test_what_is_returned(client: SelectedClient, command: str, expected: str) -> None:
    assert esearch(client, command) == expected


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH RETURN",
        "SEARCH RETURN ALL",
        "SEARCH RETURN (ALL)",
        "SEARCH RETURN (ALL ) ALL",
        "SEARCH RETURN (NOTHING) ALL",
        "SEARCH RETURN (PARTIAL) ALL",
        "SEARCH RETURN (PARTIAL 1) ALL",
        "SEARCH RETURN (PARTIAL 0:1) ALL",
        "SEARCH RETURN (PARTIAL 1:*) ALL",
        "SEARCH RETURN (PARTIAL -1:1) ALL",
        "SEARCH RETURN (PARTIAL 1:4294967296) ALL",
        "SEARCH RETURN (PARTIAL 1:2 ALL) ALL",  # RFC 9394, 3.1
        "SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL",
        "SEARCH OLDER 0",
        "SEARCH YOUNGER -1",
        "SEARCH 1,$",
        "FETCH $,1 FLAGS",
        "FETCH 1:* FLAGS (PARTIAL 1:2)",  # RFC 9394, 3.3: of UID FETCH
        "UID FETCH 1:* FLAGS (PARTIAL 1:2 PARTIAL 1:2)",
        "UID FETCH 1:* FLAGS (UNHEARD)",
        "UID FETCH 1:* FLAGS ()",
    ],
)
def test_what_is_bad(account: FakeAccount, command: str) -> None:
    client = ImapClient(ImapServer(account), select="INBOX")

    assert client.say("b " + command)[0].startswith("b BAD")


def test_the_correlator_is_the_commands_tag(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), select="INBOX")
    client.dialog(
        """
        C: A285 UID SEARCH RETURN (MIN MAX) 1:5000
        S: * ESEARCH (TAG "A285") UID MIN 101 MAX 112
        S: A285 OK SEARCH completed
        """
    )


# --- $ ---------------------------------------------------------------------------------------------


def saved(client: SelectedClient) -> str:
    return client.told("SEARCH $")[0].removeprefix("* SEARCH").strip()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("SAVE", "2 10 11"),  # RFC 5182, 2.4
        ("ALL SAVE", "2 10 11"),
        ("SAVE MIN", "2"),
        ("SAVE MAX", "11"),
        ("MAX SAVE MIN", "2 11"),
        ("MAX SAVE MIN COUNT", "2 10 11"),
        ("ALL SAVE MIN", "2 10 11"),
        ("SAVE PARTIAL 2:2", "10"),  # RFC 9394, table 1
        ("SAVE PARTIAL -1:-2 MIN", "2 10 11"),
        ("SAVE PARTIAL 2:2 MAX", "10 11"),
        ("SAVE PARTIAL 2:2 MIN MAX", "2 10 11"),
        ("SAVE PARTIAL 2:2 MIN COUNT", "2 10 11"),
        ("SAVE PARTIAL 9:9", ""),
    ],
)
def test_what_is_saved(client: SelectedClient, options: str, expected: str) -> None:
    client.told(f"SEARCH RETURN ({options}) FLAGGED")

    assert saved(client) == expected
    client.told(f"UID SEARCH RETURN ({options}) FLAGGED")
    assert saved(client) == expected


def test_save_alone_tells_nothing(client: SelectedClient) -> None:
    assert client.told("SEARCH RETURN (SAVE) FLAGGED") == ["a OK SEARCH completed"]


def test_every_command_with_a_set_takes_it(client: SelectedClient) -> None:
    client.told("UID SEARCH RETURN (SAVE) FLAGGED")

    assert client.told("FETCH $ UID")[:-1] == [f"* {n} FETCH (UID {100 + n})" for n in FLAGGED]
    assert client.told("UID FETCH $ UID")[:-1] == [f"* {n} FETCH (UID {100 + n})" for n in FLAGGED]
    assert client.told("UID SEARCH UID $ UID 103:110")[0] == "* SEARCH 110"
    assert client.told("SEARCH OR $ 1,5:6")[0] == "* SEARCH 1 2 5 6 10 11"
    assert client.told("SEARCH NOT $")[0] == "* SEARCH 1 3 4 5 6 7 8 9 12"
    assert client.told("STORE $ +FLAGS.SILENT (\\Seen)") == ["a OK STORE completed"]
    assert client.told("SEARCH SEEN")[0] == "* SEARCH 2 10 11"
    assert client.told("UID STORE $ -FLAGS.SILENT (\\Seen)") == ["a OK STORE completed"]
    assert client.told("COPY $ Archive")[-1].startswith("a OK [COPYUID ")
    client.told("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    assert client.told("UID EXPUNGE $")[:-1] == ["* 11 EXPUNGE", "* 10 EXPUNGE", "* 2 EXPUNGE"]
    assert client.told("SEARCH ALL")[0] == "* SEARCH 1 2 3 4 5 6 7 8 9"


def test_an_empty_one_is_valid_and_matches_nothing(client: SelectedClient) -> None:
    """RFC 5182, 2.1 and example 6."""
    for _ in range(2):
        assert client.told("FETCH $ FLAGS") == ["a OK FETCH completed"]
        assert client.told("STORE $ +FLAGS (\\Seen)") == ["a OK STORE completed"]
        assert client.told('COPY $ "Archive"')[-1].startswith("a OK ")
        assert client.told('UID MOVE $ "Archive"')[-1].startswith("a OK ")
        assert client.told("SEARCH $") == ["* SEARCH", "a OK SEARCH completed"]
        client.told("SEARCH RETURN (SAVE) DELETED")


def test_which_searches_change_it(client: SelectedClient) -> None:
    """RFC 5182, 2.1."""
    client.told("SEARCH RETURN (SAVE) FLAGGED")
    client.told("SEARCH 1")
    client.told("SEARCH RETURN (ALL) 1")
    client.told("SEARCH CHARSET NONE 1")
    client.told("SEARCH RETURN (COUNT) CHARSET NONE 1")
    assert saved(client) == "2 10 11"

    client.told("SEARCH RETURN (SAVE) $ UID 103:*")
    assert saved(client) == "10 11"
    assert client.told("SEARCH RETURN (SAVE) CHARSET NONE 1")[-1].startswith("a NO [BADCHARSET")
    assert saved(client) == ""


def test_a_bad_search_and_a_new_select(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), select="INBOX")
    client.dialog(
        """
        C: a SEARCH RETURN (SAVE) FLAGGED
        S: a OK SEARCH completed
        C: b SEARCH RETURN (SAVE) NONSENSE
        S: b BAD …
        C: c SEARCH $
        S: * SEARCH 2 10 11
        S: c OK SEARCH completed
        """
    )
    client.say("d EXAMINE INBOX")
    assert client.say("e SEARCH $") == ["* SEARCH", "e OK SEARCH completed"]


def test_expunged_messages_leave_it_and_numbers_follow(account: FakeAccount, client: SelectedClient) -> None:
    client.told("SEARCH RETURN (SAVE) FLAGGED")
    account.inbox.expunge_now(101, 110)

    assert client.told("FETCH $ UID") == [
        "* 2 FETCH (UID 102)",
        "* 11 FETCH (UID 111)",
        "a OK FETCH completed",
    ]
    assert client.told("NOOP")[:2] == ["* 10 EXPUNGE", "* 1 EXPUNGE"]
    assert client.told("FETCH $ UID") == [
        "* 1 FETCH (UID 102)",
        "* 9 FETCH (UID 111)",
        "a OK FETCH completed",
    ]


def test_commands_that_depend_on_one_another_may_be_pipelined(account: FakeAccount) -> None:
    """RFC 5182, example 7."""
    client = ImapClient(ImapServer(account), select="INBOX")
    answer = client.send(
        b"F282 SEARCH RETURN (SAVE) FLAGGED\r\nF283 COPY $ Junk\r\nF284 STORE $ +FLAGS.Silent (\\Deleted)\r\n"
    )

    assert [line[:7] for line in answer.decode().splitlines()] == ["F282 OK", "F283 OK", "F284 OK"]
    assert len(account.boxes["Junk"].uids) == 3


# --- PARTIAL in UID FETCH (RFC 9394, 3.3) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "partial", "expected"),
    [
        ("105:200", "1:3", [105, 106, 107]),
        ("105:200", "-1:-3", [110, 111, 112]),
        ("101,103,105:108", "2:4", [103, 105, 106]),
        ("101,103,105:108", "-6:-5", [101, 103]),
        ("101:103", "3:9", [103]),
        ("101:103", "4:9", []),
        ("1:50", "1:3", []),
        ("1:*", "1:4294967295", list(range(101, 113))),
    ],
)
def test_a_part_of_a_uid_fetch(
    client: SelectedClient, numbers: str, partial: str, expected: list[int]
) -> None:
    answer = client.told(f"UID FETCH {numbers} (UID) (PARTIAL {partial})")

    assert answer == [*(f"* {uid - 100} FETCH (UID {uid})" for uid in expected), "a OK FETCH completed"]


def test_a_part_of_a_fetch_of_texts_marks_only_that_as_seen(client: SelectedClient) -> None:
    client.told("UID FETCH 1:* BODY[] (PARTIAL 2:3)")

    assert client.told("SEARCH SEEN")[0] == "* SEARCH 2 3"


# --- OLDER, YOUNGER ----------------------------------------------------------------------------------


def test_within() -> None:
    """RFC 5032, 2: to the second, and the second itself fits both."""
    account = FakeAccount()
    for age in (0, 99, 100, 101):
        account.inbox.add(b"\n", date=1_000_000 - age)
    client = SelectedClient(account)
    client.wire.time = 1_000_000.75

    assert client.told("SEARCH YOUNGER 100")[0] == "* SEARCH 1 2 3"
    assert client.told("SEARCH OLDER 100")[0] == "* SEARCH 3 4"
    assert client.told("SEARCH OLDER 100 YOUNGER 100")[0] == "* SEARCH 3"
    assert client.told("SEARCH OLDER 4294967295")[0] == "* SEARCH"


# --- rendering ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_a_set_names_the_numbers_in_their_order(numbers: list[int]) -> None:
    text = b"".join(set_pieces(numbers)).decode()
    named: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition(":")
        assert not last or int(first) < int(last)  # RFC 5267, 3.2
        named += range(int(first), int(last or first) + 1)
    assert named == numbers


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 15), st.booleans())
def test_partial_ranges(first: int, last: int, count: int, backwards: bool) -> None:
    found = list(range(1, count + 1))
    wanted = range(min(first, last), max(first, last) + 1)
    partial = PartialRange(-first, -last) if backwards else PartialRange(first, last)
    expected = [n for n in found if (count + 1 - n if backwards else n) in wanted]

    start, stop = partial.bounds(count)
    assert found[start:stop] == expected


def test_H3_a_large_answer_leaves_in_slices() -> None:
    account = FakeAccount()
    account.inbox.uids.extend(range(1, 300_000, 2))
    account.inbox.flags += [0] * 150_000
    for values in (account.inbox.sizes, account.inbox.dates, account.inbox.modseqs):
        values.extend([0] * 150_000)
    client = SelectedClient(account)

    with cheaper_than(1.0):
        answer = client.raw("UID SEARCH RETURN (ALL) 1:*")

    assert answer.startswith(b'* ESEARCH (TAG "a") UID ALL 1,3,5,')
    assert b",299999\r\na OK" in answer
    assert client.wire.largest < 256 * 1024
    assert client.wire.breaths > 5
