"""LMTP to a real server, over TCP and Unix sockets, with one process and with two."""

from __future__ import annotations

import os
import smtplib
import stat
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.helpers.server import Server, eventually
from tests.helpers.smtp_sink import SmtpSink

ALICE, BOB = "alice@example.org", "bob@example.org"
TEXT = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room: that of a Unix socket has 107 octets at most."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def replies(client: smtplib.LMTP, recipients: list[str], text: bytes = TEXT) -> list[bytes]:
    """Of each recipient the refusal at RCPT, or what is told at the end of the message. (`sendmail` of Python
    reads one reply for all.)"""
    client.ehlo_or_helo_if_needed()
    assert client.docmd("MAIL FROM:<s@elsewhere.example>")[0] == 250
    at_rcpt = [client.docmd(f"RCPT TO:<{recipient}>") for recipient in recipients]
    assert client.docmd("DATA")[0] == 354
    client.send(text + b".\r\n")
    ends = [client.getreply() if code == 250 else (code, text) for code, text in at_rcpt]
    return [b"%d %b" % end for end in ends]


def codes(client: smtplib.LMTP, recipients: list[str], text: bytes = TEXT) -> list[int]:
    return [int(reply[:3]) for reply in replies(client, recipients, text)]


def inbox(server: Server, user: str) -> list[bytes]:
    folder = server.maildir(user)
    return [path.read_bytes() for part in ("new", "cur") for path in (folder / part).glob("*")]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unix_socket(tmp_path: Path, short: Path, workers: int) -> None:
    path = short / "lmtp"
    listen = {"lmtp": [f"unix:{path}"]}
    with Server(tmp_path, services=("imap",), listen=listen, keys={"workers": workers}) as server:
        if workers > 1:
            eventually(lambda: server.log().count(" is process ") == workers)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for _ in range(10):
            with smtplib.LMTP(str(path)) as client:
                assert codes(client, [ALICE, "nobody@example.org", BOB]) == [250, 550, 250]
        assert len(inbox(server, "alice")) == len(inbox(server, "bob")) == 10
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        server.kill()
        server.start()
        with smtplib.LMTP(str(path)) as client:
            assert codes(client, [ALICE]) == [250]
        server.restart()
        with smtplib.LMTP(str(path)) as client:
            assert codes(client, [ALICE]) == [250]
        assert server.stop() == 0
        assert os.listdir(short) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unix_socket_in_a_folder_that_is_not_there(tmp_path: Path, short: Path, workers: int) -> None:
    listen = {"lmtp": [f"unix:{short}/missing/lmtp"]}
    server = Server(tmp_path, services=("imap",), listen=listen, keys={"workers": workers})
    process = server.start(ready=False).process
    assert process is not None
    assert process.wait(30) == 1
    assert f"mailserver: cannot listen on unix:{short}/missing/lmtp: " in server.log()
    assert "Traceback" not in server.log()


def test_the_mode_of_a_unix_socket(tmp_path: Path, short: Path) -> None:
    path = short / "lmtp"
    with Server(tmp_path, services=("imap",), listen={"lmtp": [f"unix:{path}:mode=666"]}):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_recipients_have_ends_of_their_own(tmp_path: Path) -> None:
    """One mailbox is full, one cannot be written to, one is an alias to another server, one is well."""
    with SmtpSink() as sink:
        relay = {"routes": {"elsewhere.example": f"127.0.0.1:{sink.port}"}}
        away = {"away@example.org": ["x@elsewhere.example"]}
        users = ("alice", "bob", "carol")
        with Server(tmp_path, services=("lmtp",), users=users, aliases=away, relay=relay) as server:
            path = server.folder / "users.toml"
            path.write_text(path.read_text().replace('[users."bob@', 'quota = "1 KiB"\n[users."bob@', 1))
            server.restart()
            client = smtplib.LMTP(server.host, server.ports["lmtp"])
            assert codes(client, [BOB, ALICE, "carol@example.org"]) == [250, 250, 250]
            carol = server.maildir("carol") / "new"
            for file in carol.iterdir():
                file.unlink()
            carol.rmdir()
            carol.write_bytes(b"no folder")
            text = TEXT + b"x" * 500 + b"\r\n" + b"y" * 500 + b"\r\n"
            told = replies(client, [ALICE, BOB, "carol@example.org", "away@example.org"], text)
            assert [reply[:9] for reply in told] == [b"452 4.2.2", b"250 2.0.0", b"451 4.3.0", b"250 2.0.0"]
            assert told[0] == b"452 4.2.2 <alice@example.org> Mailbox is full"
            client.quit()
            assert len(inbox(server, "alice")) == 1
            delivered = [message_from_bytes(text) for text in inbox(server, "bob")]
            assert len(delivered) == 2
            assert all(" with LMTP id " in message["Received"] for message in delivered)
            eventually(lambda: len(sink.taken) == 1)
            eventually(lambda: not list((server.data / "queue").glob("messages/*/*")), what="an empty queue")
