"""APPEND in all its forms, BINARY, REPLACE and IMAP4rev2 on a running server, compressed and not."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest

from tests.clients.support import Account
from tests.clients.test_compressed import compress

LARGE = 3 * 1024 * 1024  # beyond what is taken whole, for FETCH and for the spool


@pytest.fixture(params=["plain", "compressed"])
def client(account: Account, request: pytest.FixtureRequest) -> Any:
    made: Any = account.imap()
    if request.param == "compressed":
        compress(made)
    yield made
    made.logout()


def command(client: Any, line: bytes, *literals: bytes) -> tuple[str, list[bytes]]:
    """A command with non-synchronizing literals between its pieces (`%s`); the status and the lines told."""
    tag = client._new_tag()
    pieces = line.split(b"%s")
    out = tag + b" " + pieces[0]
    for literal, piece in zip(literals, pieces[1:], strict=True):
        out += b"{%d+}\r\n%b%b" % (len(literal), literal, piece)
    client.send(out + b"\r\n")
    told: list[bytes] = []
    while True:
        got = client.readline()
        while got.endswith(b"}\r\n"):
            size = int(got[got.rindex(b"{") + 1 : -3])
            got += client.read(size) + client.readline()
        if got.startswith(tag):
            return got.split()[1].decode(), [*told, got]
        told.append(got)


def attached(data: bytes, encoding: bytes = b"base64") -> bytes:
    content = base64.encodebytes(data).replace(b"\n", b"\r\n") if encoding == b"base64" else data + b"\r\n"
    return (
        b"Subject: with a file\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bbb\r\n\r\n"
        b"--bbb\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        b"--bbb\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: "
        + encoding
        + b"\r\n\r\n"
        + content
        + b"--bbb--\r\n"
    )


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_file_goes_in_binary_and_comes_back(client: Any, size: int) -> None:
    data = os.urandom(size)
    status, _ = command(client, b"APPEND INBOX ~%s", attached(data, b"binary"))
    assert status == "OK"
    client.select()
    status, told = command(client, b"FETCH 1 (BINARY.SIZE[2] BINARY.PEEK[2])")
    assert status == "OK"
    assert b"BINARY.SIZE[2] %d BINARY[2] " % size in told[0]
    assert data in told[0]
    status, told = command(client, b"FETCH 1 BINARY.PEEK[2]<%d.100>" % (size - 50))
    assert told[0].endswith(b"{50}\r\n%b)\r\n" % data[-50:])
    status, told = command(client, b"FETCH 1 BODYSTRUCTURE")
    assert b'"base64"' in told[0].lower()


def test_several_messages_and_a_new_one_of_their_parts(client: Any) -> None:
    data = os.urandom(LARGE // 2)
    whole = attached(data)
    line = b"APPEND INBOX (\\Seen) %s %s (\\Flagged) %s"
    status, told = command(client, line, b"a: b\r\n\r\n", whole, b"c\r\n")
    assert status == "OK"
    assert told[-1].split()[4] == b"1:3]"
    status, told = command(
        client,
        b'APPEND Drafts CATENATE (URL "/INBOX/;UID=2/;SECTION=HEADER" TEXT %s '
        b'URL "/INBOX/;UID=2/;SECTION=2" TEXT %s)',
        b"--bbb\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        b"\r\n--bbb--\r\n",
    )
    assert status == "OK", told
    client.select("Drafts")
    _, told = command(client, b"FETCH 1 BINARY.PEEK[1]")
    assert data in told[0]
    line = b'UID REPLACE 1 Drafts (\\Draft) CATENATE (TEXT %s URL "/Drafts/;UID=1")'
    status, told = command(client, line, b"X: y\r\n")
    assert (status, told[1:3]) == ("OK", [b"* 1 EXPUNGE\r\n", b"* 1 EXISTS\r\n"]), told
    _, told = command(client, b"FETCH 1 (UID FLAGS BODY.PEEK[HEADER.FIELDS (X)] BINARY.SIZE[1])")
    assert b"UID 2 " in told[0] and b"X: y\r\n" in told[0] and b"BINARY.SIZE[1] %d" % len(data) in told[0]


def test_rev2(client: Any) -> None:
    assert command(client, b"ENABLE IMAP4rev2")[1][0] == b"* ENABLED IMAP4rev2\r\n"
    assert command(client, 'CREATE "Entwürfe"'.encode())[0] == "OK"
    assert command(client, 'APPEND "Entwürfe" %s'.encode(), b"Subject: x\r\n\r\ny\r\n")[0] == "OK"
    told = command(client, 'SELECT "Entwürfe"'.encode())[1]
    assert '* LIST (\\HasNoChildren) "/" "Entwürfe"\r\n'.encode() in told
    assert not any(b"RECENT" in line for line in told)
    assert command(client, b"SEARCH ALL")[1][0].endswith(b" ALL 1\r\n")


def test_another_user_on_the_same_connection(account: Account, other: Account) -> None:
    client = account.imap()
    client.create("mine")
    assert command(client, b"UNAUTHENTICATE")[0] == "OK"
    assert command(client, f'LOGIN "{other.user}" "{other.password}"'.encode())[0] == "OK"
    assert not any(b"mine" in line for line in command(client, b'LIST "" *')[1])
    client.logout()
