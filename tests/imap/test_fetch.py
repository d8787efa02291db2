"""FETCH: every item, sections and partials, \\Seen, slices and back-pressure."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.internet.task import Clock

import mailserver.imap.handlers.rows as handler
from mailserver.errors import TemporaryFailure
from mailserver.imap.fetch import Plan, compile_plan, date_times, header_cutter
from mailserver.imap.grammar.command import parse_command
from mailserver.imap.handlers.batches import batch
from mailserver.imap.handlers.stored import Stored
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_session import SelectedClient
from tests.helpers.store import now

MESSAGE = b"""\
From: Fred Foobar <foobar@Blurdybloop.COM>
Subject: afternoon
 meeting
To: mooch@owatagu.siam.edu
Message-Id: <B27397-0100000@Blurdybloop.COM>
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Hello Joe
--b
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/mixed; boundary=c

--c
X-Part: 2.1

two one
--c--
--b--
"""
WIRE = MESSAGE.replace(b"\n", b"\r\n")
HEADER = WIRE[: WIRE.index(b"\r\n\r\n") + 4]


@pytest.fixture
def account() -> FakeAccount:
    made = FakeAccount()
    made.inbox.add(MESSAGE, ["\\Seen"], date=837596665)
    made.inbox.unclaimed.clear()
    return made


@pytest.fixture
def client(account: FakeAccount) -> SelectedClient:
    return SelectedClient(account)


def literal(answer: bytes) -> bytes:
    """The one literal of an answer, of just the length announced, the row ended behind it."""
    match = re.search(rb"\{(\d+)\}\r\n", answer)
    assert match is not None
    end = match.end() + int(match[1])
    assert answer[end:] == b")\r\na OK FETCH completed\r\n"
    return answer[match.end() : end]


def test_flags_and_uid(client: SelectedClient) -> None:
    assert client.told("FETCH 1 FLAGS") == ["* 1 FETCH (FLAGS (\\Seen))", "a OK FETCH completed"]
    assert client.told("FETCH 1 (FLAGS UID)")[0] == "* 1 FETCH (UID 1 FLAGS (\\Seen))"
    assert client.told("UID FETCH 1 FLAGS")[0] == "* 1 FETCH (UID 1 FLAGS (\\Seen))"
    assert client.told("FETCH 1 UID")[0] == "* 1 FETCH (UID 1)"
    assert client.told("UID FETCH 1 UID")[0] == "* 1 FETCH (UID 1)"


def test_fast(client: SelectedClient) -> None:
    assert client.told("FETCH 1 FAST")[0] == (
        f'* 1 FETCH (FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE {len(WIRE)})'
    )


def test_full(client: SelectedClient) -> None:
    fred = '(("Fred Foobar" NIL "foobar" "Blurdybloop.COM"))'
    text = '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 0)'
    inner = '(NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL)'
    assert client.told("FETCH 1 FULL")[0].endswith(
        f' RFC822.SIZE {len(WIRE)} ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800 (PST)" "afternoon meeting" '
        f'{fred} {fred} {fred} ((NIL NIL "mooch" "owatagu.siam.edu")) NIL NIL NIL '
        f'"<B27397-0100000@Blurdybloop.COM>") BODY ({text}("message" "rfc822" NIL NIL NIL "7bit" 95 '
        f'{inner} (("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 0) "mixed") 7) "mixed"))'
    )


def test_flags_after_other_items(client: SelectedClient) -> None:
    answer = client.told("FETCH 1 (BODYSTRUCTURE INTERNALDATE UID)")[0]

    assert answer.startswith('* 1 FETCH (UID 1 INTERNALDATE "17-Jul-1996 09:44:25 +0000" BODYSTRUCTURE ((')
    assert answer.endswith('"mixed" ("boundary" "b") NIL NIL NIL))')


@pytest.mark.parametrize(
    ("item", "label", "expected"),
    [
        ("BODY.PEEK[]", "BODY[]", WIRE),
        ("RFC822", "RFC822", WIRE),
        ("RFC822.HEADER", "RFC822.HEADER", HEADER),
        ("RFC822.TEXT", "RFC822.TEXT", WIRE[len(HEADER) :]),
        ("BODY[HEADER]", "BODY[HEADER]", HEADER),
        ("BODY[TEXT]", "BODY[TEXT]", WIRE[len(HEADER) :]),
        ("BODY[1]", "BODY[1]", b"Hello Joe"),
        ("BODY[1.MIME]", "BODY[1.MIME]", b"Content-Type: text/plain\r\n\r\n"),
        ("BODY[2.MIME]", "BODY[2.MIME]", b"Content-Type: message/rfc822\r\n\r\n"),
        ("BODY[2.HEADER]", "BODY[2.HEADER]",
         b"Subject: inner\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"),
        ("BODY[2.TEXT]", "BODY[2.TEXT]", b"--c\r\nX-Part: 2.1\r\n\r\ntwo one\r\n--c--"),
        ("BODY[2.1]", "BODY[2.1]", b"two one"),
        ("BODY[2.1.MIME]", "BODY[2.1.MIME]", b"X-Part: 2.1\r\n\r\n"),
        ("BODY[HEADER.FIELDS (subject X-None to)]", "BODY[HEADER.FIELDS (subject X-None to)]",
         b"Subject: afternoon\r\n meeting\r\nTo: mooch@owatagu.siam.edu\r\n\r\n"),
        ("BODY[HEADER.FIELDS (X-None)]", "BODY[HEADER.FIELDS (X-None)]", b"\r\n"),
        ("BODY[2.HEADER.FIELDS (SUBJECT)]", "BODY[2.HEADER.FIELDS (SUBJECT)]", b"Subject: inner\r\n\r\n"),
        ("BODY[HEADER.FIELDS.NOT (From Subject To Date Message-Id)]",
         "BODY[HEADER.FIELDS.NOT (From Subject To Date Message-Id)]",
         b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"),
        ("BODY[]<5.10>", "BODY[]<5>", WIRE[5:15]),
        ("BODY[]<0.99999>", "BODY[]<0>", WIRE),
        ("BODY[]<99999.5>", "BODY[]<99999>", b""),
        ("BODY[1]<6.3>", "BODY[1]<6>", b"Joe"),
        ("BODY[HEADER.FIELDS (SUBJECT)]<9.9>", "BODY[HEADER.FIELDS (SUBJECT)]<9>", b"afternoon"),
        ("BODY[HEADER]<0.4>", "BODY[HEADER]<0>", b"From"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["memory", "disk", "large"])
def test_contents(account: FakeAccount, how: str, item: str, label: str, expected: bytes) -> None:
    """The same octets whether the message is at hand, must be waited for, or is streamed."""
    if how == "disk":
        account.clock = Clock()
        account.inbox.at_once = False
    elif how == "large":
        account.inbox.at_once = False
        account.inbox.keep_header = 10
    client = SelectedClient(account)
    if how == "large":
        small, handler.SMALL = handler.SMALL, 16
        try:
            answer = client.raw(f"FETCH 1 {item}")
        finally:
            handler.SMALL = small
    else:
        answer = client.raw(f"FETCH 1 {item}")

    assert answer.startswith(f"* 1 FETCH ({label} {{".encode())
    assert literal(answer) == expected
    assert account.open_files == 0


@pytest.mark.parametrize(
    "item", ["BODY[3]", "BODY[1.1]", "BODY[1.HEADER]", "BODY[2.1.TEXT]", "BODY[2.2.MIME]"]
)
def test_a_part_that_does_not_exist_is_nil(client: SelectedClient, item: str) -> None:
    assert client.told(f"FETCH 1 {item}") == [f"* 1 FETCH ({item} NIL)", "a OK FETCH completed"]


def test_several_contents_in_one_row(client: SelectedClient) -> None:
    assert client.raw("FETCH 1 (BODY[1] RFC822.SIZE BODY[2.1] BODY[1])") == (
        b"* 1 FETCH (RFC822.SIZE %d BODY[1] {9}\r\nHello Joe BODY[2.1] {7}\r\ntwo one)\r\n"
        b"a OK FETCH completed\r\n" % len(WIRE)
    )


def test_header_and_body_in_one_row(client: SelectedClient) -> None:
    assert client.raw("UID FETCH 1 (BODY[1] BODY[HEADER.FIELDS (Subject)])") == (
        b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (Subject)] {32}\r\nSubject: afternoon\r\n meeting\r\n\r\n"
        b" BODY[1] {9}\r\nHello Joe)\r\na OK FETCH completed\r\n"
    )


def test_reading_sets_seen_once_and_tells_it(account: FakeAccount) -> None:
    """RFC 3501, 6.4.5: BODY[…] sets \\Seen, BODY.PEEK[…] does not; others are told."""
    account.inbox.add(b"\nx\n")
    account.inbox.unclaimed.clear()
    client, other = SelectedClient(account), SelectedClient(account)

    assert client.told("FETCH 2 BODY.PEEK[TEXT]") == [
        "* 2 FETCH (BODY[TEXT] {3}",
        "x",
        ")",
        "a OK FETCH completed",
    ]
    assert account.inbox.flag_names(2) == set()
    assert client.told("FETCH 2 BODY[TEXT]")[0] == "* 2 FETCH (FLAGS (\\Seen) BODY[TEXT] {3}"
    assert account.inbox.flag_names(2) == {"\\Seen"}
    assert client.told("FETCH 2 BODY[TEXT]")[0] == "* 2 FETCH (BODY[TEXT] {3}"
    assert client.told("NOOP") == ["a OK NOOP completed"]
    assert other.told("NOOP") == ["* 2 FETCH (FLAGS (\\Seen))", "a OK NOOP completed"]


def test_reading_in_a_read_only_mailbox_leaves_seen_alone(account: FakeAccount) -> None:
    account.inbox.add(b"\nx\n")
    client = SelectedClient(account, read_only=True)
    client.told("FETCH 2 BODY[TEXT]")

    assert account.inbox.flag_names(2) == set()


def test_a_new_keyword_is_announced_before_the_row_that_has_it(account: FakeAccount) -> None:
    client = SelectedClient(account)
    account.inbox.set_flags(1, "$Forwarded")

    assert client.told("FETCH 1 FLAGS") == [
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)",
        "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)]"
        " Flags permitted",
        "* 1 FETCH (FLAGS ($Forwarded))",
        "a OK FETCH completed",
    ]


def test_recent(account: FakeAccount) -> None:
    account.inbox.add(b"\nx\n")
    client, other = SelectedClient(account), SelectedClient(account)

    assert client.told("FETCH 1:2 FLAGS")[:2] == [
        "* 1 FETCH (FLAGS (\\Seen))",
        "* 2 FETCH (FLAGS (\\Recent))",
    ]
    assert other.told("FETCH 2 FLAGS")[0] == "* 2 FETCH (FLAGS ())"


def test_sets(account: FakeAccount) -> None:
    for _ in range(9):
        account.inbox.add(b"\nx\n")
    account.inbox.expunge_now(3, 4)
    client = SelectedClient(account)

    def numbers(line: str) -> list[int]:
        return [int(row.split()[1]) for row in client.told(line)[:-1]]

    assert numbers("FETCH 1,3:4,2,*,4 UID") == [1, 2, 3, 4, 8]
    assert numbers("FETCH 6:* UID") == numbers("FETCH *:6 UID") == [6, 7, 8]
    assert numbers("UID FETCH 2:5 UID") == [2, 3]
    assert numbers("UID FETCH 100:* UID") == [8]
    assert numbers("UID FETCH 3:4,77 UID") == []
    assert client.told("FETCH 9 UID") == ["a BAD No such message number"]
    assert client.told("FETCH 1,9:10 UID") == ["a BAD No such message number"]


def test_fetch_on_an_empty_mailbox() -> None:
    client = SelectedClient(FakeAccount())

    assert client.told("UID FETCH 1:* FLAGS") == ["a OK FETCH completed"]
    assert client.told("FETCH 1:* FLAGS") == ["a OK FETCH completed"]
    assert client.told("FETCH 1 FLAGS") == ["a BAD No such message number"]


def test_H3_huge_sets(account: FakeAccount) -> None:
    for _ in range(50):
        account.inbox.add(b"\nx\n")
    client = SelectedClient(account)
    odd = ",".join(str(number) for number in range(1, 16_000, 2))

    assert len(client.told("FETCH 1:4294967295 UID")) == 52
    assert len(client.told("UID FETCH *:1 UID")) == 52
    assert len(client.told(f"UID FETCH {odd} UID")) == 27


def test_E6_a_client_that_does_not_read_stops_production(account: FakeAccount) -> None:
    """At most one slice is produced after the output is full; the rest follows when it drains."""
    for _ in range(200):
        account.inbox.add(b"\n" + b"x" * 75 + b"\n" + b"y" * 9000)
    client = SelectedClient(account)
    client.wire.stalled = True
    done: list[object] = []
    client.start("FETCH 1:* BODY.PEEK[]").addBoth(done.append)

    first = sum(map(len, client.wire.sent))
    assert not done
    assert first < 200_000
    for _ in range(100):
        client.wire.drain()
    assert done == [None]
    answer = client.wire.take()
    assert answer.count(b"FETCH (BODY[] {") == 201
    assert client.wire.largest < 300_000
    assert account.open_files == 0


def test_E6_a_client_that_goes_ends_the_fetch(account: FakeAccount) -> None:
    account.inbox.add(b"\n" + b"y" * 3_000_000)
    client = SelectedClient(account)
    client.wire.stalled = True
    done: list[object] = []
    client.start("FETCH 2 BODY.PEEK[]").addErrback(lambda failure: done.append(failure.type.__name__))
    client.wire.lose()

    assert done == ["ConnectionLost"]
    assert account.open_files == 0


def test_a_disk_that_fails_within_a_literal_ends_the_connection(account: FakeAccount) -> None:
    """No tagged reply may stand where the client reads a message."""
    account.inbox.add(b"\n" + b"y" * 2_000_000)
    client = SelectedClient(account)
    client.wire.failing = TemporaryFailure()

    answer = client.raw("FETCH 1:2 BODY.PEEK[]")
    assert client.wire.closed
    assert answer.startswith(b"* 1 FETCH (BODY[] {")
    assert answer.endswith(b"* 2 FETCH (BODY[] {2000002}\r\n")
    assert account.open_files == 0


def test_a_large_message_is_streamed_and_its_parts_cut_out(account: FakeAccount) -> None:
    big = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + b"x" * 2_000_000 + b"\n--b\n\nend\n--b--\n"
    )
    account.inbox.add(big)
    client = SelectedClient(account)

    assert literal(client.raw("FETCH 2 BODY.PEEK[]")) == big.replace(b"\n", b"\r\n")
    assert literal(client.raw("FETCH 2 BODY.PEEK[2]")) == b"end"
    assert literal(client.raw("FETCH 2 BODY.PEEK[1]<1999990.50>")) == b"x" * 10
    assert client.raw("FETCH 2 (BODY.PEEK[3] BODY.PEEK[2.MIME])").startswith(
        b"* 2 FETCH (BODY[3] NIL BODY[2.MIME] {2}\r\n\r\n)\r\n"
    )


def test_rows_are_the_same_in_every_batch_size(account: FakeAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        account.inbox.add(b"Subject: %d\n\nx\n" % number, ["\\Flagged"] if number % 3 else [])
    account.inbox.unclaimed.clear()
    for items in (
        "(UID FLAGS)",
        "(FLAGS ENVELOPE RFC822.SIZE)",
        "(UID BODY.PEEK[TEXT] ENVELOPE)",
        "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODYSTRUCTURE ENVELOPE)",
    ):
        whole = SelectedClient(account).raw(f"FETCH 1:7,9,11:* {items}")
        monkeypatch.setattr(handler, "ARRAY_ROWS", 4)
        monkeypatch.setattr(handler, "CACHED_ROWS", 5)
        monkeypatch.setattr(handler, "CONTENT_ROWS", 3)
        assert SelectedClient(account).raw(f"FETCH 1:7,9,11:* {items}") == whole
        monkeypatch.undo()


def test_what_is_looked_for_ahead_is_of_the_messages_that_are_there(account: FakeAccount) -> None:
    for number in range(5):
        account.inbox.add(b"Subject: s%d\n\nx\n" % number)
    view = SelectedClient(account).session.mailbox
    stored = Stored(view, Plan(cached=("ENVELOPE",)))
    uids = list(account.inbox.uids)
    stored.look_ahead(range(3, 6))
    assert now(stored.values("ENVELOPE", batch(view, range(3, 6)).uids)) == now(
        account.inbox.rendered("ENVELOPE", uids[3:6])
    )
    stored.look_ahead(range(3, 6))
    now(account.inbox.remove([uids[4]], None))
    left = batch(view, range(3, 6)).uids
    assert list(left) == [uids[3], uids[5]]
    assert now(stored.values("ENVELOPE", left)) == now(account.inbox.rendered("ENVELOPE", left))
    stored.look_ahead(range(3, 6))
    stored.forget()


def test_nothing_is_asked_for_twice(account: FakeAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        account.inbox.add(b"Subject: s%d\n\nx\n" % number)
    monkeypatch.setattr(handler, "CACHED_ROWS", 3)
    asked: list[tuple[str, int]] = []
    rendered, cut_headers = account.inbox.rendered, account.inbox.cut_headers

    def noted(item: str, uids: Any, make: bool = True) -> Any:
        asked.extend((item, uid) for uid in uids)
        return rendered(item, uids, make)

    def noted_cut(name: str, cut: Any, uids: Any) -> Any:
        asked.extend((name, uid) for uid in uids)
        return cut_headers(name, cut, uids)

    monkeypatch.setattr(account.inbox, "rendered", noted)
    monkeypatch.setattr(account.inbox, "cut_headers", noted_cut)
    count = len(account.inbox.uids)
    SelectedClient(account).raw(
        "FETCH 1:* (ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER.FIELDS (TO)])"
    )
    assert len(asked) == len(set(asked)) == 3 * count


def test_dates() -> None:
    assert date_times(b"INTERNALDATE", [0, 86399, 825638400, -1], b"")[:3] == [
        b'INTERNALDATE " 1-Jan-1970 00:00:00 +0000"',
        b'INTERNALDATE " 1-Jan-1970 23:59:59 +0000"',
        b'INTERNALDATE " 1-Mar-1996 00:00:00 +0000"',
    ]
    assert date_times(b"INTERNALDATE", [10**15], b" ") == [b'INTERNALDATE " 1-Jan-1970 01:46:40 +0000" ']


def test_field_names_with_specials_are_sent_back_quoted() -> None:
    plan = compile_plan(parse_command((b'a FETCH 1 BODY.PEEK[HEADER.FIELDS ("a b" X-c)]',)).items, False)  # type: ignore[attr-defined]

    assert plan.headers[0].label == b'BODY[HEADER.FIELDS ("a b" X-c)]'


def test_cutting_fields_from_odd_headers() -> None:
    cut = header_cutter((b"A", b"b.c"), False)

    assert (
        cut(b"a: 1\r\nab: 2\r\nA : 3\r\nb.c:\r\n\t4\r\nbxc: 5\r\n\r\n")
        == b"a: 1\r\nA : 3\r\nb.c:\r\n\t4\r\n\r\n"
    )
    assert cut(b"a: 1") == b"a: 1\r\n\r\n"
    assert cut(b"") == b"\r\n"
    rest = header_cutter((b"A",), True)
    assert rest(b"a: 1\r\n x\r\nab: 2\r\n y\r\n\r\n") == b"ab: 2\r\n y\r\n\r\n"
