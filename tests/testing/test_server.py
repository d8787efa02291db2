"""What docs/testing.rst promises to those who write tests."""

from __future__ import annotations

import imaplib
import shutil
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.testing import Server, ServerFailed
from tests.helpers.server import ROOT, eventually

EXAMPLES = ROOT / "docs" / "examples" / "testing"
TEXT = "Subject: hello\r\n\r\nIt works.\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(services=("smtp", "submission", "imap")) as started:
        yield started


@pytest.fixture
def empty(server: Server) -> Server:
    server.clear()
    return server


def send(server: Server, *recipients: str, text: str = TEXT) -> None:
    with smtplib.SMTP(server.host, server.ports["smtp"]) as client:
        client.sendmail("shop@example.org", recipients, text)


def test_the_examples_of_the_document_pass(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir=.", "-p", "no:cacheprovider", "examples"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_document_shows_the_file_as_it_is(path: Path) -> None:
    document = (ROOT / "docs" / "testing.rst").read_text("utf-8")
    shown = "\n".join(f"    {line}" if line else "" for line in path.read_text("utf-8").splitlines())
    assert shown in document


def test_no_mail_leaves_and_everybody_has_a_mailbox(empty: Server) -> None:
    send(empty, "alice@example.org", "Carol@Customer.Example", "carol@customer.example", "dave@other.test")

    assert [message["Subject"] for message in empty.messages("alice")] == ["hello"]
    assert len(empty.wait_for("CAROL@customer.example")) == 1
    assert len(empty.wait_for("dave@other.test")) == 1
    everybody = {"alice@example.org", "carol@customer.example", "dave@other.test"}
    eventually(lambda: {event["to"] for event in empty.events("delivered")[-3:]} == everybody)


def test_a_user_submits_as_anywhere(empty: Server) -> None:
    with smtplib.SMTP(empty.host, empty.ports["submission"]) as client:
        client.login("bob@example.org", empty.password)
        client.sendmail("bob@example.org", ["carol@customer.example"], TEXT)
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("alice@example.org", ["carol@customer.example"], TEXT)

    [message] = empty.wait_for("carol@customer.example")
    assert message["Return-Path"] == "<bob@example.org>"


def test_messages_come_in_order_and_from_any_folder(empty: Server) -> None:
    for number in range(12):
        send(empty, "bob@example.org", text=f"Subject: {number}\r\n\r\n\r\n")
    with imaplib.IMAP4(empty.host, empty.ports["imap"]) as client:
        client.login("bob@example.org", empty.password)
        client.select("INBOX")
        client.store("3", "+FLAGS", "(\\Seen)")
        client.copy("5", "Archive")

    assert [message["Subject"] for message in empty.messages("bob")] == [str(n) for n in range(12)]
    assert [message["Subject"] for message in empty.messages("bob", "Archive")] == ["4"]


def test_clear_is_seen_by_those_who_are_logged_in(empty: Server) -> None:
    send(empty, "alice@example.org", "carol@customer.example")
    with imaplib.IMAP4(empty.host, empty.ports["imap"]) as client:
        client.login("alice@example.org", empty.password)
        assert client.select("INBOX") == ("OK", [b"1"])
        empty.clear()
        assert empty.messages("alice") == empty.messages("carol@customer.example") == []
        assert client.select("INBOX") == ("OK", [b"0"])


def test_mail_that_does_not_come_fails_the_test_and_shows_the_log(empty: Server) -> None:
    with pytest.raises(ServerFailed, match=r"0 of 1 messages for nobody@elsewhere\.example.*within 0\.05 s"):
        empty.wait_for("nobody@elsewhere.example", seconds=0.05)


def test_keys_can_be_given_and_the_folder_goes_with_the_server() -> None:
    with Server(users=["carol"], services=("smtp",), limits={"message_size": "64 KiB"}) as server:
        with smtplib.SMTP(server.host, server.ports["smtp"]) as client:
            client.ehlo()
            assert client.mail("x@elsewhere.example", ["SIZE=65536"])[0] == 250
            client.rset()
            assert client.mail("x@elsewhere.example", ["SIZE=65537"])[0] == 552
        folder, port = server.folder, server.ports["smtp"]
        assert folder.exists()

    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_configuration_that_is_wrong_is_told_by_the_test() -> None:
    server = Server(services=("smtp",), limits={"recipients": "many"})
    with pytest.raises(ServerFailed, match=r"limits\.recipients"), server:
        pass
    assert not server.folder.exists()
