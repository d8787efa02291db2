"""Group H on the wire: what compression, literals and parts can be made of costs nobody else anything."""

from __future__ import annotations

import base64
import zlib
from contextlib import ExitStack

import pytest

from tests.attacks.wire import Imap, bodies, leftovers, resident, served
from tests.helpers.server import Server, eventually

BOMBS = 20
MIB = 1024 * 1024


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


def compressed(server: Server, user: str) -> Imap:
    imap = Imap(server, user)
    imap.ok(b"COMPRESS DEFLATE")
    return imap


def test_H19_bombs(server: Server, user: str, bystander: str) -> None:
    """Lines of 100 MiB in 100 KiB each: each connection gets its BYE, others their turns."""
    bomb = packed(b"a NOOP " + bytes(100 * MIB))
    before = resident(server)
    with ExitStack() as stack, served(server, bystander):
        for imap in [stack.enter_context(compressed(server, user)) for _ in range(BOMBS)]:
            imap.send_anyway(bomb)
        assert resident(server) - before < 60 * MIB


def test_H19_a_bomb_that_is_a_message(server: Server, user: str, bystander: str) -> None:
    """What a literal announces is all that is taken of it."""
    with compressed(server, user) as imap, served(server, bystander):
        size = 2 * MIB - 100
        imap.send_anyway(
            packed(b"a APPEND INBOX {%d+}\r\n%b\r\nb LOGOUT\r\n" % (size, b"x\r\n" * (size // 3 + 1)))
        )
        assert zlib.decompressobj(-15).decompress(imap.rest())
    eventually(lambda: not leftovers(server))


def test_H19_floods_of_empty_flushes(server: Server, user: str, bystander: str) -> None:
    with ExitStack() as stack, served(server, bystander):
        for imap in [stack.enter_context(compressed(server, user)) for _ in range(BOMBS)]:
            imap.send_anyway(b"\0\0\0\xff\xff" * 100_000)
            answer = packed(b"z LOGOUT\r\n")
            imap.send_anyway(answer)
            assert b"z OK" in zlib.decompressobj(-15).decompress(imap.rest())


def test_H19_what_is_no_deflate(server: Server, user: str) -> None:
    with Imap(server, user) as imap:
        imap.send(b"t COMPRESS DEFLATE\r\nx DELETE Trash\r\n")
        imap.tagged()
        assert zlib.decompressobj(-15).decompress(imap.rest()).startswith(b"* BYE ")
    with Imap(server, user) as imap:
        assert b"Trash" in imap.ok(b'LIST "" *')


def test_H19_connections_that_do_not_read(server: Server, user: str, bystander: str) -> None:
    """Compressed output is bounded as any other."""
    with Imap(server, user) as imap:
        text = base64.encodebytes(zlib.compress(bytes(range(256)) * 4000)) * 50
        for _ in range(20):
            imap.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))
    before = resident(server)
    with ExitStack() as stack, served(server, bystander):
        for _ in range(BOMBS):
            imap = stack.enter_context(Imap(server, user, buffer=4096))
            imap.ok(b"SELECT INBOX")
            imap.ok(b"COMPRESS DEFLATE")
            imap.send(packed(b"a FETCH 1:* BODY.PEEK[]\r\n" * 50))
        assert resident(server) - before < BOMBS * 2 * MIB


def test_H16_messages_without_end(server: Server, user: str, bystander: str) -> None:
    """A thousand messages in one APPEND, broken off; and one more than there may be."""
    before = resident(server)
    many = b" {2000+}\r\n" + b"x" * 2000
    with served(server, bystander):
        with Imap(server, user) as imap:
            imap.send(b"a APPEND INBOX" + many * 999)
            imap.reset()
        with Imap(server, user) as imap:
            assert b"NO [LIMIT]" in imap.say(b"APPEND INBOX" + many * 1001)
            imap.ok(b"NOOP")
    assert resident(server) - before < 20 * MIB
    assert bodies(server, user) == []
    eventually(lambda: not leftovers(server))


def test_H16_urls_of_the_message_itself(server: Server, user: str, bystander: str) -> None:
    """A message made of itself, a hundred times: the limit is that of a message."""
    with Imap(server, user) as imap, served(server, bystander):
        imap.ok(b"APPEND INBOX {%d+}\r\n%b" % (100_000, b"x" * 100_000))
        url = b'URL "/INBOX/;UID=1"'
        assert b"NO [TOOBIG]" in imap.say(b"APPEND INBOX CATENATE (%b)" % b" ".join([url] * 100))
        imap.ok(b"APPEND INBOX CATENATE (%b)" % b" ".join([url] * 10))
    assert [len(body) for body in bodies(server, user)] == [100_000, 1_000_000]


def test_H16_thousands_of_urls(server: Server, user: str, bystander: str) -> None:
    """An octet of a part of a large message each."""
    text = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"--b\r\n\r\nx\r\n" * 70_000
    )
    with Imap(server, user) as imap, served(server, bystander):
        imap.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))
        url = b'URL "/INBOX/;UID=1/;SECTION=2/;PARTIAL=0.1"'
        imap.ok(b"APPEND INBOX CATENATE (%b)" % b" ".join([url] * 200))
    assert [len(body) for body in bodies(server, user)] == [len(text), 200]


@pytest.mark.parametrize("size", [700_000, 1_100_000])
def test_a_part_decoded_again_and_again(server: Server, user: str, bystander: str, size: int) -> None:
    """As often as one command may ask for it, in memory and from the file."""
    data = bytes(range(256)) * (size // 256)
    text = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(data)
    with Imap(server, user) as imap, served(server, bystander):
        for _ in range(3):
            imap.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))
        imap.ok(b"SELECT INBOX")
        items = b" ".join(b"BINARY.PEEK[1]<%d.1>" % number for number in range(99))
        told = imap.ok(b"FETCH 1:* (BINARY.SIZE[1] %b)" % items)
        assert told.count(b"BINARY.SIZE[1] %d" % len(data)) == 3


@pytest.mark.parametrize("item", [b"BINARY.SIZE[1]", b"BODY.PEEK[1]<0.1>", b"BODY.PEEK[5000.MIME]"])
def test_large_messages_of_which_little_is_told(
    server: Server, user: str, bystander: str, item: bytes
) -> None:
    """Each must be looked through, and others have their turns meanwhile."""
    text = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    text += base64.encodebytes(bytes(range(256)) * 2500)
    with Imap(server, user) as imap, served(server, bystander):
        imap.ok(b"APPEND INBOX" + (b" {%d+}\r\n%b" % (len(text), text)) * 150)
        imap.ok(b"SELECT INBOX")
        assert imap.ok(b"FETCH 1:* " + item).count(b" FETCH (") == 150
