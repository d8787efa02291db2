"""Several sessions on one mailbox: what each *other* one is told, and when (RFC 3501, 7.4.1; RFC 2180)."""

from __future__ import annotations

import random
import re

import pytest
from twisted.internet.task import Clock

from mailserver.errors import NoSpace
from mailserver.imap.handlers.change import uid_set
from tests.helpers.fake_store import FakeAccount, FakeMailbox
from tests.helpers.imap_session import SelectedClient


@pytest.fixture
def account() -> FakeAccount:
    """Five messages, none recent."""
    made = FakeAccount()
    for number in range(1, 6):
        made.inbox.add(b"Subject: %d\n\ntext %d\n" % (number, number))
    made.inbox.unclaimed.clear()
    return made


def test_H9_no_expunge_during_fetch_store_search(account: FakeAccount) -> None:
    """A is told of B's EXPUNGE at NOOP, or within a UID command, never during the three."""
    a, b = SelectedClient(account), SelectedClient(account)
    b.told("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    assert b.told("EXPUNGE") == ["* 4 EXPUNGE", "* 2 EXPUNGE", "a OK EXPUNGE completed"]

    assert a.told("FETCH 1:5 (UID FLAGS)") == [
        "* 1 FETCH (UID 1 FLAGS ())",
        "* 3 FETCH (UID 3 FLAGS ())",
        "* 5 FETCH (UID 5 FLAGS ())",
        "a NO [EXPUNGEISSUED] Message no longer exists",
    ]
    assert a.told("STORE 5 +FLAGS (\\Flagged)") == ["* 5 FETCH (FLAGS (\\Flagged))", "a OK STORE completed"]
    assert a.told("SEARCH ALL") == ["* SEARCH 1 3 5", "a OK SEARCH completed"]
    assert a.told("SEARCH FLAGGED") == ["* SEARCH 5", "a OK SEARCH completed"]
    assert a.told("NOOP") == ["* 4 EXPUNGE", "* 2 EXPUNGE", "a OK NOOP completed"]

    rows = ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 5)", "a OK FETCH completed"]
    assert a.told("FETCH 1:* UID") == rows
    assert b.told("NOOP") == ["* 3 FETCH (FLAGS (\\Flagged))", "a OK NOOP completed"]
    assert b.told("FETCH 1:* UID") == rows


@pytest.mark.parametrize(
    "command",
    [
        "NOOP",
        "CHECK",
        "UID FETCH 1 UID",
        "UID STORE 1 +FLAGS.SILENT \\Seen",
        "UID SEARCH UID 1",
        "EXPUNGE",
        "COPY 1 Trash",
    ],
)
def test_H9_where_an_expunge_is_told(account: FakeAccount, command: str) -> None:
    a = SelectedClient(account)
    account.inbox.expunge_now(3)

    assert "* 3 EXPUNGE" in a.told(command)


def test_no_expunge_where_the_keys_of_a_search_are_numbers(account: FakeAccount) -> None:
    """RFC 7162, 3.2.10.2: the numbers of the question would mean others afterwards."""
    a = SelectedClient(account)
    account.inbox.expunge_now(3)
    assert a.told("UID SEARCH OR SEEN NOT 4") == ["* SEARCH 1 2 5", "a OK SEARCH completed"]
    assert "* 3 EXPUNGE" in a.told("NOOP")


def test_H10_a_message_that_another_session_expunged(account: FakeAccount) -> None:
    """Never another message's text: NO [EXPUNGEISSUED] by number; by UID just nothing (RFC 2180, 4.1)."""
    a, b = SelectedClient(account), SelectedClient(account)
    b.told("UID STORE 2 +FLAGS.SILENT \\Deleted")
    b.told("UID EXPUNGE 2")

    assert a.told("FETCH 2 BODY.PEEK[TEXT]") == ["a NO [EXPUNGEISSUED] Message no longer exists"]
    assert a.told("FETCH 3 BODY.PEEK[TEXT]")[1] == "text 3"
    assert a.told("STORE 2 +FLAGS \\Seen") == ["a NO [EXPUNGEISSUED] Message no longer exists"]
    assert a.told("COPY 2:3 Trash")[-1] == "a NO [EXPUNGEISSUED] Message no longer exists"
    assert a.told("FETCH 2 BODY.PEEK[TEXT]")[1] == "text 3"  # after the EXPUNGE that COPY told
    assert not account.boxes["Trash"].data


@pytest.mark.parametrize(
    "items", ["BODY.PEEK[TEXT]", "ENVELOPE", "BODY.PEEK[HEADER]", "(FLAGS BODYSTRUCTURE)"]
)
def test_H10_a_message_expunged_while_its_fetch_waits(account: FakeAccount, items: str) -> None:
    account.clock = Clock()
    a = SelectedClient(account)
    account.inbox.at_once = False
    done: list[object] = []
    a.start(f"FETCH 1:3 {items}").addBoth(done.append)
    account.inbox.expunge_now(2)
    for _ in range(10):
        account.clock.advance(0)

    assert done == [None]
    answer = a.wire.take()
    assert b"* 1 FETCH" in answer
    assert b"* 2 FETCH" not in answer
    assert b"* 3 FETCH" in answer
    assert answer.endswith(b"a NO [EXPUNGEISSUED] Message no longer exists\r\n")


def test_H12_new_messages_are_told_before_anything_about_them(account: FakeAccount) -> None:
    a = SelectedClient(account)
    account.inbox.add(b"\nnew\n")
    account.inbox.set_flags(6, "\\Flagged")
    account.inbox.set_flags(1, "\\Seen")

    assert a.told("FETCH 1 UID") == [
        "* 1 FETCH (UID 1)",
        "* 6 EXISTS",
        "* 1 RECENT",
        "* 1 FETCH (FLAGS (\\Seen))",
        "* 6 FETCH (FLAGS (\\Flagged \\Recent))",
        "a OK FETCH completed",
    ]


def test_H12_new_messages_wait_behind_an_expunge_that_may_not_be_told(account: FakeAccount) -> None:
    """EXISTS never falls without EXPUNGE, and never counts what the client cannot number yet."""
    a = SelectedClient(account)
    account.inbox.expunge_now(1, 2)
    account.inbox.add(b"\nnew\n")

    assert a.told("FETCH 3 UID") == ["* 3 FETCH (UID 3)", "a OK FETCH completed"]
    assert a.told("UID FETCH 6 UID") == [
        "* 2 EXPUNGE",
        "* 1 EXPUNGE",
        "* 4 EXISTS",
        "* 1 RECENT",
        "a OK FETCH completed",
    ]
    assert a.told("FETCH 4 (UID FLAGS)")[0] == "* 4 FETCH (UID 6 FLAGS (\\Recent))"


def test_a_message_that_came_and_went_untold_leaves_no_trace(account: FakeAccount) -> None:
    a = SelectedClient(account)
    uid = account.inbox.add(b"\nnew\n")
    account.inbox.expunge_now(uid)
    account.inbox.add(b"\nnewer\n")

    assert a.told("SEARCH ALL") == [
        "* SEARCH 1 2 3 4 5",
        "* 6 EXISTS",
        "* 1 RECENT",
        "a OK SEARCH completed",
    ]
    assert a.told("FETCH 6 UID")[0] == "* 6 FETCH (UID 7)"


def test_store_tells_the_flags_and_others_are_told_too(account: FakeAccount) -> None:
    """The example of RFC 3501, 6.4.6, with two witnesses."""
    a, b, c = SelectedClient(account), SelectedClient(account), SelectedClient(account, read_only=True)

    assert a.told("STORE 2:4 +FLAGS (\\Deleted)") == [
        "* 2 FETCH (FLAGS (\\Deleted))",
        "* 3 FETCH (FLAGS (\\Deleted))",
        "* 4 FETCH (FLAGS (\\Deleted))",
        "a OK STORE completed",
    ]
    told = [f"* {n} FETCH (FLAGS (\\Deleted))" for n in (2, 3, 4)] + ["a OK NOOP completed"]
    assert b.told("NOOP") == told
    assert c.told("NOOP") == told
    assert a.told("NOOP") == ["a OK NOOP completed"]


def test_silent_store_tells_only_what_others_did(account: FakeAccount) -> None:
    a = SelectedClient(account)
    account.inbox.set_flags(5, "\\Seen")

    assert a.told("STORE 1 FLAGS.SILENT (\\Draft)") == [
        "* 5 FETCH (FLAGS (\\Seen))",
        "a OK STORE completed",
    ]
    assert a.told("UID STORE 1,5 -FLAGS (\\Draft)") == [
        "* 1 FETCH (UID 1 FLAGS ())",
        "* 5 FETCH (UID 5 FLAGS (\\Seen))",
        "a OK STORE completed",
    ]


def test_what_fetch_has_just_told_is_not_repeated(account: FakeAccount) -> None:
    a = SelectedClient(account)
    account.inbox.set_flags(2, "\\Seen")

    assert a.told("FETCH 2 FLAGS") == ["* 2 FETCH (FLAGS (\\Seen))", "a OK FETCH completed"]
    assert a.told("NOOP") == ["a OK NOOP completed"]


def test_keywords_are_told_before_their_first_use(account: FakeAccount) -> None:
    a, b = SelectedClient(account), SelectedClient(account)

    told = a.told("STORE 1 +FLAGS ($Junk)")
    assert told[0] == "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk)"
    assert told[2] == "* 1 FETCH (FLAGS ($Junk))"
    assert [line.split()[1] for line in b.told("NOOP")] == ["FLAGS", "OK", "1", "OK"]


def test_too_many_keywords(account: FakeAccount) -> None:
    account.inbox.max_keywords = 1
    a = SelectedClient(account)

    assert a.told("STORE 1 +FLAGS.SILENT (one)")[-1] == "a OK STORE completed"
    assert a.told("STORE 1 +FLAGS (two)") == ["a NO [LIMIT] A limit of this server is reached"]
    assert a.told("STORE 1 -FLAGS (three)")[-1] == "a OK STORE completed"


@pytest.mark.parametrize("line", ["STORE 1 +FLAGS \\Seen", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Trash"])
def test_read_only(account: FakeAccount, line: str) -> None:
    a = SelectedClient(account, read_only=True)

    assert a.told(line) == ["a NO [READ-ONLY] The mailbox is read-only"]
    assert not any(account.inbox.flags)
    assert len(account.inbox.uids) == 5


def test_expunge_tells_from_the_top_and_others_at_their_next_command(account: FakeAccount) -> None:
    a, b = SelectedClient(account), SelectedClient(account)
    a.told("STORE 1:3,5 +FLAGS.SILENT \\Deleted")

    assert a.told("UID EXPUNGE 2:3,99") == ["* 3 EXPUNGE", "* 2 EXPUNGE", "a OK EXPUNGE completed"]
    assert a.told("UID EXPUNGE 99") == ["a OK EXPUNGE completed"]
    assert b.told("EXPUNGE") == [
        "* 5 EXPUNGE",
        "* 3 EXPUNGE",
        "* 2 EXPUNGE",
        "* 1 EXPUNGE",
        "a OK EXPUNGE completed",
    ]
    assert a.told("NOOP") == ["* 3 EXPUNGE", "* 1 EXPUNGE", "a OK NOOP completed"]


def test_close_expunges_in_silence_and_others_are_told(account: FakeAccount) -> None:
    a, b = SelectedClient(account), SelectedClient(account)
    a.told("STORE 1 +FLAGS.SILENT \\Deleted")

    assert a.told("CLOSE") == ["a OK CLOSE completed"]
    assert a.session.selected is None
    assert "* 1 EXPUNGE" in b.told("NOOP")


def test_close_of_a_read_only_mailbox_and_unselect_expunge_nothing(account: FakeAccount) -> None:
    SelectedClient(account).told("STORE 1 +FLAGS.SILENT \\Deleted")

    assert SelectedClient(account, read_only=True).told("CLOSE") == ["a OK CLOSE completed"]
    assert SelectedClient(account).told("UNSELECT") == ["a OK UNSELECT completed"]
    assert len(account.inbox.uids) == 5


def test_copy(account: FakeAccount) -> None:
    """COPYUID (RFC 4315, 3); flags are kept; a session on the target is told."""
    a, b = SelectedClient(account), SelectedClient(account, "Trash")
    a.told("STORE 2 +FLAGS.SILENT (\\Seen $Junk)")
    validity = account.boxes["Trash"].uidvalidity

    assert a.told("COPY 2:3,5 Trash")[-1] == f"a OK [COPYUID {validity} 2:3,5 1:3] COPY completed"
    assert account.boxes["Trash"].flag_names(1) == {"\\Seen", "$Junk"}
    assert "* 3 EXISTS" in b.told("NOOP")
    assert a.told("UID COPY 77 Trash") == ["a OK Nothing to do: no such message"]
    assert a.told("COPY 6 Trash") == ["a BAD No such message number"]
    assert a.told("COPY 1 Nowhere") == ["a NO [TRYCREATE] No such mailbox"]


def test_move(account: FakeAccount) -> None:
    """RFC 6851, 3.3: COPYUID first, then the EXPUNGEs; the other session is told."""
    a, b = SelectedClient(account), SelectedClient(account)
    validity = account.boxes["Archive"].uidvalidity

    assert a.told("MOVE 2,4 Archive") == [
        f"* OK [COPYUID {validity} 2,4 1:2] Moved",
        "* 4 EXPUNGE",
        "* 2 EXPUNGE",
        "a OK MOVE completed",
    ]
    assert b.told("NOOP") == ["* 4 EXPUNGE", "* 2 EXPUNGE", "a OK NOOP completed"]
    assert a.told("UID MOVE 5 Archive")[1] == "* 3 EXPUNGE"
    assert a.told("UID MOVE 5 Archive") == ["a OK Nothing to do: no such message"]
    assert a.told("MOVE 1 Nowhere") == ["a NO [TRYCREATE] No such mailbox"]
    assert list(account.inbox.uids) == [1, 3]


def test_move_to_the_mailbox_itself(account: FakeAccount) -> None:
    a = SelectedClient(account)

    assert a.told("MOVE 1 INBOX")[1:] == ["* 1 EXPUNGE", "* 5 EXISTS", "* 1 RECENT", "a OK MOVE completed"]


@pytest.mark.parametrize("verb", ["COPY", "MOVE"])
def test_H17_copy_and_move_are_all_or_none(account: FakeAccount, verb: str) -> None:
    account.failing = NoSpace()
    a = SelectedClient(account)

    assert a.told(f"{verb} 1:* Trash") == ["a NO [OVERQUOTA] Insufficient system storage"]
    assert len(account.inbox.uids) == 5
    assert not account.boxes["Trash"].data


def test_an_idle_session_is_told_at_once(account: FakeAccount) -> None:
    a = SelectedClient(account)
    a.session.idle = True

    account.inbox.add(b"\nnew\n")
    assert a.wire.take() == b"* 6 EXISTS\r\n* 1 RECENT\r\n"
    account.inbox.expunge_now(2)
    assert a.wire.take() == b"* 2 EXPUNGE\r\n"
    account.inbox.set_flags(3, "\\Seen")
    assert a.wire.take() == b"* 2 FETCH (FLAGS (\\Seen))\r\n"


def test_recent_belongs_to_one_session(account: FakeAccount) -> None:
    """RFC 3501, 2.3.2; a read-only session does not take it away."""
    reader = SelectedClient(account, read_only=True)
    a, b = SelectedClient(account), SelectedClient(account)
    account.inbox.add(b"\nnew\n")

    assert reader.told("NOOP")[:2] == ["* 6 EXISTS", "* 1 RECENT"]
    assert a.told("NOOP")[:2] == ["* 6 EXISTS", "* 1 RECENT"]
    assert b.told("NOOP")[:2] == ["* 6 EXISTS", "* 0 RECENT"]
    assert b.told("SEARCH RECENT")[0] == "* SEARCH"
    assert a.told("SEARCH RECENT")[0] == "* SEARCH 6"


@pytest.mark.parametrize(
    ("uids", "text"), [((1, 2, 3, 7), "1:3,7"), ((5,), "5"), ((4, 2, 3), "4,2:3"), ((), "")]
)
def test_uid_sets(uids: tuple[int, ...], text: str) -> None:
    assert uid_set(uids) == text


# --- model check ----------------------------------------------------------------------------------


class Subjects(dict[int, bytes]):
    """The messages of a mailbox; remembers the subject of every UID that ever was there."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: dict[int, str] = {}

    def __setitem__(self, uid: int, wire: bytes) -> None:
        super().__setitem__(uid, wire)
        self.ever[uid] = wire.split(b"\r\n")[0].decode()[9:]


class Witness:
    """What a client knows: its list of UIDs by number (None: not yet fetched) and their flags."""

    def __init__(self, account: FakeAccount, subjects: dict[int, str]) -> None:
        self.client = SelectedClient(account)
        self.subjects = subjects
        self.errors: list[object] = []
        self.uids: list[int | None] = list(account.inbox.uids)
        self.flags: dict[int, frozenset[str]] = {
            uid: frozenset(account.inbox.flag_names(uid)) for uid in account.inbox.uids
        }
        self.busy = False
        self.line = ""

    def begin(self, line: str) -> None:
        self.busy, self.line = True, line
        self.client.start(line).addCallback(lambda _: self.finish()).addErrback(self.errors.append)

    def finish(self) -> None:
        self.busy = False
        self.read()

    def read(self) -> None:
        by_number = re.match(r"(FETCH|STORE|SEARCH) ", self.line)
        for line in self.client.wire.take().decode("latin-1").split("\r\n"):
            match = re.match(r"\* (\d+) (EXPUNGE|EXISTS|FETCH)(.*)", line)
            if match is None:
                assert not line.startswith("a BAD"), line
                continue
            number, what, rest = int(match[1]), match[2], match[3]
            if what == "EXPUNGE":
                assert not by_number, "EXPUNGE during FETCH, STORE, SEARCH"
                del self.uids[number - 1]
            elif what == "EXISTS":
                assert number >= len(self.uids), "EXISTS fell"
                self.uids += [None] * (number - len(self.uids))
            else:
                self.learn(number, rest)

    def learn(self, number: int, rest: str) -> None:
        assert number <= len(self.uids), "FETCH before EXISTS"
        uid = re.search(r"UID (\d+)", rest)
        if uid is not None:
            known = self.uids[number - 1]
            assert known in (None, int(uid[1])), "another message under this number"
            self.uids[number - 1] = int(uid[1])
        flags = re.search(r"FLAGS \(([^)]*)\)", rest)
        owner = self.uids[number - 1]
        if flags is not None and owner is not None:
            self.flags[owner] = frozenset(flags[1].split()) - {"\\Recent"}
        text = re.search(r'ENVELOPE \(NIL "(\d+)"', rest)
        if text is not None and owner is not None:
            assert text[1] == self.subjects[owner], "another message's text"


FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "$A", "$B"]


def random_line(chance: random.Random, count: int, uidnext: int) -> str:
    def some(limit: int) -> str:
        low = chance.randint(1, max(1, limit))
        return f"{low}:{min(limit, low + chance.randint(0, 4)) or 1}"

    by_uid = chance.random() < 0.5
    numbers = some(uidnext) if by_uid else some(count)
    prefix = "UID " if by_uid else ""
    kind = chance.choice(["FETCH", "FETCH", "STORE", "STORE", "SEARCH", "COPY", "MOVE", "EXPUNGE", "NOOP"])
    if kind == "FETCH":
        return (
            f"{prefix}FETCH {numbers} ({chance.choice(['UID FLAGS', 'UID ENVELOPE', 'FLAGS', 'UID BODY[]'])})"
        )
    if kind == "STORE":
        sign = chance.choice(["", "+", "-"])
        flags = " ".join(chance.sample(FLAGS, chance.randint(0, 2)))
        return f"{prefix}STORE {numbers} {sign}FLAGS ({flags})"
    if kind == "SEARCH":
        return f"{prefix}SEARCH {chance.choice(['ALL', 'SEEN', 'NOT DELETED', 'SUBJECT 1', 'TEXT x'])}"
    if kind in ("COPY", "MOVE"):
        return f"{prefix}{kind} {numbers} {'Trash' if kind == 'MOVE' else 'INBOX'}"
    return kind


@pytest.mark.parametrize("seed", range(25))
def test_H11_random_sessions_agree_with_the_mailbox(seed: int) -> None:
    """Four sessions at once, commands overlapping; afterwards every client knows the mailbox as it is."""
    chance = random.Random(seed)
    account = FakeAccount()
    clock = account.clock = Clock()
    box = account.inbox
    box.data = subjects = Subjects()

    def deliver() -> None:
        box.add(b"Subject: %d\n\nx\n" % box.uidnext)

    for _ in range(6):
        deliver()
    witnesses = [Witness(account, subjects.ever) for _ in range(4)]
    for _ in range(250):
        witness = chance.choice(witnesses)
        if chance.random() < 0.15 or not box.uids:
            deliver()
        elif chance.random() < 0.05:
            box.expunge_now(chance.choice(list(box.uids)))
        elif chance.random() < 0.05:
            box.set_flags(chance.choice(list(box.uids)), *chance.sample(FLAGS, 2))
        elif not witness.busy and witness.uids:
            witness.begin(random_line(chance, len(witness.uids), box.uidnext))
        if chance.random() < 0.5:
            clock.advance(0)
    for _ in range(60):
        clock.advance(0)
    for witness in witnesses:
        assert not witness.busy
        witness.begin("NOOP")
        clock.advance(0)
        assert not witness.errors
        check(witness, box)


def check(witness: Witness, box: FakeMailbox) -> None:
    """Numbers and flags of the client against the mailbox."""
    uids = list(box.uids)
    assert len(witness.uids) == len(uids)
    for known, uid in zip(witness.uids, uids, strict=True):
        assert known in (None, uid)
    for uid in uids:
        if uid in witness.flags:
            assert witness.flags[uid] == frozenset(box.flag_names(uid))
    witness.begin("UID FETCH 1:* UID")
    assert not witness.busy
    assert witness.uids == uids
