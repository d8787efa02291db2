"""How many messages one command works on (RFC 9738). The limit is 3 here, which no configuration allows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.imap_dialog import ImapClient, ImapServer


def made(messages: int = 6, **imap: Any) -> ImapClient:
    """A client with a mailbox of the UIDs 1, 2, …"""
    server = ImapServer(imap=imap or {"message_limit": 3})
    for _ in range(messages):
        server.account.inbox.add(b"Subject: x\r\n\r\nbody\r\n")
    return ImapClient(server, select="INBOX")


@pytest.fixture
def client() -> ImapClient:
    client = made()
    client.say("c CREATE Trash")
    client.say("n NOOP")
    return client


LAST = "Completed for the last messages only"


def test_what_is_announced() -> None:
    for imap, name in (
        ({"message_limit": 1000}, "MESSAGELIMIT=1000"),
        ({"save_limit": 2000}, "SAVELIMIT=2000"),
        ({"literals": "LITERAL+"}, ""),
    ):
        words = made(0, **imap).say("c CAPABILITY")[0].split()
        assert [word for word in words if word.startswith(("MESSAGELIMIT", "SAVELIMIT"))] == name.split()


def test_the_examples_of_the_rfc(client: ImapClient) -> None:
    """3.1, with a smaller limit."""
    client.dialog(
        f"""
        C: 03 FETCH 2:5 (UID)
        S: * 3 FETCH (UID 3)
        S: * 4 FETCH (UID 4)
        S: * 5 FETCH (UID 5)
        S: 03 OK [MESSAGELIMIT 3 3] {LAST}
        C: 04 UID SEARCH UID 1:5 UNDELETED
        S: * SEARCH 3 4 5
        S: 04 OK [MESSAGELIMIT 3 3] {LAST}
        C: 05 UID COPY 1:6 Trash
        S: 05 NO [MESSAGELIMIT 3 4] Too many messages for one command, try fewer
        C: 07 UID STORE 1:4 +FLAGS.SILENT (\\Deleted)
        S: 07 OK [MESSAGELIMIT 3 2] {LAST}
        C: 07b UID STORE 1 +FLAGS.SILENT (\\Deleted)
        S: 07b OK STORE completed
        C: 08 UID EXPUNGE 1:6
        S: * 4 EXPUNGE
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: 08 OK [MESSAGELIMIT 3 2] {LAST}
        C: 08b UID EXPUNGE 1:6
        S: * 1 EXPUNGE
        S: 08b OK EXPUNGE completed
        """
    )


def test_move_is_done_as_far_as_it_may(client: ImapClient) -> None:
    client.dialog(
        f"""
        C: 06 UID MOVE 1:5 Trash
        S: * OK [COPYUID … 3:5 1:3] Moved
        S: * 5 EXPUNGE
        S: * 4 EXPUNGE
        S: * 3 EXPUNGE
        S: 06 OK [MESSAGELIMIT 3 3] {LAST}
        C: 06b UID MOVE 1:5 Trash
        S: * OK [COPYUID … 1:2 4:5] Moved
        S: * 2 EXPUNGE
        S: * 1 EXPUNGE
        S: 06b OK MOVE completed
        """
    )


def test_expunge_close_and_status_have_no_limit(client: ImapClient) -> None:
    for uids in ("1:3", "4:6"):
        client.say(f"a UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
    assert client.say("b STATUS INBOX (UNSEEN DELETED)")[0] == "* STATUS INBOX (UNSEEN 6 DELETED 6)"
    assert len(client.say("09 EXPUNGE")) == 7
    client = made()
    for uids in ("1:3", "4:6"):
        client.say(f"a UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
    assert client.say("b CLOSE") == ["b OK CLOSE completed"]
    assert "* 0 EXISTS" in client.say("c SELECT INBOX")


def test_partial(client: ImapClient) -> None:
    """A range that is too long is refused, whatever it would find; a short one is no limit's matter."""
    client.dialog(
        """
        C: 10 UID FETCH 1:6 (UID) (PARTIAL -1:-4)
        S: 10 NO [MESSAGELIMIT 3] Too many messages for one command, try fewer
        C: 11 UID FETCH 1:6 (UID) (PARTIAL 1:3)
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: 11 OK FETCH completed
        """
    )


def test_two_codes(client: ImapClient) -> None:
    """What another code is told with is told before (3.1)."""
    modseq = client.account.inbox.modseqs[5]
    other = ImapClient(client.server, select="INBOX")
    other.say("a STORE 6 +FLAGS (\\Seen)")
    lines = client.say(f"b UID STORE 1:6 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Flagged)")
    assert f"* NO [MESSAGELIMIT 3 4] {LAST}" in lines
    assert lines[-1] == "b OK [MODIFIED 6] Conditional STORE failed"
    other.say("c STORE 6 +FLAGS (\\Deleted)")
    other.say("d EXPUNGE")
    lines = client.say("e FETCH 1:6 (FLAGS)")
    assert lines[-2:] == [
        f"* NO [MESSAGELIMIT 3 4] {LAST}",
        "e NO [EXPUNGEISSUED] Message no longer exists",
    ]


def test_searches(client: ImapClient) -> None:
    """What counts is what is searched. `$` is what was found of it (3.4); an update would know too little."""
    client.say("a STORE 2 +FLAGS.SILENT (\\Flagged)")
    client.dialog(
        f"""
        C: b SEARCH FLAGGED
        S: * SEARCH
        S: b OK [MESSAGELIMIT 3 4] {LAST}
        C: c SEARCH FLAGGED UIDBEFORE 4
        S: * SEARCH 2
        S: c OK SEARCH completed
        C: d UID SEARCH RETURN (SAVE) UID 1:5
        S: d OK [MESSAGELIMIT 3 3] {LAST}
        C: e UID FETCH $ (UID)
        S: * 3 FETCH (UID 3)
        S: * 4 FETCH (UID 4)
        S: * 5 FETCH (UID 5)
        S: e OK FETCH completed
        C: f SEARCH RETURN (UPDATE) ALL
        S: * ESEARCH (TAG "f")
        S: * NO [NOUPDATE "f"] This search is not updated
        S: f OK [MESSAGELIMIT 3 4] {LAST}
        """
    )


def test_uidafter_and_uidbefore(client: ImapClient) -> None:
    """3.2: another thing than a range with `*`."""
    for keys, found in (
        ("UIDAFTER 4", " 5 6"),
        ("UIDAFTER 6", ""),
        ("UIDAFTER 4294967295", ""),
        ("UIDBEFORE 1", ""),
        ("UIDBEFORE 3", " 1 2"),
        ("UIDAFTER 2 UIDBEFORE 5", " 3 4"),
        ("UIDAFTER 3 NOT UIDAFTER 5", " 4 5"),
    ):
        assert client.say(f"a UID SEARCH {keys}") == [f"* SEARCH{found}", "a OK SEARCH completed"]
    assert client.say("b UID SEARCH UIDAFTER 0")[0].startswith("b BAD")
    assert client.say("c UID SEARCH UIDAFTER 1:3")[0].startswith("c BAD")


def test_threads_and_orders(client: ImapClient) -> None:
    """3.3: a thread is made of all, orders are kept."""
    assert client.say("a THREAD REFERENCES UTF-8 ALL")[-1].startswith("a NO [MESSAGELIMIT 3]")
    assert client.say("b SORT (REVERSE ARRIVAL) UTF-8 ALL")[-1] == "b OK SORT completed"
    assert made(3).say("c THREAD REFERENCES UTF-8 ALL")[-1] == "c OK THREAD completed"


@pytest.mark.parametrize("key", ["message_limit", "save_limit"])
def test_what_is_done_as_a_whole_is_not_done(key: str) -> None:
    client = made(6, **{key: 3})
    one = "{1+}\r\nx"
    assert client.say(f"a APPEND INBOX {' '.join([one] * 4)}")[-1].startswith("a NO [MESSAGELIMIT 3]")
    assert client.say("b COPY 1:4 INBOX")[-1].startswith("b NO [MESSAGELIMIT 3 2]")
    assert client.say("c NOOP") == ["c OK NOOP completed"]
    assert client.say(f"d APPEND INBOX {' '.join([one] * 3)}")[-1].startswith("d OK [APPENDUID")
    assert client.say("e COPY 1:3 INBOX")[-1].startswith("e OK [COPYUID")


def test_save_limit_is_for_copy_and_append_alone() -> None:
    client = made(6, save_limit=3)
    assert client.say("a FETCH 1:6 (UID)")[-1] == "a OK FETCH completed"
    assert client.say("b STORE 1:6 +FLAGS.SILENT (\\Seen)")[-1] == "b OK STORE completed"
    assert client.say("c UID SEARCH UIDAFTER 1")[-1].startswith("c BAD")
    assert client.say("d MOVE 1:6 INBOX")[-1] == "d OK MOVE completed"
