"""COMPRESS=DEFLATE in a session (RFC 4978; CASES H19)."""

from __future__ import annotations

import zlib

import pytest

from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer


class Packed:
    """The client's side of a compressed session."""

    def __init__(self, client: ImapClient) -> None:
        self.client = client
        self.out = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.back = zlib.decompressobj(-15)

    def pack(self, data: bytes) -> bytes:
        return self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH)

    def send(self, data: bytes) -> bytes:
        return self.back.decompress(self.client.send(self.pack(data)))


@pytest.fixture
def client() -> ImapClient:
    return ImapClient(login=True)


def compressed(client: ImapClient) -> Packed:
    assert client.say("c COMPRESS deflate") == ["c OK DEFLATE active"]
    return Packed(client)


def test_everything_behind_the_ok_is_compressed(client: ImapClient) -> None:
    packed = compressed(client)
    assert packed.send(b"d NOOP\r\n") == b"d OK NOOP completed\r\n"
    assert packed.send(b"e SELECT INBOX\r\nf NOOP\r\n").endswith(b"f OK NOOP completed\r\n")


def test_answers_that_come_later_are_flushed_too(client: ImapClient) -> None:
    client.server.slow()
    packed = compressed(client)
    assert packed.send(b"e SELECT INBOX\r\n").endswith(b"e OK [READ-WRITE] SELECT completed\r\n")
    assert packed.send(b"f IDLE\r\n") == b"+ idling\r\n"
    client.account.inbox.add(b"Subject: hello\r\n\r\nhi\r\n")
    client.server.settle()
    assert packed.back.decompress(client.take()).startswith(b"* 1 EXISTS\r\n")


def test_H19_twice_is_refused(client: ImapClient) -> None:
    packed = compressed(client)
    assert packed.send(b"d COMPRESS DEFLATE\r\n") == b"d NO [COMPRESSIONACTIVE] DEFLATE is active already\r\n"
    assert packed.send(b"e NOOP\r\n") == b"e OK NOOP completed\r\n"
    assert b"COMPRESS" not in packed.send(b"f CAPABILITY\r\n")


def test_H19_not_before_log_in() -> None:
    client = ImapClient()
    assert b"COMPRESS" not in client.greeting
    assert client.say("c COMPRESS DEFLATE") == ["c BAD Not allowed in the not authenticated state"]


def test_other_mechanisms_and_no_mechanism_are_bad(client: ImapClient) -> None:
    client.dialog(
        """
        C: a COMPRESS LZW
        S: a BAD Unknown compression mechanism
        C: b COMPRESS
        S: b BAD Missing argument
        C: c NOOP
        S: c OK NOOP completed
        """
    )


def test_H19_compressed_octets_in_the_same_segment_are_read(client: ImapClient) -> None:
    """A client has to wait for the OK (RFC 4978, 3); one that does not and compresses is understood."""
    packed = Packed(client)
    answer = client.send(b"c COMPRESS DEFLATE\r\n" + packed.pack(b"d NOOP\r\n"))
    plain, packed_answer = answer.split(b"\r\n", 1)
    assert plain == b"c OK DEFLATE active"
    assert packed.back.decompress(packed_answer) == b"d OK NOOP completed\r\n"


def test_H19_injected_clear_text_is_not_executed(client: ImapClient) -> None:
    answer = client.send(b"c COMPRESS DEFLATE\r\nd DELETE Trash\r\n")
    plain, packed_answer = answer.split(b"\r\n", 1)
    assert plain == b"c OK DEFLATE active"
    assert zlib.decompressobj(-15).decompress(packed_answer) == b"* BYE That is no DEFLATE\r\n"
    assert client.closed
    assert "Trash" in client.account.boxes


def test_H19_a_bomb_meets_the_limits_of_a_line(client: ImapClient) -> None:
    packed = compressed(client)
    answer = packed.send(b"d NOOP " + b"0" * 10_000_000)
    assert answer == b"* BAD Command line too long\r\n* BYE Command line too long\r\n"
    assert client.closed


def test_a_client_that_does_not_read_stops_the_output() -> None:
    account = FakeAccount()
    for _ in range(50):
        account.inbox.add(b"Subject: x\r\n\r\n" + b"text " * 60_000)
    client = ImapClient(ImapServer(account), login=True)
    packed = compressed(client)
    packed.send(b"s SELECT INBOX\r\n")
    client.connection.pauseProducing()
    first = packed.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    assert len(first) < 3_000_000
    assert client.transport.paused
    client.connection.resumeProducing()
    client.server.settle()
    rest = packed.back.decompress(client.take())
    assert (first + rest).endswith(b"f OK FETCH completed\r\n")
    assert (first + rest).count(b" FETCH (") == 50


def test_unauthenticate_ends_it_and_what_follows_is_clear(client: ImapClient) -> None:
    """RFC 8437, 4.1; the client need not wait for the OK."""
    packed = compressed(client)
    answer = client.send(packed.pack(b"u UNAUTHENTICATE\r\n") + b"l LOGIN alice@example.org secret\r\n")
    size = answer.index(b"l OK [")
    assert packed.back.decompress(answer[:size]) == b"u OK UNAUTHENTICATE completed\r\n"
    assert b"COMPRESS=DEFLATE" in answer[size:]
    assert client.say("n NOOP") == ["n OK NOOP completed"]
    again = compressed(client)
    assert again.send(b"d NOOP\r\n") == b"d OK NOOP completed\r\n"


def test_logout(client: ImapClient) -> None:
    packed = compressed(client)
    assert packed.send(b"z LOGOUT\r\n") == b"* BYE Logging out\r\nz OK LOGOUT completed\r\n"
    assert client.closed


def test_nothing_is_left_when_the_client_goes(client: ImapClient) -> None:
    packed = compressed(client)
    client.feed(packed.pack(b"d NOOP\r\n" * 100_000))
    client.lose()
    assert client.server.reactor.getDelayedCalls() == []
