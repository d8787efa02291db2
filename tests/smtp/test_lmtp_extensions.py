"""LMTP (RFC 2033) with BINARYMIME (RFC 3030) and REQUIRETLS (RFC 8689), in the server and in the client."""

from __future__ import annotations

import smtplib
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from attrs import evolve

from mailserver.smtp.client.answers import local_reply
from mailserver.smtp.client.values import Mail, SendBody
from tests.helpers.server import Server
from tests.smtp.client.test_lmtp import opened
from tests.smtp.service import World
from tests.smtp.test_lmtp_server import ALICE, BOB, inbox

OCTETS = bytes(range(256)) * 40 + b"\r\n.\r\n\n\r"
MESSAGE = b"Subject: octets\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + OCTETS
TO = Mail("a@example.org", ("pat@foo.edu", "jones@foo.edu"), size=len(MESSAGE), binary=True)
BINARY = b"250-foo.edu\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 REQUIRETLS\r\n"


def test_a_binary_message_for_several(tmp_path: Path) -> None:
    """Two chunks: the first has one reply, the last one for each recipient; mailboxes get text."""
    with Server(tmp_path, services=("lmtp",)) as server:
        client = smtplib.LMTP(server.host, server.ports["lmtp"])
        client.ehlo_or_helo_if_needed()
        assert client.has_extn("binarymime")
        assert client.docmd("MAIL FROM:<s@elsewhere.example> BODY=BINARYMIME")[0] == 250
        codes = [client.docmd(f"RCPT TO:<{name}>")[0] for name in (ALICE, "nobody@example.org", BOB)]
        assert codes == [250, 550, 250]
        client.send(b"BDAT 100\r\n" + MESSAGE[:100])
        assert client.getreply()[0] == 250
        client.send(b"BDAT %d LAST\r\n%b" % (len(MESSAGE) - 100, MESSAGE[100:]))
        ends = [client.getreply() for _ in range(2)]
        assert [code for code, _ in ends] == [250, 250]
        assert [ALICE.encode() in ends[0][1], BOB.encode() in ends[1][1]] == [True, True]
        for user in ("alice", "bob"):
            (found,) = inbox(server, user)
            assert message_from_bytes(found, policy=policy.default).get_content() == OCTETS  # type: ignore[attr-defined]
        assert client.docmd("NOOP")[0] == 250


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])
def test_the_client_sends_one(step: int) -> None:
    dialog = opened(step, BINARY)
    dialog.engine.transact(TO)
    assert dialog.client().startswith(b"MAIL FROM:<a@example.org> BODY=BINARYMIME\r\n")
    dialog.server(b"250 OK\r\n250 OK\r\n250 OK\r\n")
    assert dialog.client() == b"BDAT %d LAST\r\n" % len(MESSAGE)
    assert dialog.events() == [SendBody(len(MESSAGE))]
    dialog.engine.body_sent()
    dialog.server(b"250 OK\r\n")
    assert dialog.events() == []
    dialog.server(b"452 4.2.2 full\r\n")
    assert dialog.codes() == [250, 452]
    dialog.engine.transact(TO)
    assert dialog.client().startswith(b"RSET\r\n"), "what a failed BDAT leaves behind nobody knows"


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])
def test_the_connection_breaks_between_the_ends_of_one(step: int) -> None:
    dialog = opened(step, BINARY)
    dialog.engine.transact(TO)
    dialog.server(b"250 OK\r\n250 OK\r\n250 OK\r\n")
    dialog.engine.body_sent()
    dialog.server(b"250 OK\r\n")
    dialog.engine.failed(local_reply(451, "4.4.2", "connection lost"))
    assert dialog.codes() == [250, 451]


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])
def test_the_client_requires_tls(step: int) -> None:
    """RFC 8689, 2: LMTP too. In clear it is refused here, and nothing was sent."""
    for secured, line in (False, b""), (True, b"MAIL FROM:<a@example.org> REQUIRETLS\r\n"):
        dialog = opened(step, BINARY)
        dialog.engine.secured = secured
        dialog.engine.transact(evolve(TO, binary=False, require_tls=True))
        assert dialog.client().startswith(line)
        if not secured:
            assert dialog.codes() == [550, 550]


def test_the_server_takes_what_requires_tls() -> None:
    """Announced inside TLS only, and kept with the message that an alias leads elsewhere with."""
    client = World("lmtp").connect()
    assert "REQUIRETLS" not in "".join(client.say(b"LHLO a\r\n"))
    assert client.line("STARTTLS")[:4] == "220 "
    client.connection.handshakeCompleted()
    assert "REQUIRETLS" in "".join(client.say(b"LHLO a\r\n"))
    assert client.line("MAIL FROM:<s@elsewhere.example> REQUIRETLS")[:4] == "250 "
    assert client.connection._transaction is not None
    assert client.connection._transaction.envelope(0.0, b"\n").require_tls is True
