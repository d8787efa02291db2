"""docs/examples: each file does what docs/extending.rst says, in a server that names it as a user would."""

from __future__ import annotations

import imaplib
import smtplib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mailserver.auth.passwords import hash_password
from mailserver.service import Parts
from tests.helpers.server import PASSWORD, ROOT, Server

EXAMPLES = ROOT / "docs" / "examples"
TEXT = "Subject: hello\r\n\r\nIt works.\r\n"


def server_with(folder: Path, name: str, users: tuple[str, ...] = ("alice", "bob")) -> Server:
    """A server whose configuration names the example's `extend`."""
    keys = {"extensions": [f"docs.examples.{name}:extend"]}
    return Server(folder, users=users, services=("smtp", "submission", "imap"), keys=keys)


def deliver(server: Server, sender: str, recipient: str) -> None:
    with smtplib.SMTP(server.host, server.ports["smtp"]) as smtp:
        smtp.sendmail(sender, [recipient], TEXT)


def imap(server: Server, user: str, password: str = PASSWORD) -> imaplib.IMAP4:
    client = imaplib.IMAP4(server.host, server.ports["imap"])
    client.login(user, password)
    return client


def messages(client: imaplib.IMAP4, folder: str) -> int:
    status, [count] = client.select(folder)
    assert status == "OK"
    return int(count or b"0")


def test_users_in_an_sqlite_file(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "users.sqlite")) as database:
        database.execute("CREATE TABLE users (address TEXT PRIMARY KEY, password TEXT NOT NULL)")
        row = ("carol@example.org", hash_password("her own"))
        database.execute("INSERT INTO users VALUES (?, ?)", row)
        database.commit()

    with server_with(tmp_path, "sqlite_users") as server:
        deliver(server, "someone@elsewhere.example", "Carol@example.org")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            deliver(server, "someone@elsewhere.example", "nobody@example.org")

        with smtplib.SMTP(server.host, server.ports["submission"]) as smtp:
            smtp.login("carol@example.org", "her own")
            smtp.sendmail("carol@example.org", ["carol@example.org"], TEXT)
            with pytest.raises(smtplib.SMTPSenderRefused):
                smtp.sendmail("alice@example.org", ["carol@example.org"], TEXT)

        client = imap(server, "carol@example.org", "her own")
        assert messages(client, "INBOX") == 2
        client.logout()
        for user, password in (
            ("carol@example.org", "wrong"),
            ("nobody@example.org", "her own"),
            ("a';--@example.org", "x"),
        ):
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                imap(server, user, password)


def test_a_policy_that_refuses_a_senders_domain(tmp_path: Path) -> None:
    with server_with(tmp_path, "refuse_sender") as server:
        for sender in ("x@spam.example", "x@mail.Spam.example"):
            with pytest.raises(smtplib.SMTPSenderRefused) as caught:
                deliver(server, sender, "bob@example.org")
            assert caught.value.smtp_code == 550
            assert caught.value.smtp_error == b"5.7.1 Mail from this domain is not taken here"

        for sender in ("x@nospam.example", ""):
            deliver(server, sender, "bob@example.org")

        assert "rejected" in server.log()
        client = imap(server, "bob")
        assert messages(client, "INBOX") == 2
        client.logout()


def test_a_router_that_files_by_subaddress(tmp_path: Path) -> None:
    with server_with(tmp_path, "folder_by_subaddress") as server:
        client = imap(server, "bob")
        client.create("lists")
        for recipient in ("bob+lists", "bob+unknown", "bob+a/b", "bob"):
            deliver(server, "someone@elsewhere.example", f"{recipient}@example.org")

        assert messages(client, "lists") == 1
        assert messages(client, "INBOX") == 3
        client.logout()


def test_the_parts_that_the_document_names_are_there() -> None:
    text = (EXAMPLES.parent / "extending.rst").read_text("utf-8")
    for name in ("router", "local", "filters", "checkers", "store"):
        assert f"``parts.{name}``" in text
        assert f"{name}:" in (Parts.__doc__ or "")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_document_shows_the_file_as_it_is(path: Path) -> None:
    """`.. literalinclude::` and `.. include::` are not shown by every viewer, so the text stands there."""
    document = (EXAMPLES.parent / "extending.rst").read_text("utf-8")
    shown = "\n".join(f"    {line}" if line else "" for line in path.read_text("utf-8").splitlines())
    assert shown in document
