"""CONDSTORE (RFC 7162, 3.1): what enables it, what then is told, and the examples of the RFC.

Each message's MODSEQ is its UID + 1 at the beginning: 2, 3, 4 …
"""

from __future__ import annotations

import pytest

from mailserver.config.schema import Imap, Without
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.imap.resync import runs, within
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.imap_session import SelectedClient


@pytest.fixture
def account() -> FakeAccount:
    """Nine messages, none recent."""
    made = FakeAccount()
    for number in range(1, 10):
        made.inbox.add(b"Subject: %d\n\ntext %d\n" % (number, number))
    made.inbox.unclaimed.clear()
    return made


def enabled(account: FakeAccount) -> SelectedClient:
    client = SelectedClient(account)
    client.session.enabled.add("CONDSTORE")
    return client


# --- enabling (3.1) ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "ENABLE CONDSTORE",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "FETCH 1 MODSEQ",
        "FETCH 1 (UID MODSEQ)",
        "UID FETCH 1 FLAGS (CHANGEDSINCE 100)",
        "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "SEARCH MODSEQ 100",
        "UID SEARCH NOT (SEEN OR DELETED MODSEQ 100)",
    ],
)
def test_the_first_enabling_command_tells_HIGHESTMODSEQ(account: FakeAccount, command: str) -> None:
    client = ImapClient(ImapServer(account), select="INBOX")
    assert "* OK [HIGHESTMODSEQ 10] Highest mod-sequence" in client.say(f"a {command}")
    assert not any("HIGHESTMODSEQ" in line for line in client.say("b FETCH 1 MODSEQ"))
    account.inbox.set_flags(2, "\\Seen")
    assert client.say("c NOOP") == ["* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (11))", "c OK NOOP completed"]


@pytest.mark.parametrize("command", ["SELECT", "EXAMINE"])
def test_example_18_the_parameter_of_select(account: FakeAccount, command: str) -> None:
    client = ImapClient(ImapServer(account), login=True)
    lines = client.say(f"a {command} INBOX (CONDSTORE)")
    assert lines.count("* OK [HIGHESTMODSEQ 10] Highest mod-sequence") == 1
    account.inbox.set_flags(2, "\\Seen")
    assert client.say("b NOOP")[0] == "* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (11))"


def test_enabled_for_the_connection_and_once(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), login=True)
    client.dialog(
        """
        C: a ENABLE condstore CONDSTORE
        S: * ENABLED CONDSTORE
        S: a OK ENABLE completed
        C: b ENABLE CONDSTORE
        S: * ENABLED
        S: b OK ENABLE completed
        """
    )
    client.say("c SELECT Trash")
    client.say("d SELECT INBOX")
    assert client.say("e STORE 1 +FLAGS (\\Seen)")[0] == "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (11))"


def test_who_has_not_enabled_it_is_told_nothing_of_it(account: FakeAccount) -> None:
    client = SelectedClient(account)
    account.inbox.set_flags(2, "\\Seen")
    assert client.told("NOOP")[0] == "* 2 FETCH (FLAGS (\\Seen))"
    assert client.told("STORE 3 +FLAGS.SILENT \\Seen") == ["a OK STORE completed"]
    assert client.told("UID STORE 3 -FLAGS \\Seen")[0] == "* 3 FETCH (UID 3 FLAGS ())"


def test_example_17_status(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), login=True)
    client.dialog(
        """
        C: A042 STATUS INBOX (UIDNEXT MESSAGES HIGHESTMODSEQ)
        S: * STATUS INBOX (UIDNEXT 10 MESSAGES 9 HIGHESTMODSEQ 10)
        S: A042 OK STATUS completed
        """
    )


def test_closed_when_another_mailbox_is_selected(account: FakeAccount) -> None:
    """3.2.11: what comes before it is of the old mailbox, what comes behind of the new one."""
    client = ImapClient(ImapServer(account), select="INBOX")
    assert client.say("a SELECT Trash")[0] == "* OK [CLOSED] Previous mailbox closed"
    client.say("b CLOSE")
    assert not any("CLOSED" in line for line in client.say("c EXAMINE INBOX"))


# --- FETCH (3.1.4) ----------------------------------------------------------------------------------


def test_example_12_changed_since(account: FakeAccount) -> None:
    account.inbox.set_flags(6, "\\Deleted")
    account.inbox.set_flags(4, "\\Seen")
    client = SelectedClient(account)
    assert client.told("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 10)") == [
        "* OK [HIGHESTMODSEQ 12] Highest mod-sequence",
        "* 4 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (12))",
        "* 6 FETCH (UID 6 FLAGS (\\Deleted) MODSEQ (11))",
        "a OK FETCH completed",
    ]
    assert client.told("FETCH 5:7 (FLAGS) (CHANGEDSINCE 10)") == [
        "* 6 FETCH (FLAGS (\\Deleted) MODSEQ (11))",
        "a OK FETCH completed",
    ]
    assert client.told("FETCH 1:* (UID) (CHANGEDSINCE 12)") == ["a OK FETCH completed"]
    assert client.told("FETCH 8,9 (MODSEQ) (changedsince 0)")[:2] == [
        "* 8 FETCH (MODSEQ (9))",
        "* 9 FETCH (MODSEQ (10))",
    ]


def test_changed_since_with_messages_that_go_meanwhile(account: FakeAccount) -> None:
    client = enabled(account)
    account.inbox.set_flags(4, "\\Seen")
    account.inbox.set_flags(6, "\\Seen")
    account.inbox.expunge_now(2, 4)
    assert client.told("FETCH 1:5,7 FLAGS (CHANGEDSINCE 10)") == [
        "* 6 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (12))",
        "a OK FETCH completed",
    ]
    account.inbox.set_flags(6)
    assert client.told("FETCH 6:9 FLAGS (CHANGEDSINCE 10)") == [
        "* 6 FETCH (FLAGS () MODSEQ (14))",
        "a OK FETCH completed",
    ]


def test_example_13_modseq_item(account: FakeAccount) -> None:
    client = enabled(account)
    assert client.told("FETCH 1:3 (MODSEQ)") == [
        "* 1 FETCH (MODSEQ (2))",
        "* 2 FETCH (MODSEQ (3))",
        "* 3 FETCH (MODSEQ (4))",
        "a OK FETCH completed",
    ]
    assert client.told("UID FETCH 3 MODSEQ")[0] == "* 3 FETCH (UID 3 MODSEQ (4))"
    answer = client.told("FETCH 1 (MODSEQ BODY.PEEK[TEXT])")
    assert answer[0] == "* 1 FETCH (MODSEQ (2) BODY[TEXT] {8}"


def test_reading_that_sets_seen_tells_uid_and_modseq(account: FakeAccount) -> None:
    """3.2.4; a FETCH that changes nothing gives what it was asked for."""
    client = enabled(account)
    assert client.told("FETCH 1 BODY[TEXT]")[0] == (
        "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (11) BODY[TEXT] {8}"
    )
    assert client.told("FETCH 1 BODY[TEXT]")[0] == "* 1 FETCH (BODY[TEXT] {8}"
    assert client.told("FETCH 1 FLAGS")[0] == "* 1 FETCH (FLAGS (\\Seen))"


def test_flags_that_were_fetched_without_modseq_are_told_with_it(account: FakeAccount) -> None:
    client = enabled(account)
    account.inbox.set_flags(1, "\\Seen")
    assert client.told("FETCH 1 FLAGS") == [
        "* 1 FETCH (FLAGS (\\Seen))",
        "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (11))",
        "a OK FETCH completed",
    ]
    account.inbox.set_flags(1)
    assert client.told("FETCH 1 (FLAGS MODSEQ)") == [
        "* 1 FETCH (FLAGS () MODSEQ (12))",
        "a OK FETCH completed",
    ]


def test_many_changes_at_once(account: FakeAccount) -> None:
    """More lines than are made one by one."""
    for _ in range(1500):
        account.inbox.add(b"Subject: x\n\n")
    account.inbox.unclaimed.clear()
    one, other = enabled(account), enabled(account)
    one.told("STORE 1:* +FLAGS.SILENT (\\Seen)")
    told = other.told("NOOP")
    assert told[0] == "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (1511))"
    assert told[-2] == "* 1509 FETCH (UID 1509 FLAGS (\\Seen) MODSEQ (1511))"


# --- STORE (3.1.3) ----------------------------------------------------------------------------------


def test_examples_3_and_4_all_pass(account: FakeAccount) -> None:
    client = enabled(account)
    assert client.told("UID STORE 6,4,8 (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Deleted)") == [
        "* 4 FETCH (UID 4 MODSEQ (11))",
        "* 6 FETCH (UID 6 MODSEQ (11))",
        "* 8 FETCH (UID 8 MODSEQ (11))",
        "a OK STORE completed",
    ]
    assert client.told("STORE * (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Deleted $Processed)")[1:] == [
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Processed \\*)] Flags "
        "permitted",
        "* 9 FETCH (UID 9 MODSEQ (12))",
        "a OK STORE completed",
    ]


def test_example_5_all_that_fail_are_named(account: FakeAccount) -> None:
    """And told as they are now (example 6, 9 and 10)."""
    account.inbox.set_flags(7, "\\Seen", "\\Deleted")
    account.inbox.set_flags(9, "\\Answered")
    client = enabled(account)
    assert client.told("STORE 7,5,9 (UNCHANGEDSINCE 10) +FLAGS.SILENT (\\Deleted)") == [
        "* 5 FETCH (UID 5 MODSEQ (13))",
        "* 7 FETCH (UID 7 FLAGS (\\Deleted \\Seen) MODSEQ (11))",
        "* 9 FETCH (UID 9 FLAGS (\\Answered) MODSEQ (12))",
        "a OK [MODIFIED 7,9] Conditional STORE failed",
    ]
    assert account.inbox.flag_names(9) == {"\\Answered"}


def test_modified_has_uids_where_the_command_had(account: FakeAccount) -> None:
    account.inbox.expunge_now(1, 2)
    account.inbox.set_flags(7, "\\Seen")
    account.inbox.set_flags(8, "\\Seen")
    client = enabled(account)
    by_uid = client.told("UID STORE 6:8 (UNCHANGEDSINCE 10) FLAGS (\\Flagged)")
    assert by_uid[0] == "* 4 FETCH (UID 6 FLAGS (\\Flagged) MODSEQ (14))"
    assert by_uid[-1] == "a OK [MODIFIED 7:8] Conditional STORE failed"
    by_number = client.told("STORE 4:6 (UNCHANGEDSINCE 13) FLAGS (\\Flagged)")
    assert by_number[-1] == "a OK [MODIFIED 4] Conditional STORE failed"


def test_a_message_that_needs_no_change_passes(account: FakeAccount) -> None:
    """3.1.11: its MODSEQ stays; it is told all the same."""
    client = enabled(account)
    client.told("STORE 2 +FLAGS.SILENT (\\Seen)")
    assert client.told("STORE 2 (UNCHANGEDSINCE 11) +FLAGS.SILENT (\\Seen)") == [
        "* 2 FETCH (UID 2 MODSEQ (11))",
        "a OK STORE completed",
    ]
    assert client.told("STORE 2 +FLAGS.SILENT (\\Seen)") == ["a OK STORE completed"]


def test_example_11_some_are_gone(account: FakeAccount) -> None:
    client = enabled(account)
    account.inbox.set_flags(2, "\\Deleted", "\\Answered")
    account.inbox.expunge_now(4, 5, 6, 7)
    assert client.told("STORE 1:7 (UNCHANGEDSINCE 10) +FLAGS (\\Seen)") == [
        "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (13))",
        "* 3 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (13))",
        "* 2 FETCH (UID 2 FLAGS (\\Answered \\Deleted) MODSEQ (11))",
        "a NO [MODIFIED 2] Message no longer exists",
    ]
    assert client.told("NOOP")[:4] == ["* 7 EXPUNGE", "* 6 EXPUNGE", "* 5 EXPUNGE", "* 4 EXPUNGE"]
    assert client.told("STORE 2 (UNCHANGEDSINCE 11) +FLAGS (\\Seen)")[-1] == "a OK STORE completed"


def test_a_message_named_twice_fails_never_for_that(account: FakeAccount) -> None:
    client = enabled(account)
    assert client.told("STORE 7,3:9 (UNCHANGEDSINCE 10) +FLAGS.SILENT (\\Deleted)")[-1] == (
        "a OK STORE completed"
    )


def test_example_14_what_two_sessions_are_told(account: FakeAccount) -> None:
    one, two, plain = enabled(account), enabled(account), SelectedClient(account)
    assert one.told("STORE 7 +FLAGS.SILENT (\\Deleted)") == [
        "* 7 FETCH (UID 7 MODSEQ (11))",
        "a OK STORE completed",
    ]
    assert two.told("NOOP")[0] == "* 7 FETCH (UID 7 FLAGS (\\Deleted) MODSEQ (11))"
    assert plain.told("NOOP")[0] == "* 7 FETCH (FLAGS (\\Deleted))"
    one.told("STORE 7 -FLAGS.SILENT (\\Deleted)")
    one.told("STORE 7 +FLAGS.SILENT (\\Flagged)")
    assert two.told("NOOP") == ["* 7 FETCH (UID 7 FLAGS (\\Flagged) MODSEQ (13))", "a OK NOOP completed"]


# --- SEARCH (3.1.5, 3.1.6) --------------------------------------------------------------------------


def test_examples_15_and_16_search(account: FakeAccount) -> None:
    account.inbox.set_flags(4, "\\Seen")
    client = enabled(account)
    assert client.told('SEARCH MODSEQ "/flags/\\\\draft" all 8') == [
        "* SEARCH 4 7 8 9 (MODSEQ 11)",
        "a OK SEARCH completed",
    ]
    assert client.told("UID SEARCH MODSEQ 8 UNSEEN")[0] == "* SEARCH 7 8 9 (MODSEQ 10)"
    assert client.told("SEARCH OR NOT MODSEQ 2 LARGER 50000") == ["* SEARCH", "a OK SEARCH completed"]
    assert client.told("SEARCH MODSEQ 0 1")[0] == "* SEARCH 1 (MODSEQ 2)"


# --- mailboxes without mod-sequences (3.1.2.2) --------------------------------------------------------


def test_nomodseq(account: FakeAccount) -> None:
    client = ImapClient(ImapServer(account), login=True)
    client.say("a ENABLE CONDSTORE")
    account.inbox.highestmodseq = 0
    lines = client.say("b SELECT INBOX")
    assert any(line.startswith("* OK [NOMODSEQ] ") for line in lines)
    assert not any("HIGHESTMODSEQ" in line for line in lines)
    for command in (
        "FETCH 1 MODSEQ",
        "UID FETCH 1 FLAGS (CHANGEDSINCE 1)",
        "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "SEARCH MODSEQ 1",
    ):
        assert client.say(f"c {command}") == ["c BAD This mailbox has no permanent mod-sequences"]
    account.inbox._changed([2], None)
    assert client.say("d NOOP")[0] == "* 2 FETCH (FLAGS ())"


def test_switched_off() -> None:
    """Nothing of it is told (`imap.without`)."""
    server = ImapServer()
    server.settings.change(imap=Imap((Without(("CONDSTORE",), "it stumbles"),)))
    client = ImapClient(server, select="INBOX")
    assert client.say("a ENABLE CONDSTORE")[0] == "* ENABLED"
    for line in client.say("b SELECT INBOX"):
        assert "CLOSED" not in line and "MODSEQ" not in line


# --- grammar ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "SELECT INBOX ()",
        "SELECT INBOX (CONDSTORE CONDSTORE)",
        "SELECT INBOX (CONDSTORE",
        "SELECT INBOX CONDSTORE",
        "SELECT INBOX (UNKNOWN)",
        "FETCH 1 FLAGS ()",
        "FETCH 1 FLAGS (CHANGEDSINCE)",
        "FETCH 1 FLAGS (CHANGEDSINCE x)",
        "FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
        "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
        "FETCH 1 FLAGS (CHANGEDSINCE 1) x",
        "FETCH 1 FLAGS (VANISHED)",
        "STORE 1 (UNCHANGEDSINCE -1) FLAGS (\\Seen)",
        "STORE 1 (UNCHANGEDSINCE 1)FLAGS (\\Seen)",
        "STORE 1 () FLAGS (\\Seen)",
        "STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 2) FLAGS (\\Seen)",
        "SEARCH MODSEQ",
        "SEARCH MODSEQ 9223372036854775808",
        'SEARCH MODSEQ "/flags/\\\\seen" 1',
        'SEARCH MODSEQ "/flags/\\\\seen" some 1',
        'SEARCH MODSEQ "/comment" all 1',
    ],
)
def test_what_is_no_command(line: str) -> None:
    with pytest.raises(BadSyntax):
        parse_command((b"a " + line.encode(),))


def test_the_largest_mod_sequence_is_one(account: FakeAccount) -> None:
    client = enabled(account)
    largest = 2**63 - 1
    assert client.told(f"STORE 1 (UNCHANGEDSINCE {largest}) FLAGS (\\Seen)")[-1] == "a OK STORE completed"
    assert client.told(f"FETCH 1 FLAGS (CHANGEDSINCE {largest})") == ["a OK FETCH completed"]
    assert client.told(f"SEARCH MODSEQ {largest}") == ["* SEARCH", "a OK SEARCH completed"]


def test_ranges() -> None:
    assert runs([]) == runs(range(3, 3)) == []
    assert runs([0, 1, 2, 5, 7, 8]) == [(0, 3), (5, 6), (7, 9)]
    assert runs(range(2, 9)) == [(2, 9)]
    assert within([(0, 5), (7, 9)], [(1, 2), (3, 8), (8, 20)]) == [(1, 2), (3, 5), (7, 8), (8, 9)]
    assert within([], [(1, 2)]) == within([(1, 2)], [(2, 3)]) == []


def test_example_19_extended_search(account: FakeAccount) -> None:
    """RFC 4731, 3.2: the mod-sequence of what is returned."""
    account.inbox.set_flags(4, "\\Seen")
    client = enabled(account)
    for options, answer in (
        ("MIN", "MIN 4 MODSEQ 11"),
        ("MAX", "MAX 9 MODSEQ 10"),
        ("MIN MAX", "MIN 4 MAX 9 MODSEQ 11"),
        ("MAX COUNT", "MAX 9 COUNT 5 MODSEQ 11"),
        ("ALL", "ALL 4,6:9 MODSEQ 11"),
        ("PARTIAL 2:3", "PARTIAL (2:3 6,7) MODSEQ 8"),
    ):
        told = client.told(f"SEARCH RETURN ({options}) MODSEQ 7")
        assert told == [f'* ESEARCH (TAG "a") {answer}', "a OK SEARCH completed"]
    assert client.told("SEARCH RETURN (ALL) MODSEQ 12")[0] == '* ESEARCH (TAG "a")'


def test_partial_first_then_changed_since(account: FakeAccount) -> None:
    """RFC 9394, 3.4: of the last three of the set those that have changed, in either order."""
    account.inbox.set_flags(2, "\\Seen")
    account.inbox.set_flags(6, "\\Seen")
    client = enabled(account)
    for modifiers in ("PARTIAL -1:-3 CHANGEDSINCE 10", "CHANGEDSINCE 10 PARTIAL -1:-3"):
        assert client.told(f"UID FETCH 1:7 FLAGS ({modifiers})") == [
            "* 6 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (12))",
            "a OK FETCH completed",
        ]
