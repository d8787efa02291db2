"""APPEND: streamed, bounded, all or nothing (RFC 3501, 6.3.11; RFC 4315; RFC 7889; CASES H16)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.delivery.body import Spool
from mailserver.errors import OverQuota
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.threads import ImmediatePool, immediate_inbox

MESSAGE = """\
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <foobar@Blurdybloop.COM>
Subject: afternoon meeting
To: mooch@owatagu.siam.edu
Message-Id: <B27397-0100000@Blurdybloop.COM>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?
"""
WIRE = MESSAGE.replace("\n", "\r\n").encode()


@pytest.fixture
def server(fake_server: ImapServer) -> ImapServer:
    return fake_server


def test_example_of_the_rfc(client: ImapClient) -> None:
    client.say("c CREATE saved-messages")
    assert len(WIRE) == 310
    assert client.say("A003 APPEND saved-messages (\\Seen) {310}") == ["+ OK"]
    assert client.send(WIRE) == b""
    assert client.say("") == ["A003 OK [APPENDUID 1600000007 1] APPEND completed"]
    box = client.account.boxes["saved-messages"]
    assert box.data[1] == WIRE
    assert box.flag_names(1) == {"\\Seen"}


def test_date_and_keywords(client: ImapClient) -> None:
    client.say('a APPEND INBOX ($Label1 \\flagged) "17-Jul-1996 02:44:25 -0700" {3+}')
    assert client.say("abc") == ["a OK [APPENDUID 1600000001 1] APPEND completed"]
    assert client.account.inbox.dates[0] == 837596665
    assert client.account.inbox.flag_names(1) == {"$Label1", "\\Flagged"}


def test_without_flags_and_date_and_with_the_name_as_literal(client: ImapClient) -> None:
    assert client.send(b"a APPEND {5+}\r\ninbox {3+}\r\nx\r\n\r\nb NOOP\r\n") == (
        b"a OK [APPENDUID 1600000001 1] APPEND completed\r\nb OK NOOP completed\r\n"
    )


def test_same_reply_byte_by_byte(client: ImapClient) -> None:
    whole = b"a APPEND INBOX (\\Draft) {310}\r\n" + WIRE + b"\r\nb NOOP\r\n"
    answer = b"".join(client.send(bytes((octet,))) for octet in whole)
    assert answer == b"+ OK\r\na OK [APPENDUID 1600000001 1] APPEND completed\r\nb OK NOOP completed\r\n"
    assert client.account.inbox.data[1] == WIRE


def test_mailbox_that_is_not_there_says_trycreate_before_the_message(client: ImapClient) -> None:
    client.dialog(
        """
        C: a APPEND nowhere {20000}
        S: a NO [TRYCREATE] No such mailbox
        C: b NOOP
        S: b OK NOOP completed
        """
    )


def test_small_message_for_a_mailbox_that_is_not_there(client: ImapClient) -> None:
    client.dialog(
        """
        C: a APPEND nowhere {5}
        S: + OK
        C: hello
        S: a NO [TRYCREATE] No such mailbox
        """
    )


def test_H22_refused_message_that_comes_all_the_same_is_not_executed(client: ImapClient) -> None:
    inside = b"x DELETE Trash\r\n" * 2000
    assert client.send(b"a APPEND nowhere {%d+}\r\n%b\r\nb NOOP\r\n" % (len(inside), inside)) == (
        b"a NO [TRYCREATE] No such mailbox\r\nb OK NOOP completed\r\n"
    )
    assert "Trash" in client.account.boxes


def test_H16_too_big_is_told_before_the_message(client: ImapClient) -> None:
    client.dialog(
        """
        C: a APPEND INBOX {2147483648}
        S: a NO [TOOBIG] Message size exceeds fixed maximum message size
        C: b APPEND INBOX {99999999999999999999999999}
        S: b NO [TOOBIG] Message size exceeds fixed maximum message size
        C: c NOOP
        S: c OK NOOP completed
        """
    )


def test_H16_too_big_without_asking_is_read_or_the_connection_closed() -> None:
    client = ImapClient(ImapServer(limits={"message_size": 100}), login=True)
    assert client.send(b"a APPEND INBOX {150+}\r\n" + b"x" * 150 + b"\r\n").startswith(b"a NO [TOOBIG]")
    assert client.say("b NOOP") == ["b OK NOOP completed"]
    answer = client.send(b"c APPEND INBOX {201+}\r\n" + b"c NOOP\r\n" * 10)
    assert answer == (
        b"c NO [TOOBIG] Message size exceeds fixed maximum message size\r\n"
        b"* BYE [TOOBIG] Literal too large\r\n"
    )
    assert client.closed


def test_H16_over_quota_before_and_after_the_message(client: ImapClient) -> None:
    client.account.limit = 16384
    client.dialog(
        """
        C: a APPEND INBOX {16385}
        S: a NO [OVERQUOTA] Mailbox is full
        C: b APPEND INBOX {3}
        S: + OK
        """
    )
    client.account.failing = OverQuota()
    assert client.say("abc") == ["b NO [OVERQUOTA] Mailbox is full"]
    assert client.account.inbox.data == {}


def test_H16_bad_arguments(client: ImapClient) -> None:
    client.dialog(
        """
        C: a APPEND INBOX "31-Feb-2020 10:00:00 +0000" {5+}
        S: a BAD Invalid date
        C: hello
        C: b APPEND INBOX (\\Bogus) {5+}
        S: b BAD Unknown system flag
        C: hello
        C: c APPEND INBOX "hello"
        S: c BAD Expected a date-time
        C: d APPEND INBOX
        S: d BAD Missing argument
        C: e APPEND INBOX {0}
        S: e NO [CANNOT] An empty message cannot be kept
        C: f APPEND "&bad" {5}
        S: f NO [CANNOT] That mailbox name is not possible here
        C: g NOOP
        S: g OK NOOP completed
        """
    )


@pytest.mark.parametrize("tail", [b" x\r\n", b"{3+}\r\nabc\r\n", b" (\\Seen {3+}\r\nabc\r\n", b" \r\n"])
def test_H16_what_follows_the_message_must_be_a_message(client: ImapClient, tail: bytes) -> None:
    answer = client.send(b"a APPEND INBOX {3+}\r\nabc" + tail + b"b NOOP\r\n")
    assert answer.startswith(b"a BAD ")
    assert answer.endswith(b"\r\nb OK NOOP completed\r\n")
    assert answer.count(b"\r\n") == 2
    assert client.account.inbox.data == {}


def test_H16_lost_at_every_byte() -> None:
    whole = b"a APPEND INBOX {20+}\r\nSubject: x\r\n\r\nhello\r\n"
    for end in range(len(whole)):
        client = ImapClient(login=True)
        client.send(whole[:end])
        client.lose()
        assert client.account.inbox.data == {}


def test_H16_line_ends_become_what_the_store_keeps(client: ImapClient) -> None:
    client.say("a APPEND INBOX {9+}")
    client.send(b"a\nb\r\nc\r\n\n\r\n")
    assert client.account.inbox.data[1] == b"a\r\nb\r\nc\r\n\r\n"
    assert client.account.inbox.sizes[0] == 11


def test_nul_is_refused(client: ImapClient) -> None:
    assert client.send(b"a APPEND INBOX {3+}\r\na\0b\r\n") == b"a NO [CANNOT] NUL in a message\r\n"
    assert client.say("b NOOP") == ["b OK NOOP completed"]


def test_append_to_the_selected_mailbox_tells_it(client: ImapClient) -> None:
    """RFC 3501, 6.3.11: EXISTS SHOULD come at once."""
    client.say("s SELECT INBOX")
    client.say("a APPEND INBOX {3+}")
    assert client.say("abc") == [
        "* 1 EXISTS",
        "* 1 RECENT",
        "a OK [APPENDUID 1600000001 1] APPEND completed",
    ]


def test_large_message_goes_through_the_spool(tmp_path: Path) -> None:
    server = ImapServer(FakeAccount())
    spool = Spool(tmp_path, ImmediatePool(immediate_inbox()), memory=1000)
    server.factory.spool = spool
    client = ImapClient(server, login=True)
    client.send(b"a APPEND INBOX {100000}\r\n")
    for _ in range(1000):
        client.send(b"x" * 98 + b"\r\n")
    assert client.say("") == ["a OK [APPENDUID 1600000001 1] APPEND completed"]
    assert client.account.inbox.sizes[0] == 100_000
    assert list(tmp_path.iterdir()) == []


def test_large_message_given_up_leaves_no_file(tmp_path: Path) -> None:
    server = ImapServer(FakeAccount())
    server.factory.spool = Spool(tmp_path, ImmediatePool(immediate_inbox()), memory=1000)
    client = ImapClient(server, login=True)
    client.send(b"a APPEND INBOX {600000}\r\n" + b"x" * 300_000)
    assert len(list(tmp_path.iterdir())) == 1
    client.lose()
    assert list(tmp_path.iterdir()) == []


def test_reading_stops_while_the_disk_lags() -> None:
    class Lagging:
        full = False
        written = 0

        def body(self, on_drained: object, memory: int, raw: bool) -> Lagging:
            self.on_drained = on_drained
            return self

        def write(self, data: bytes) -> None:
            self.written += len(data)
            self.full = True

        def discard(self) -> None: ...

    server = ImapServer()
    spool = server.factory.spool = Lagging()
    client = ImapClient(server, login=True)
    client.send(b"a APPEND INBOX {10000000}\r\n")
    client.send(b"x" * 65536)
    assert spool.written == 65536
    client.send(b"x" * 131072)
    client.send(b"x" * 131072)
    assert (spool.written, client.transport.paused) == (65536, True)
    spool.full = False
    spool.on_drained()  # type: ignore[operator]
    server.settle()
    assert spool.written == 65536 + 262144
    assert client.transport.paused is False


def test_H22_literal_minus_has_to_ask_above_4096_octets() -> None:
    """RFC 7888, 5: BAD [TOOBIG] for an APPEND; what comes all the same is not executed."""
    client = ImapClient(ImapServer(imap={"literals": "LITERAL-"}), login=True)
    assert " LITERAL- " in client.say("a CAPABILITY")[0]
    inside = (b"x DELETE Trash\r\n" * 300)[:4097]
    assert client.send(b"b APPEND INBOX {4097+}\r\n%b\r\nc NOOP\r\n" % inside) == (
        b"b BAD [TOOBIG] Ask before more than 4096 octets\r\nc OK NOOP completed\r\n"
    )
    assert client.send(b"d APPEND INBOX {4096+}\r\n%b\r\n" % inside[:4096]).startswith(b"d OK ")
    assert client.send(b"e APPEND INBOX {4097}\r\n") == b"+ OK\r\n"
    assert client.send(inside + b"\r\n").startswith(b"e OK ")
    assert "Trash" in client.account.boxes
