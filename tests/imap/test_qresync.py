"""QRESYNC (RFC 7162, 3.2): what a client that comes back is told, VANISHED, HIGHESTMODSEQ, its examples.

Each message's MODSEQ is its UID + 1 at the beginning: 2, 3, 4 …
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailserver.imap.grammar.command import parse_command
from mailserver.imap.grammar.cursor import BadSyntax
from mailserver.imap.resync import absent, matched, vanished_lines
from mailserver.imap.values import QuickResync, Sample, SequenceSet
from tests.helpers.cost import cheaper_than
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.imap_session import SelectedClient

VALIDITY = 1_600_000_001


def filled(count: int) -> FakeAccount:
    made = FakeAccount()
    for _ in range(count):
        made.inbox.add(b"Subject: x\n\n")
    made.inbox.unclaimed.clear()
    return made


@pytest.fixture
def account() -> FakeAccount:
    return filled(9)


def enabled(account: FakeAccount) -> SelectedClient:
    client = SelectedClient(account)
    client.session.enabled |= {"CONDSTORE", "QRESYNC"}
    return client


def connected(account: FakeAccount) -> ImapClient:
    client = ImapClient(ImapServer(account), login=True)
    client.say("e ENABLE QRESYNC")
    return client


def resynced(account: FakeAccount, parameters: str) -> list[str]:
    """What comes between the usual responses of SELECT and the tagged one."""
    lines = connected(account).say(f"s SELECT INBOX (QRESYNC ({VALIDITY} {parameters}))")
    assert lines[-1] == "s OK [READ-WRITE] SELECT completed"
    return [line for line in lines if "VANISHED" in line or "FETCH" in line]


# --- ENABLE (3.2.3) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["QRESYNC", "QRESYNC CONDSTORE", "CONDSTORE QRESYNC"])
def test_enable_qresync_enables_condstore(account: FakeAccount, names: str) -> None:
    client = ImapClient(ImapServer(account), login=True)
    assert client.say(f"a ENABLE {names}") == [f"* ENABLED {names}", "a OK ENABLE completed"]
    client.say("b SELECT INBOX")
    account.inbox.set_flags(2, "\\Seen")
    account.inbox.expunge_now(4)
    assert client.say("c NOOP") == [
        "* VANISHED 4",
        "* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (11))",
        "c OK [HIGHESTMODSEQ 12] NOOP completed",
    ]


def test_bad_without_enable(account: FakeAccount) -> None:
    """And the mailbox that was selected stays so."""
    client = ImapClient(ImapServer(account), select="INBOX")
    client.say("a ENABLE CONDSTORE")
    assert client.say(f"b SELECT Trash (QRESYNC ({VALIDITY} 1))") == ["b BAD QRESYNC is not enabled"]
    assert client.say("c UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)") == ["c BAD QRESYNC is not enabled"]
    assert client.say("d FETCH 1 UID")[-1] == "d OK FETCH completed"


# --- SELECT (3.2.5) ---------------------------------------------------------------------------------


def test_what_has_changed_and_what_has_gone(account: FakeAccount) -> None:
    account.inbox.expunge_now(1, 2, 4)
    account.inbox.set_flags(6, "\\Seen", "\\Answered")
    account.inbox.set_flags(9, "$Forwarded")
    assert resynced(account, "10") == [
        "* VANISHED (EARLIER) 1:2,4",
        "* 3 FETCH (UID 6 FLAGS (\\Answered \\Seen) MODSEQ (12))",
        "* 6 FETCH (UID 9 FLAGS ($Forwarded) MODSEQ (13))",
    ]
    assert resynced(account, "11")[0] == "* 3 FETCH (UID 6 FLAGS (\\Answered \\Seen) MODSEQ (12))"
    assert resynced(account, "10 3:4,9") == [
        "* VANISHED (EARLIER) 4",
        "* 6 FETCH (UID 9 FLAGS ($Forwarded) MODSEQ (13))",
    ]
    assert resynced(account, "13") == resynced(account, "14 1:4294967295") == []


def test_another_uidvalidity_and_no_mod_sequences(account: FakeAccount) -> None:
    """The remaining parameters mean nothing then."""
    account.inbox.expunge_now(2)
    client = connected(account)
    lines = client.say("a SELECT INBOX (QRESYNC (67890007 1 1:5))")
    assert not any("VANISHED" in line or "FETCH" in line for line in lines)
    account.inbox.highestmodseq = 0
    lines = client.say(f"b EXAMINE INBOX (QRESYNC ({VALIDITY} 1 1:5))")
    assert lines[0] == "* OK [CLOSED] Previous mailbox closed"
    assert any("[NOMODSEQ]" in line for line in lines)
    assert not any("VANISHED" in line or "FETCH" in line for line in lines)
    account.inbox.listeners[-1].messages_removed([3], None)
    assert client.say("c NOOP")[0] == "* 2 EXPUNGE"


def test_an_empty_mailbox(account: FakeAccount) -> None:
    assert resynced(FakeAccount(), "1") == []
    account.inbox.expunge_now(*range(1, 10))
    assert resynced(account, "10") == ["* VANISHED (EARLIER) 1:9"]
    account.inbox.floor = 11
    assert resynced(account, "10") == ["* VANISHED (EARLIER) 1:9"]
    assert resynced(account, "10 20:30") == []


def test_what_is_forgotten_may_all_have_gone(account: FakeAccount) -> None:
    """3.2.6: below the floor every UID that is no message is told."""
    account.inbox.expunge_now(2, 9)
    account.inbox.expunge_now(5)
    account.inbox.floor = 11
    assert resynced(account, "10")[0] == "* VANISHED (EARLIER) 2,5,9"
    assert resynced(account, "10 1:2,4:4294967295")[0] == "* VANISHED (EARLIER) 2,5,9"
    assert resynced(account, "11")[0] == "* VANISHED (EARLIER) 5"


def every_third() -> FakeAccount:
    """The example of 3.2.5.2: UIDs that three divides are left, and the server remembers nothing."""
    account = filled(36)
    account.inbox.expunge_now(*(uid for uid in range(1, 37) if uid % 3))
    account.inbox.floor = account.inbox.highestmodseq
    return account


def test_sequence_match_data() -> None:
    account = every_third()
    everything = resynced(account, "5 1:29")[0]
    assert everything == "* VANISHED (EARLIER) " + ",".join(f"{n}:{n + 1}" for n in range(1, 30, 3))
    # numbers 5, 7 and 9:10 are known with their UIDs 15, 21 and 27, 30
    assert "VANISHED" not in "".join(resynced(account, "5 1:29 (5,7,9:10 15,21,27,30)"))
    # number 7 has another UID: what is above number 5 is told
    told = resynced(account, "5 1:29 (5,7 15,22)")[0]
    assert told == "* VANISHED (EARLIER) 16:17,19:20,22:23,25:26,28:29"
    assert resynced(account, "5 (1:2 1:2)")[0].startswith("* VANISHED (EARLIER) 1:2,4:5,")


def test_the_greatest_pair_that_fits_is_found() -> None:
    """As by looking at every one of them."""
    chance = random.Random(7)
    for _ in range(300):
        account = filled(20)
        account.inbox.expunge_now(*chance.sample(range(1, 21), chance.randrange(1, 15)))
        view = SelectedClient(account).view
        samples, number, uid = [], 0, 0
        for _ in range(3):
            number += chance.randrange(1, 4)
            uid = max(uid, number) + chance.randrange(0, 6)
            samples.append(Sample(number, uid, chance.randrange(1, 5)))
            number, uid = number + samples[-1].count, uid + samples[-1].count
        pairs = [(s.number + n, s.uid + n) for s in samples for n in range(s.count)]
        known = dict(enumerate(account.inbox.uids, 1))
        expected = max((uid for number, uid in pairs if known.get(number) == uid), default=0)
        assert matched(view, samples) == expected


def test_a_huge_sample_costs_nothing() -> None:
    account = filled(2000)
    client = SelectedClient(account)
    huge = [Sample(1, 2, 2**32 - 3), Sample(2**32 - 1, 2**32 - 1, 1)]
    with cheaper_than(0.05):
        assert matched(client.view, huge) == 0
    assert matched(client.view, [Sample(1, 1, 2**32 - 1)]) == 2000


def test_messages_that_go_while_the_answer_is_made(account: FakeAccount) -> None:
    """They have a number that the client was just told: not EARLIER."""
    account.inbox.expunge_now(2)
    client = connected(account)
    answer: Deferred[list[int]] = Deferred()
    account.inbox.expunged_since = lambda modseq: answer  # type: ignore[method-assign]
    assert "* 8 EXISTS" in client.say(f"s SELECT INBOX (QRESYNC ({VALIDITY} 10))")
    account.inbox.expunge_now(3)
    account.inbox.add(b"Subject: new\n\n")
    account.inbox.expunge_now(10)
    answer.callback([2, 3, 10])
    client.server.settle()
    told = client.take().decode().splitlines()
    assert [line for line in told if "VANISHED" in line] == ["* VANISHED (EARLIER) 2", "* VANISHED 3"]
    assert told[-2:] == [
        "* OK [HIGHESTMODSEQ 14] Highest mod-sequence",
        "s OK [READ-WRITE] SELECT completed",
    ]


# --- UID FETCH (3.2.6) ------------------------------------------------------------------------------


def test_vanished_modifier(account: FakeAccount) -> None:
    account.inbox.expunge_now(1, 2, 5)
    account.inbox.set_flags(4, "\\Seen")
    client = enabled(account)
    assert client.told("UID FETCH 2:8 (FLAGS) (CHANGEDSINCE 10 VANISHED)") == [
        "* VANISHED (EARLIER) 2,5",
        "* 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (12))",
        "a OK FETCH completed",
    ]
    assert client.told("UID FETCH 1:* (FLAGS) (VANISHED CHANGEDSINCE 11)")[0].startswith("* 2 FETCH")


def test_star_reaches_beyond_the_last_message(account: FakeAccount) -> None:
    """What was the last message when the client last looked has gone."""
    account.inbox.expunge_now(8, 9)
    client = enabled(account)
    assert client.told("UID FETCH 5:* FLAGS (CHANGEDSINCE 10 VANISHED)")[0] == "* VANISHED (EARLIER) 8:9"


def test_earlier_is_never_said_of_messages_with_a_number(account: FakeAccount) -> None:
    """3.2.10.2: neither of those that are to be told as gone, nor of those that are not known yet."""
    account.inbox.expunge_now(2)
    client = enabled(account)
    account.inbox.expunge_now(4)
    account.inbox.add(b"Subject: new\n\n")
    for floor in (1, account.inbox.highestmodseq):
        account.inbox.floor = floor
        assert absent(client.view, None if floor > 1 else [2, 4], 11) == [(2, 3)]
    assert client.told("UID FETCH 1:* FLAGS (CHANGEDSINCE 10 VANISHED)") == [
        "* VANISHED (EARLIER) 2",
        "* VANISHED 4",
        "* 8 EXISTS",
        "* 1 RECENT",
        "a OK [HIGHESTMODSEQ 13] FETCH completed",
    ]


def test_long_answers_come_in_several_lines() -> None:
    lines = list(vanished_lines([(uid, uid + 1) for uid in range(1, 3000, 2)]))
    assert len(lines) == 3 and all(len(line) < 8192 for line in lines)
    assert lines[0].startswith(b"* VANISHED (EARLIER) 1,3,5,") and lines[2].endswith(b",2999\r\n")


# --- EXPUNGE and the like (3.2.7 to 3.2.10) -----------------------------------------------------------


def test_expunge(account: FakeAccount) -> None:
    client, other = enabled(account), enabled(account)
    client.told("STORE 3,4,7 +FLAGS.SILENT (\\Deleted)")
    assert client.told("EXPUNGE") == ["* VANISHED 3:4,7", "a OK [HIGHESTMODSEQ 12] EXPUNGE completed"]
    assert client.told("EXPUNGE") == ["a OK EXPUNGE completed"]
    assert other.told("NOOP")[0] == "* VANISHED 3:4,7"
    client.told("UID STORE 8 +FLAGS.SILENT (\\Deleted)")
    assert client.told("UID EXPUNGE 8") == ["* VANISHED 8", "a OK [HIGHESTMODSEQ 14] EXPUNGE completed"]
    assert client.told("FETCH 3:5 UID") == [
        "* 3 FETCH (UID 5)",
        "* 4 FETCH (UID 6)",
        "* 5 FETCH (UID 9)",
        "a OK FETCH completed",
    ]


def test_move(account: FakeAccount) -> None:
    client = enabled(account)
    assert client.told("MOVE 2:3 Trash") == [
        "* OK [COPYUID 1600000005 2:3 1:2] Moved",
        "* VANISHED 2:3",
        "a OK [HIGHESTMODSEQ 11] MOVE completed",
    ]


def test_close_tells_no_modseq(account: FakeAccount) -> None:
    """3.2.8: the client would take it for all that it was not told of."""
    client = connected(account)
    client.say("a SELECT INBOX")
    client.say("b STORE 1 +FLAGS (\\Deleted)")
    assert client.say("c CLOSE") == ["c OK CLOSE completed"]


def test_the_example_of_section_6(account: FakeAccount) -> None:
    """An EXPUNGE that may not be told yet has a lower MODSEQ than what is told."""
    client = enabled(account)
    account.inbox.set_flags(3, "\\Flagged")
    client.told("NOOP")
    account.inbox.set_flags(3, "\\Draft")
    account.inbox.expunge_now(8)
    assert client.told("STORE 1:3 (UNCHANGEDSINCE 11) +FLAGS.SILENT (\\Seen)") == [
        "* 1 FETCH (UID 1 MODSEQ (14))",
        "* 2 FETCH (UID 2 MODSEQ (14))",
        "* 3 FETCH (UID 3 FLAGS (\\Draft) MODSEQ (12))",
        "* OK [HIGHESTMODSEQ 11] Highest mod-sequence",
        "a OK [MODIFIED 3] Conditional STORE failed",
    ]
    assert client.told("STORE 3 +FLAGS.SILENT (\\Seen)") == [
        "* 3 FETCH (UID 3 MODSEQ (15))",
        "a OK [HIGHESTMODSEQ 11] STORE completed",
    ]
    assert client.told("NOOP") == ["* VANISHED 8", "a OK [HIGHESTMODSEQ 15] NOOP completed"]
    assert client.told("NOOP") == ["a OK NOOP completed"]


def test_idle(account: FakeAccount) -> None:
    client = connected(account)
    client.say("a SELECT INBOX")
    client.say("b IDLE")
    account.inbox.expunge_now(3, 5)
    client.server.settle()
    assert client.take().decode().splitlines() == [
        "* VANISHED 3,5",
        "* OK [HIGHESTMODSEQ 11] Highest mod-sequence",
    ]


# --- grammar ----------------------------------------------------------------------------------------


def parsed(parameters: str) -> Any:
    return parse_command((f"a SELECT INBOX ({parameters})".encode(),)).qresync  # type: ignore[attr-defined]


def test_the_parameters() -> None:
    assert parsed("QRESYNC (1 2)") == QuickResync(1, 2)
    assert parsed("condstore qresync (1 2 3:4)") == QuickResync(1, 2, SequenceSet(((3, 4),)))
    assert parsed("QRESYNC (1 2 (1,3:5 7:9,12))") == QuickResync(
        1, 2, None, (Sample(1, 7, 1), Sample(3, 8, 2), Sample(5, 12, 1))
    )
    assert parsed("QRESYNC (1 9223372036854775807 2 (1:4294967295 1:4294967295)) CONDSTORE").samples == (
        Sample(1, 1, 2**32 - 1),
    )


@pytest.mark.parametrize(
    "parameters",
    [
        "QRESYNC",
        "QRESYNC ()",
        "QRESYNC (1)",
        "QRESYNC (0 1)",
        "QRESYNC (1 0)",
        "QRESYNC (1 2 )",
        "QRESYNC (1 2 3 )",
        "QRESYNC (1 2 3:*)",
        "QRESYNC (1 2 $)",
        "QRESYNC (1 2 3 4)",
        "QRESYNC (1 2 (1 2) 3)",
        "QRESYNC (1 2 (1))",
        "QRESYNC (1 2 (1:2 3))",
        "QRESYNC (1 2 (2,1 3,4))",
        "QRESYNC (1 2 (2:1 3:4))",
        "QRESYNC (1 2 (1,2 4,4))",
        "QRESYNC (1 2 (1:* 4:5))",
        "QRESYNC (1 2) QRESYNC (1 2)",
        "QRESYNC (1 9223372036854775808)",
    ],
)
def test_what_are_no_parameters(parameters: str) -> None:
    with pytest.raises(BadSyntax):
        parsed(parameters)


@pytest.mark.parametrize("line", ["FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH 1 FLAGS (VANISHED)"])
def test_what_is_no_fetch(line: str) -> None:
    with pytest.raises(BadSyntax):
        parse_command((f"a {line}".encode(),))
