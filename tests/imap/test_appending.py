"""Several messages, messages put together, messages replaced (RFC 3502; RFC 4469; RFC 8508; CASES H16)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import fail, succeed

from mailserver.delivery.body import Spool
from mailserver.errors import OverQuota, TemporaryFailure
from mailserver.imap.urls import BadUrl, parse_url
from mailserver.imap.values import FetchItem, Section
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.threads import ImmediatePool, immediate_inbox


@pytest.fixture
def server(fake_server: ImapServer) -> ImapServer:
    return fake_server


# --- MULTIAPPEND -----------------------------------------------------------------------------------

FIRST = b"""Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <foobar@Blurdybloop.example.COM>
Subject: afternoon meeting
To: mooch@owatagu.example.net
Message-Id: <B27397-0100000@Blurdybloop.example.COM>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?
""".replace(b"\n", b"\r\n")
SECOND = b"""Date: Mon, 7 Feb 1994 22:43:04 -0800 (PST)
From: Joe Mooch <mooch@OWaTaGu.example.net>
Subject: Re: afternoon meeting
To: foobar@blurdybloop.example.com
Message-Id: <a0434793874930@OWaTaGu.example.net>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

3:30 is fine with me.
""".replace(b"\n", b"\r\n")


def test_example_of_rfc_3502(client: ImapClient) -> None:
    client.say("c CREATE saved-messages")
    assert client.say(f"A003 APPEND saved-messages (\\Seen) {{{len(FIRST)}}}") == ["+ OK"]
    second = b' (\\Seen) " 7-Feb-1994 22:43:04 -0800" {%d}\r\n' % len(SECOND)
    assert client.send(FIRST + second) == b"+ OK\r\n"
    assert client.send(SECOND + b"\r\n") == b"A003 OK [APPENDUID 1600000007 1:2] APPEND completed\r\n"
    box = client.account.boxes["saved-messages"]
    assert (box.data[1], box.data[2]) == (FIRST, SECOND)
    assert [box.flag_names(uid) for uid in (1, 2)] == [{"\\Seen"}, {"\\Seen"}]
    assert box.dates[1] == 760689784
    assert client.say("A004 APPEND bogusname (\\Flagged) {20000}") == ["A004 NO [TRYCREATE] No such mailbox"]


def test_quota_that_the_second_message_exceeds(client: ImapClient) -> None:
    """As the RFC's third example: refused before the second message comes, and nothing is kept."""
    client.account.limit = 40_000
    client.send(b"A005 APPEND INBOX (\\Flagged) {99}\r\n")
    assert client.send(b"x" * 99 + b" {40000}\r\n") == b"A005 NO [OVERQUOTA] Mailbox is full\r\n"
    assert client.say("b NOOP") == ["b OK NOOP completed"]
    assert client.account.inbox.data == {}


def test_same_reply_byte_by_byte(client: ImapClient) -> None:
    whole = b"a APPEND INBOX {1}\r\nx (\\Draft) {3+}\r\nabc {2}\r\nyz\r\nb NOOP\r\n"
    answer = b"".join(client.send(bytes((octet,))) for octet in whole)
    assert (
        answer
        == b"+ OK\r\n+ OK\r\na OK [APPENDUID 1600000001 1:3] APPEND completed\r\nb OK NOOP completed\r\n"
    )
    assert list(client.account.inbox.data.values()) == [b"x", b"abc", b"yz"]


@pytest.mark.parametrize(
    "bad",
    [
        b" {0}\r\n",  # the way to give it up
        b" {2+}\r\na\0",
        b" (\\Bogus) {3+}\r\nabc",
        b' "31-Feb-2020 10:00:00 +0000" {3+}\r\nabc',
        b" {2147483648}\r\n",
        b" nonsense {3+}\r\nabc",
    ],
)
def test_H16_one_bad_message_and_none_is_kept(client: ImapClient, bad: bytes) -> None:
    answer = client.send(b"a APPEND INBOX {3+}\r\nabc" + bad)
    if bad.endswith(b"}\r\n"):  # a synchronizing literal that was refused does not come
        answer += client.send(b"b NOOP\r\n")
    else:
        answer += client.send(b"\r\nb NOOP\r\n")
    assert answer[:5] in (b"a NO ", b"a BAD")
    assert answer.endswith(b"\r\nb OK NOOP completed\r\n")
    assert answer.count(b"\r\n") == 2
    assert client.account.inbox.data == {}


def test_H16_a_store_that_fails_keeps_none(client: ImapClient) -> None:
    client.account.failing = OverQuota()
    answer = client.send(b"a APPEND INBOX {1+}\r\nx {1+}\r\ny\r\n")
    assert answer == b"a NO [OVERQUOTA] Mailbox is full\r\n"
    assert client.account.inbox.data == {}


def test_H16_too_many_messages() -> None:
    client = ImapClient(login=True)
    answer = client.send(b"a APPEND INBOX" + b" {1+}\r\nx" * 1001 + b"\r\nb NOOP\r\n")
    assert answer.startswith(b"a NO [LIMIT] ")
    assert answer.endswith(b"\r\nb OK NOOP completed\r\n")
    assert client.account.inbox.data == {}


def spooled(path: Path, memory: int = 1024 * 1024) -> ImapClient:
    server = ImapServer(FakeAccount())
    server.factory.spool = Spool(path, ImmediatePool(immediate_inbox()), memory=memory)
    return ImapClient(server, login=True)


def test_many_messages_share_one_allowance_of_memory(tmp_path: Path) -> None:
    client = spooled(tmp_path)
    client.send(b"a APPEND INBOX" + (b" {400000+}\r\n" + b"x" * 400_000) * 5)
    assert len(list(tmp_path.iterdir())) == 3
    assert client.say("")[0].startswith("a OK ")
    assert list(client.account.inbox.sizes) == [400_000] * 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [b" {3+}\r\na\0b\r\n", b" x\r\n", b""])
def test_H16_no_file_is_left_of_what_failed_or_was_lost(tmp_path: Path, end: bytes) -> None:
    client = spooled(tmp_path, 1000)
    client.send(b"a APPEND INBOX {5000+}\r\n" + b"x" * 5000 + b" {5000+}\r\n" + b"x" * 5000 + end)
    client.lose()
    assert list(tmp_path.iterdir()) == []


# --- CATENATE --------------------------------------------------------------------------------------

ORIGINAL = b"""Subject: holiday
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Our travel agent has sent the updated schedule.
--b
Content-Type: application/x-zip-compressed
Content-Transfer-Encoding: base64

UEsDBAo=
--b--
""".replace(b"\n", b"\r\n")
HEADER, _, _ = ORIGINAL.partition(b"\r\n\r\n")
URL = "/Drafts;UIDVALIDITY=%d/;UID=1"


@pytest.fixture
def drafts(client: ImapClient) -> Any:
    box = client.account.boxes["Drafts"]
    box.add(ORIGINAL)
    return box


def quoted(drafts: Any, section: str = "") -> bytes:
    return b'URL "%b%b"' % ((URL % drafts.uidvalidity).encode(), section.encode())


def test_example_1_of_rfc_4469(client: ImapClient, drafts: Any) -> None:
    """An attachment of a draft is replaced by another message's content."""
    drafts.add(b"new attachment\r\n")
    first = b"\r\n--------------030308070208000400050907\r\n"
    last = b"\r\n--------------030308070208000400050907--\r\n"
    line = b"A003 APPEND Drafts (\\Seen \\Draft $MDNSent) CATENATE (" + quoted(drafts, "/;section=HEADER")
    assert client.send(line + b" TEXT {%d}\r\n" % len(first)) == b"+ OK\r\n"
    more = b" %b %b TEXT {%d}\r\n" % (
        quoted(drafts, "/;section=1.MIME"),
        quoted(drafts, "/;section=1"),
        len(first),
    )
    assert client.send(first + more) == b"+ OK\r\n"
    url = quoted(drafts).replace(b"UID=1", b"UID=2")
    assert client.send(first + b" " + url + b" TEXT {%d}\r\n" % len(last)) == b"+ OK\r\n"
    assert client.send(last + b")\r\n") == (
        b"A003 OK [APPENDUID %d 3] APPEND completed\r\n" % drafts.uidvalidity
    )
    text = b"Our travel agent has sent the updated schedule."
    mime = b"Content-Type: text/plain\r\n\r\n"
    assert drafts.data[3] == (
        HEADER + b"\r\n\r\n" + first + mime + text + first + b"new attachment\r\n" + last
    )
    assert drafts.flag_names(3) == {"\\Seen", "\\Draft", "$MDNSent"}
    assert drafts.flag_names(1) == set()


def test_example_4_of_rfc_4469(client: ImapClient, drafts: Any) -> None:
    """The first URL that stands for nothing is named, in the place of a continuation."""
    url = f"/INBOX;UIDVALIDITY={client.account.inbox.uidvalidity}/;UID=113330/;section=1.5.9"
    client.send(b"A003 APPEND Sent (\\Seen) CATENATE (TEXT {3}\r\n")
    answer = client.send(b'abc URL "%b" TEXT {42}\r\n' % url.encode())
    assert answer == b"A003 NO [BADURL %b] That URL stands for nothing here\r\n" % url.encode()
    assert client.say("b NOOP") == ["b OK NOOP completed"]
    assert client.account.boxes["Sent"].data == {}


def test_urls_alone_and_several_messages(client: ImapClient, drafts: Any) -> None:
    answer = client.send(
        b"a APPEND Sent CATENATE (%b) (\\Seen) CATENATE (%b TEXT {2+}\r\nxy)\r\n"
        % (quoted(drafts), quoted(drafts, "/;SECTION=TEXT"))
    )
    assert answer == b"a OK [APPENDUID 1600000003 1:2] APPEND completed\r\n"
    sent = client.account.boxes["Sent"]
    assert sent.data[1] == ORIGINAL
    assert sent.data[2] == ORIGINAL[len(HEADER) + 4 :] + b"xy"


def test_the_selected_mailbox_and_urls_as_literals(client: ImapClient, drafts: Any) -> None:
    client.say("s SELECT Drafts")
    client.say("a APPEND Sent CATENATE (URL ;UID=1/;PARTIAL=9.7)")
    assert client.account.boxes["Sent"].data[1] == b"holiday"
    answer = client.send(b"b APPEND Sent CATENATE (TEXT {1+}\r\nx URL {6}\r\n")
    assert answer == b"+ OK\r\n"
    assert client.send(b";UID=1)\r\n").startswith(b"b OK ")
    assert client.account.boxes["Sent"].data[2] == b"x" + ORIGINAL


@pytest.mark.parametrize(
    "url",
    [
        "/Drafts/;UID=2",
        "/Drafts;UIDVALIDITY=1/;UID=1",
        "/nowhere/;UID=1",
        "/Drafts/;UID=1/;SECTION=3",
        "/Drafts/;UID=1/;SECTION=1.HEADER",
        "/Drafts/;UID=1/;SECTION=bogus",
        "/Drafts/;UID=1;URLAUTH=anonymous",
        "imap://mail.example.org/Drafts/;UID=1",
        "//mail.example.org/Drafts/;UID=1",
        "/Drafts",
        ";UID=1",
        "%41%zz/;UID=1",
        "/%ff/;UID=1",
        "",
    ],
)
def test_urls_that_stand_for_nothing(client: ImapClient, drafts: Any, url: str) -> None:
    answer = client.say(f'a APPEND Sent CATENATE (URL "{url}")')
    assert answer == [f"a NO [{'BADURL ' + url if url else 'BADURL'}] That URL stands for nothing here"]
    assert client.account.boxes["Sent"].data == {}


def test_a_url_is_never_told_so_that_it_ends_the_code() -> None:
    assert BadUrl(b"/a]b\r\nc \xff").imap == "BADURL /a%5Db%0D%0Ac%20%FF"


def test_what_a_url_says() -> None:
    found = parse_url(b"/Entw%C3%BCrfe/a;uidvalidity=3/;uid=20/;section=HEADER.FIELDS%20(To)/;partial=1.2")
    assert (found.mailbox, found.uidvalidity, found.uid) == ("Entwürfe/a", 3, 20)
    assert found.item == FetchItem("BODY[]", Section((), "HEADER.FIELDS", (b"To",)), (1, 2))
    assert parse_url(b"/inbox/;UID=1").mailbox == "INBOX"
    assert parse_url(b"other/;UID=1", "a/b").mailbox == "a/other"
    assert parse_url(b";UID=1", "a/b").mailbox is None


def test_the_sum_of_the_parts_is_limited() -> None:
    client = ImapClient(ImapServer(limits={"message_size": 1000}), login=True)
    client.account.boxes["Drafts"].add(b"x" * 600)
    urls = 'URL "/Drafts/;UID=1"'
    for command in (
        f"CATENATE ({urls} {urls})",
        f"CATENATE ({urls} TEXT {{401}}",
        "CATENATE (TEXT {600+}\r\n" + "x" * 600 + f" {urls})",
    ):
        answer = client.say(f"a APPEND Sent {command}")
        assert answer == ["a NO [TOOBIG] Message size exceeds fixed maximum message size"]
    assert client.say("b NOOP") == ["b OK NOOP completed"]
    assert client.account.boxes["Sent"].data == {}


def test_nothing_put_together_is_nothing(client: ImapClient) -> None:
    answer = client.send(b"a APPEND Sent CATENATE (TEXT {0+}\r\n TEXT {0+}\r\n)\r\n")
    assert answer == b"a NO [CANNOT] An empty message cannot be kept\r\n"


def test_a_part_of_a_large_message(tmp_path: Path) -> None:
    client = spooled(tmp_path)
    client.connection.in_thread = lambda function: succeed(function())
    large = b"x" * 98 + b"\r\n"
    text = ORIGINAL.replace(b"UEsDBAo=\r\n", large * 30_000)
    client.account.boxes["Drafts"].add(text)
    answer = client.say('a APPEND Sent CATENATE (URL "/Drafts/;UID=1/;SECTION=2" TEXT {1+}\r\ny)')
    assert answer[0].startswith("a OK ")
    assert client.account.boxes["Sent"].data[1] == large * 29_999 + large[:-2] + b"y"
    assert list(tmp_path.iterdir()) == []


# --- REPLACE ---------------------------------------------------------------------------------------


@pytest.fixture
def selected(client: ImapClient, drafts: Any) -> Iterator[ImapClient]:
    drafts.add(b"other\r\n")
    client.say("s SELECT Drafts")
    yield client


def test_example_of_rfc_8508(selected: ImapClient, drafts: Any) -> None:
    text = b"Subject: happy new year !!\r\n\r\nWish you were here.\r\n"
    assert selected.say(f"A003 REPLACE 1 Drafts (\\Seen \\Draft) {{{len(text)}}}") == ["+ OK"]
    assert selected.send(text + b"\r\n").decode().splitlines() == [
        f"* OK [APPENDUID {drafts.uidvalidity} 3] Replacement message ready",
        "* 1 EXPUNGE",
        "* 2 EXISTS",
        "* 2 RECENT",
        "A003 OK REPLACE completed",
    ]
    assert dict(drafts.data) == {2: b"other\r\n", 3: text}
    assert drafts.flag_names(3) == {"\\Seen", "\\Draft"}


def test_uid_replace_into_another_mailbox(selected: ImapClient, drafts: Any) -> None:
    sent = selected.account.boxes["Sent"]
    assert selected.send(b"A004 UID REPLACE 1 Sent {3+}\r\nabc\r\n").decode().splitlines() == [
        f"* OK [APPENDUID {sent.uidvalidity} 1] Replacement message ready",
        "* 1 EXPUNGE",
        "A004 OK REPLACE completed",
    ]
    assert (list(drafts.data), sent.data) == ([2], {1: b"abc"})


def test_catenate_of_the_message_that_is_replaced(selected: ImapClient, drafts: Any) -> None:
    """RFC 8508, 4.2: fields are added to a draft."""
    answer = selected.send(
        b'a UID REPLACE 1 Drafts CATENATE (TEXT {9+}\r\nTo: mitz\n URL "/Drafts/;UID=1")\r\n'
    )
    assert answer.endswith(b"a OK REPLACE completed\r\n")
    assert drafts.data[3] == b"To: mitz\r\n" + ORIGINAL


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("a REPLACE 3 Drafts {3}", "a BAD No such message number"),
        ("a UID REPLACE 9 Drafts {3}", "a NO [NONEXISTENT] No such message"),
        ("a REPLACE 1 nowhere {20000}", "a NO [TRYCREATE] No such mailbox"),
        ("a REPLACE 1:2 Drafts {3}", "a BAD Expected one number"),
        ("a REPLACE $ Drafts {3}", "a BAD Expected one number"),
        ("a REPLACE 1 Drafts {0}", "a NO [CANNOT] An empty message cannot be kept"),
        ("a REPLACE 1 Drafts {2147483648}", "a NO [TOOBIG] …"),
        ("a REPLACE 1 Drafts {1+}\r\nx {1}", "a BAD Only one message in a REPLACE"),
    ],
)
def test_refused_before_the_message(selected: ImapClient, drafts: Any, command: str, answer: str) -> None:
    told = selected.say(command)
    if answer == "a BAD Expected one number":  # no REPLACE: its literal is an argument
        assert told == ["+ OK"]
        told = selected.say("abc")
    assert len(told) == 1 and told[0].startswith(answer.rstrip("…"))
    assert selected.say("b NOOP") == ["b OK NOOP completed"]
    assert list(drafts.data) == [1, 2]


def test_not_in_a_mailbox_that_cannot_be_written(client: ImapClient, drafts: Any) -> None:
    client.say("s EXAMINE Drafts")
    assert client.say("a REPLACE 1 Drafts {3}") == ["a NO [READ-ONLY] The mailbox is read-only"]


def test_not_without_a_selected_mailbox(client: ImapClient) -> None:
    answer = client.send(b"a REPLACE 1 Drafts {3+}\r\nabc\r\n")
    assert answer == b"a BAD Not allowed in the authenticated state\r\n"


def test_a_message_that_another_session_expunged(selected: ImapClient, drafts: Any) -> None:
    drafts.expunge_now(1)
    assert selected.say("a REPLACE 1 Drafts {3}")[-1].startswith("a NO [EXPUNGEISSUED] ")
    assert list(drafts.data) == [2]


def test_only_the_difference_counts_against_the_quota(selected: ImapClient, drafts: Any) -> None:
    used = len(ORIGINAL) + 7
    selected.account.limit = used + 20_000
    selected.server.settings.change(limits={"message_size": 10**6})
    too_large = 20_000 + len(ORIGINAL) + 1
    assert selected.say(f"a REPLACE 1 Drafts {{{too_large}}}") == ["a NO [OVERQUOTA] Mailbox is full"]
    text = b"x" * (too_large - 1)
    assert selected.send(b"b REPLACE 1 Drafts {%d+}\r\n%b\r\n" % (len(text), text)).endswith(
        b"b OK REPLACE completed\r\n"
    )


def test_what_cannot_be_removed_is_not_doubled(selected: ImapClient, drafts: Any) -> None:
    """Never fewer than one copy, and not two where the answer is NO."""
    remove, failed = drafts.remove, []

    def failing(uids: Any, by: Any) -> Any:
        if not failed:
            failed.append(uids)
            return fail(TemporaryFailure())
        return remove(uids, by)

    drafts.remove = failing
    answer = selected.send(b"a REPLACE 1 Sent {3+}\r\nabc\r\n")
    assert answer == b"a NO [UNAVAILABLE] Temporary failure on our side, try again later\r\n"
    assert list(drafts.data) == [1, 2]
    assert selected.account.boxes["Sent"].data == {}


# --- large messages and lost clients ---------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> ImapClient:
    """A client that has a message of 3 MB in Drafts, beyond what is taken whole."""
    client = spooled(tmp_path)
    client.connection.in_thread = lambda function: succeed(function())
    client.account.boxes["Drafts"].add(
        ORIGINAL.replace(b"UEsDBAo=\r\n", b"x" * 98 + b"\r\n" + b"y" * 3_000_000)
    )
    return client


@pytest.mark.parametrize(
    ("section", "start", "end"),
    [
        ("", 0, None),
        ("/;SECTION=HEADER.FIELDS (Subject)", 0, 20),
        ("/;SECTION=HEADER", 0, len(HEADER) + 4),
        ("/;PARTIAL=9.2000000", 9, 2_000_009),
    ],
)
def test_urls_into_a_large_message(large: ImapClient, section: str, start: int, end: int | None) -> None:
    url = "/Drafts/;UID=1" + section.replace(" ", "%20")
    assert large.say(f'a APPEND Sent CATENATE (URL "{url}")')[0].startswith("a OK ")
    wanted = large.account.boxes["Drafts"].data[1][start:end]
    found = large.account.boxes["Sent"].data[1]
    assert found == (wanted if "FIELDS" not in section else b"Subject: holiday\r\n\r\n")


def test_a_part_that_a_large_message_does_not_have(large: ImapClient) -> None:
    answer = large.say('a APPEND Sent CATENATE (URL "/Drafts/;UID=1/;SECTION=7")')
    assert answer[0].startswith("a NO [BADURL ")


class LaggingDisk:
    """A spool whose bodies are full until somebody says otherwise."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    def body(self, on_drained: Any, memory: int, raw: bool) -> Any:
        made = Spool.body(self.real, None, on_drained, memory, raw)  # type: ignore[attr-defined]
        made.full = False
        write = made.write

        def lag(data: bytes) -> None:
            write(data)
            made.full = True

        made.write = lag
        self.bodies.append((made, on_drained))
        return made


@pytest.mark.parametrize("lost", [False, True])
def test_a_copy_waits_for_the_disk_and_ends_with_the_client(tmp_path: Path, lost: bool) -> None:
    client = spooled(tmp_path)
    disk = LaggingDisk()
    disk.real, client.server.factory.spool = client.server.factory.spool, disk  # type: ignore[attr-defined]
    client.account.boxes["Drafts"].add(b"hello\r\n")
    url = 'URL "/Drafts/;UID=1"'
    assert client.say(f"a APPEND Sent CATENATE ({url} {url} TEXT {{1}}") == []
    if lost:
        client.lose()
        assert all(box.listeners == [] for box in client.account.boxes.values())
        return
    for _ in range(2):
        made, on_drained = disk.bodies[0]
        made.full = False
        on_drained()
        client.server.settle()
    assert client.take() == b"+ OK\r\n"


def test_H16_a_last_url_that_is_too_much(client: ImapClient) -> None:
    answer = client.send(b"a APPEND Sent CATENATE (TEXT {1+}\r\nx URL /x" + b"y" * 2000 + b")\r\nb NOOP\r\n")
    assert answer.startswith(b"a NO [BADURL /xyyy")
    assert len(answer) < 1200
    assert answer.endswith(b"b OK NOOP completed\r\n")
