"""Results of a search that are kept up to date: UPDATE, CANCELUPDATE (RFC 5267, 4.3)."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap.search.contexts import MAX_CONTEXTS
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer


@pytest.fixture
def account() -> FakeAccount:
    made = FakeAccount()
    made.inbox.uidnext = 101
    for number in range(1, 6):
        made.inbox.add(b"Subject: %d\nDate: %d Jan 2000 00:00\n\n" % (9 - number, 9 - number))
    return made


@pytest.fixture
def client(account: FakeAccount) -> ImapClient:
    return ImapClient(ImapServer(account), select="INBOX")


def test_results_of_a_search(account: FakeAccount, client: ImapClient) -> None:
    client.dialog(
        """
        C: B01 UID SEARCH RETURN (UPDATE COUNT) DELETED
        S: * ESEARCH (TAG "B01") UID COUNT 0
        S: B01 OK SEARCH completed
        C: a STORE 2:3 +FLAGS.SILENT (\\Deleted)
        S: a OK STORE completed
        S: * ESEARCH (TAG "B01") UID ADDTO (0 102,103)
        C: b STORE 2,4 FLAGS.SILENT (\\Seen)
        S: b OK STORE completed
        S: * ESEARCH (TAG "B01") UID REMOVEFROM (0 102)
        C: c STORE 4 +FLAGS.SILENT (\\Answered)
        S: c OK STORE completed
        """
    )
    account.inbox.add(b"x", ["\\Deleted"])
    account.inbox.set_flags(101, "\\Deleted")
    client.server.settle()
    assert client.take() == b'* ESEARCH (TAG "B01") UID ADDTO (0 101)\r\n'  # nobody asked for EXISTS
    client.dialog(
        """
        C: d NOOP
        S: * 6 EXISTS
        S: * 6 RECENT
        S: * 1 FETCH (FLAGS (\\Deleted…))
        S: d OK NOOP completed
        S: * ESEARCH (TAG "B01") UID ADDTO (0 106)
        C: e EXPUNGE
        S: * ESEARCH (TAG "B01") UID REMOVEFROM (0 101,103,106)
        S: * 6 EXPUNGE
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        S: e OK EXPUNGE completed
        """
    )


def test_sequence_numbers_hold_when_they_are_told(account: FakeAccount, client: ImapClient) -> None:
    client.say("u SEARCH RETURN (UPDATE) ALL")
    account.inbox.add(b"x")
    account.inbox.expunge_now(102, 104)
    client.server.settle()
    assert client.take() == b'* ESEARCH (TAG "u") REMOVEFROM (0 2,4)\r\n'  # RFC 5267, A.3: at once
    client.dialog(
        """
        C: a NOOP
        S: * 4 EXPUNGE
        S: * 2 EXPUNGE
        S: * 4 EXISTS
        S: * 4 RECENT
        S: a OK NOOP completed
        S: * ESEARCH (TAG "u") ADDTO (0 4)
        """
    )


def test_idle_is_told_as_it_happens(account: FakeAccount, client: ImapClient) -> None:
    client.say("u UID SEARCH RETURN (UPDATE) FLAGGED")
    client.say("i IDLE")
    account.inbox.add(b"x", ["\\Flagged"])
    client.server.settle()
    assert client.take() == b'* 6 EXISTS\r\n* 6 RECENT\r\n* ESEARCH (TAG "u") UID ADDTO (0 106)\r\n'
    account.inbox.expunge_now(106)
    client.server.settle()
    assert client.take() == b'* ESEARCH (TAG "u") UID REMOVEFROM (0 106)\r\n* 6 EXPUNGE\r\n'


def test_positions_in_a_sort(account: FakeAccount, client: ImapClient) -> None:
    """The dates of the messages 101 to 105 are 8, 7, 6, 5, 4 January."""
    client.dialog(
        """
        C: s UID SORT RETURN (UPDATE ALL) (DATE) UTF-8 UNDELETED
        S: * ESEARCH (TAG "s") UID ALL 105,104,103,102,101
        S: s OK SORT completed
        C: a STORE 2,4:5 +FLAGS.SILENT (\\Deleted)
        S: a OK STORE completed
        S: * ESEARCH (TAG "s") UID REMOVEFROM (4 102 1 105,104)
        C: b STORE 1:* FLAGS.SILENT (\\Seen)
        S: b OK STORE completed
        S: * ESEARCH (TAG "s") UID ADDTO (1 105,104 4 102)
        """
    )
    account.inbox.add(b"Date: 5 Jan 2000 12:00\n\n")
    client.say("c NOOP")
    assert client.say("d UID SORT RETURN (ALL) (DATE) UTF-8 ALL")[0].endswith("105,104,106,103,102,101")


def test_cancel_and_reuse_of_tags(account: FakeAccount, client: ImapClient) -> None:
    assert client.say("B01 UID SEARCH RETURN (UPDATE COUNT) DELETED")[-1] == "B01 OK SEARCH completed"
    assert client.say("B01 SORT RETURN (UPDATE) (DATE) UTF-8 FLAGGED") == ["B01 BAD Tag reuse"]
    assert client.say("B01 ESEARCH RETURN (UPDATE) FLAGGED") == ["B01 BAD Tag reuse"]
    assert client.say('x CANCELUPDATE "B01" "B02"')[0].startswith("x BAD")
    assert client.say('B04 CANCELUPDATE "B01"') == ["B04 OK No further updates"]
    assert client.say("y STORE 1 +FLAGS.SILENT (\\Deleted)") == ["y OK STORE completed"]
    assert client.say("B01 SEARCH RETURN (UPDATE) DELETED")[0] == '* ESEARCH (TAG "B01")'
    client.say("z EXAMINE INBOX")
    assert client.say('B05 CANCELUPDATE "B01"')[0].startswith("B05 BAD")


def test_too_many(client: ImapClient) -> None:
    """RFC 5267, 4.3.1: the search is done all the same."""
    for number in range(MAX_CONTEXTS):
        client.say(f"t{number} SEARCH RETURN (UPDATE COUNT) ALL")
    client.dialog(
        """
        C: B02 UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL
        S: * ESEARCH (TAG "B02") UID COUNT 5
        S: * NO [NOUPDATE "B02"] This search is not updated
        S: B02 OK SORT completed
        C: c CANCELUPDATE "t0" "t1"
        S: c OK No further updates
        C: B03 UID SEARCH RETURN (UPDATE COUNT) ALL
        S: * ESEARCH (TAG "B03") UID COUNT 5
        S: B03 OK SEARCH completed
        """
    )


def test_message_numbers_in_keys_are_those_of_the_command(account: FakeAccount, client: ImapClient) -> None:
    client.say("s SEARCH RETURN (SAVE) 2")
    client.say("u UID SEARCH RETURN (UPDATE) UNSEEN OR 3:4 $")
    account.inbox.expunge_now(101)
    client.say("a NOOP")
    client.say("s SEARCH RETURN (SAVE) 1")
    assert client.say("b STORE 1:* +FLAGS.SILENT (\\Seen)")[-1].endswith("REMOVEFROM (0 102:104)")


def test_the_multiple_search_updates_the_selected_mailbox(account: FakeAccount, client: ImapClient) -> None:
    account.boxes["Junk"].add(b"x")
    client.say("u ESEARCH IN (selected mailboxes Junk) RETURN (UPDATE COUNT) FLAGGED")
    account.boxes["Junk"].set_flags(1, "\\Flagged")
    account.inbox.set_flags(101, "\\Flagged")
    client.server.settle()
    assert re.fullmatch(
        rb'\* ESEARCH \(TAG "u" MAILBOX INBOX UIDVALIDITY \d+\) UID ADDTO \(0 101\)\r\n', client.take()
    )


def test_what_happens_during_the_search_counts(account: FakeAccount) -> None:
    server = ImapServer(account)
    client = ImapClient(server, select="INBOX")
    server.slow()
    client.feed(b"u UID SEARCH RETURN (UPDATE ALL) BODY nothing\r\n")
    client.feed(b"v UID SEARCH RETURN (UPDATE ALL) UNFLAGGED SUBJECT 8\r\n")
    server.reactor.advance(0)
    account.inbox.set_flags(101, "\\Flagged")
    server.settle()
    answer = client.take()
    assert answer.count(b" ALL 101") == answer.count(b"REMOVEFROM (0 101)")


class Copy:
    """A client that applies what it is told to its copy of the results."""

    def __init__(self, sort: bool, uid: bool) -> None:
        self.sort, self.uid = sort, uid
        self.results: list[int] = []

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            if match := re.fullmatch(r"\* (\d+) EXPUNGE", line):
                gone = int(match[1])
                if not self.uid:
                    assert gone not in self.results
                    self.results = [n - (n > gone) for n in self.results]
            elif '(TAG "u")' in line:
                for item, pairs in re.findall(r"(ADDTO|REMOVEFROM|ALL) \(?([0-9:, ]+)", line):
                    self._apply(item, pairs.split())

    def _apply(self, item: str, words: list[str]) -> None:
        if item == "ALL":
            self.results = numbers(words[0])
            return
        for position, text in zip(words[::2], words[1::2], strict=True):
            place, changed = int(position), numbers(text)
            assert (place > 0) is self.sort
            if item == "REMOVEFROM" and place:
                assert self.results[place - 1 : place - 1 + len(changed)] == changed
                del self.results[place - 1 : place - 1 + len(changed)]
            elif item == "REMOVEFROM":
                assert set(changed) <= set(self.results)
                self.results = [n for n in self.results if n not in changed]
            elif place:
                assert place - 1 <= len(self.results)
                self.results[place - 1 : place - 1] = changed
            else:
                assert not set(changed) & set(self.results)
                self.results = sorted(self.results + changed)


def numbers(text: str) -> list[int]:
    found: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


SEARCHES = [
    "UNDELETED",
    "OR FLAGGED SUBJECT 1",
    "NOT SEEN SENTSINCE 14-Jan-2000",
    "ALL",
    "UID 5:*",
]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_client_that_applies_updates_has_what_a_new_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    account = FakeAccount()
    box = account.inbox

    def add() -> None:
        day = rng.randint(1, 28)
        flags = rng.sample(["\\Seen", "\\Flagged", "\\Deleted"], rng.randint(0, 2))
        box.add(b"Subject: %d\nDate: %d Jan 2000 00:00\n\n" % (day % 4, day), flags)

    for _ in range(rng.randint(0, 6)):
        add()
    client = ImapClient(ImapServer(account), select="INBOX")
    copy = Copy(rng.random() < 0.5, rng.random() < 0.5)
    verb = ("UID " if copy.uid else "") + ("SORT" if copy.sort else "SEARCH")
    how = rng.choice(("(SUBJECT DATE) UTF-8", "(REVERSE DATE) UTF-8")) + " " if copy.sort else ""
    keys = rng.choice(SEARCHES)
    copy.hear(client.say(f"u {verb} RETURN (UPDATE ALL) {how}{keys}"))
    for step in range(25):
        uids = list(box.uids)
        match rng.randrange(5):
            case 0:
                add()
            case 1 if uids:
                box.expunge_now(rng.choice(uids))
            case 2 if uids:
                box.set_flags(rng.choice(uids), *rng.sample(["\\Seen", "\\Flagged", "\\Deleted"], 2))
            case 3 if uids:
                copy.hear(client.say(f"s{step} UID STORE {rng.choice(uids)} +FLAGS (\\Flagged \\Seen)"))
            case 4:
                copy.hear(client.say(f"e{step} EXPUNGE"))
        client.server.settle()
        copy.hear(client.take().decode().splitlines())
    copy.hear(client.say("n NOOP"))
    copy.hear(client.say("m NOOP"))
    fresh = Copy(copy.sort, copy.uid)
    fresh.hear([line.replace('"v"', '"u"') for line in client.say(f"v {verb} RETURN (ALL) {how}{keys}")])
    assert copy.results == fresh.results
