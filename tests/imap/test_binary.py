"""BINARY: parts without their transfer encoding, and binary content in APPEND (RFC 3516)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import succeed

from mailserver.delivery.body import Spool
from tests.helpers.fake_store import FakeAccount
from tests.helpers.imap_dialog import ImapClient, ImapServer
from tests.helpers.threads import ImmediatePool, immediate_inbox

NULS = bytes(range(256)) * 3
MESSAGE = (
    b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe=\r\n, all=20\r\nof you\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(NULS).replace(b"\n", b"\r\n")
    + b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-own\r\n\r\n??\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nplain\r\n"
    b"--b--\r\n"
)
TEXT = b"Gr\xfc\xdfe, all \r\nof you"


@pytest.fixture(params=["memory", "disk", "in a later turn"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ImapClient:
    made = ImapClient(login=True)
    made.connection.in_thread = lambda function: succeed(function())
    made.account.inbox.add(MESSAGE)
    if request.param == "in a later turn":
        made.server.slow()
    if request.param == "disk":
        monkeypatch.setattr("mailserver.imap.handlers.rows.SMALL", 10)
        monkeypatch.setattr("mailserver.imap.handlers.binary.SLICE", 7)
        made.account.inbox.at_once = False
    made.send(b"s SELECT INBOX\r\n")
    return made


def fetch(client: ImapClient, items: bytes) -> bytes:
    answer = client.send(b"a FETCH 1 %b\r\n" % items)
    assert answer.startswith(b"* 1 FETCH ("), answer
    assert answer.endswith(b")\r\na OK FETCH completed\r\n"), answer
    return answer.removeprefix(b"* 1 FETCH (").removesuffix(b")\r\na OK FETCH completed\r\n")


def test_a_text(client: ImapClient) -> None:
    assert fetch(client, b"BINARY.PEEK[1]") == b"BINARY[1] {%d}\r\n%b" % (len(TEXT), TEXT)


def test_octets_with_nul_are_a_literal8(client: ImapClient) -> None:
    assert fetch(client, b"BINARY.PEEK[2]") == b"BINARY[2] ~{768}\r\n" + NULS


def test_sizes_are_exact(client: ImapClient) -> None:
    assert fetch(client, b"(BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[4] BINARY.SIZE[])") == (
        b"BINARY.SIZE[1] %d BINARY.SIZE[2] 768 BINARY.SIZE[4] 19 BINARY.SIZE[] %d" % (len(TEXT), len(MESSAGE))
    )


@pytest.mark.parametrize(
    ("offset", "count"), [(0, 5), (3, 4), (250, 20), (760, 100), (768, 1), (5000, 1), (1, 3)]
)
def test_partials_count_decoded_octets(client: ImapClient, offset: int, count: int) -> None:
    wanted = NULS[offset : offset + count]
    mark = b"~" if b"\0" in wanted else b""
    assert fetch(client, b"BINARY.PEEK[2]<%d.%d>" % (offset, count)) == (
        b"BINARY[2]<%d> %b{%d}\r\n%b" % (offset, mark, len(wanted), wanted)
    )


def test_messages_and_what_is_not_there(client: ImapClient) -> None:
    assert fetch(client, b"BINARY.PEEK[4]") == b"BINARY[4] {19}\r\nSubject: y\r\n\r\nplain"
    assert fetch(client, b"BINARY.PEEK[4.1]") == b"BINARY[4.1] {5}\r\nplain"
    assert fetch(client, b"BINARY.PEEK[]") == b"BINARY[] {%d}\r\n%b" % (len(MESSAGE), MESSAGE)
    assert fetch(client, b"(BINARY.PEEK[9] BINARY.SIZE[9])") == b"BINARY[9] NIL BINARY.SIZE[9] 0"


def test_unknown_encodings_are_told(client: ImapClient) -> None:
    client.account.inbox.add(b"Subject: z\r\n\r\nplain\r\n")
    client.send(b"n NOOP\r\n")
    for item in (b"BINARY.PEEK[3]", b"BINARY.SIZE[3]", b"(BINARY.PEEK[1] BINARY.PEEK[3])"):
        answer = client.send(b"a FETCH 1 %b\r\n" % item)
        assert answer == b"a NO [UNKNOWN-CTE] Unknown content transfer encoding\r\n"
    answer = client.send(b"a FETCH 1:2 BINARY.SIZE[3]\r\n")
    assert answer == (
        b"* 2 FETCH (BINARY.SIZE[3] 0)\r\na NO [UNKNOWN-CTE] Unknown content transfer encoding\r\n"
    )
    assert client.send(b"b NOOP\r\n") == b"b OK NOOP completed\r\n"


def test_without_peek_it_is_seen(client: ImapClient) -> None:
    assert b"FLAGS (\\Seen" not in client.send(b"a FETCH 1 BINARY.SIZE[1]\r\n")
    assert b"FLAGS (\\Seen" in client.send(b"b FETCH 1 BINARY[1]\r\n")


def test_grammar(client: ImapClient) -> None:
    for item in (
        "BINARY[TEXT]",
        "BINARY[1.MIME]",
        "BINARY",
        "BINARY.SIZE[1]<0.1>",
        "BINARY[0]",
        "BINARY[1]<0.0>",
    ):
        assert client.say(f"a FETCH 1 {item}")[-1].startswith("a BAD "), item


# --- APPEND ----------------------------------------------------------------------------------------


def spooled(path: Path, memory: int) -> ImapClient:
    server = ImapServer(FakeAccount())
    server.factory.spool = Spool(path, ImmediatePool(immediate_inbox()), memory=memory)
    client = ImapClient(server, login=True)
    client.connection.in_thread = lambda function: succeed(function())
    return client


@pytest.mark.parametrize("memory", [1000, 1_000_000])
def test_append_of_binary_content(tmp_path: Path, memory: int) -> None:
    client = spooled(tmp_path, memory)
    data = b"\0\r\n\r\0\n" * 1000
    header = b"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    message = header + data
    assert client.send(b"a APPEND INBOX (\\Seen) ~{%d}\r\n" % len(message)) == b"+ OK\r\n"
    assert client.send(message + b"\r\n") == b"a OK [APPENDUID 1600000001 1] APPEND completed\r\n"
    assert list(tmp_path.iterdir()) == []
    client.send(b"s SELECT INBOX\r\n")
    answer = client.send(b"b FETCH 1 (BINARY.PEEK[1] BODYSTRUCTURE)\r\n")
    assert b'"BASE64"' in answer.upper()
    assert b"~{%d}\r\n%b" % (len(data), data) in answer


def test_append_of_text_as_literal8_changes_nothing(tmp_path: Path) -> None:
    client = spooled(tmp_path, 1_000_000)
    client.send(b"a APPEND INBOX ~{%d+}\r\n%b {1+}\r\nx\r\n" % (len(MESSAGE), MESSAGE))
    assert list(client.account.inbox.data.values()) == [MESSAGE, b"x"]


def test_nul_where_it_cannot_be_kept(tmp_path: Path) -> None:
    client = spooled(tmp_path, 1_000_000)
    assert client.send(b"a APPEND INBOX ~{14+}\r\nSubject: \0\r\n\r\n\r\n") == (
        b"a NO [UNKNOWN-CTE] That binary content cannot be kept\r\n"
    )
    assert client.send(b"b APPEND INBOX {1+}\r\n\0\r\n") == b"b NO [CANNOT] NUL in a message\r\n"
    answer: Any = client.send(b"c APPEND INBOX CATENATE (TEXT ~{1+}\r\nx)\r\n")
    assert answer == b"c BAD Expected a literal\r\n"
    assert client.account.inbox.data == {}
