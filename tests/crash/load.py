"""Clients that deliver, append and delete until the server is gone. Each runs in a thread of its own."""

from __future__ import annotations

import imaplib
import poplib
import random
import socket
from collections.abc import Callable

from tests.crash.messages import message
from tests.crash.record import Record
from tests.helpers.server import PASSWORD, Server

REMOTE = "someone@remote.example"
LOCAL = (("alice",), ("bob",), ("alice", "bob"))
CHOICES = (*LOCAL, *LOCAL, (REMOTE,), ("alice", REMOTE))
GONE = (OSError, EOFError, poplib.error_proto, imaplib.IMAP4.abort)


class SmtpClient:
    """Pipelined SMTP on a socket, as plain as can be."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=30)
        self.file = self.socket.makefile("rb")
        self.reply()
        self.socket.sendall(b"EHLO load.sender.example\r\n")
        self.reply()

    def reply(self) -> tuple[int, str]:
        while True:
            line = self.file.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                return int(line[:3]), line.decode("ascii", "replace").strip()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def envelope(self, recipients: list[str]) -> str:
        """Up to the 354; what was said where it is no."""
        lines = ["MAIL FROM:<load@sender.example>", *(f"RCPT TO:<{name}>" for name in recipients), "DATA"]
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())
        wrong = ""
        for _ in lines:
            code, text = self.reply()
            if code >= 400:
                wrong = text
        return wrong

    def body(self, data: bytes) -> tuple[int, str]:
        wire = data.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        self.socket.sendall(wire + b".\r\n")
        return self.reply()


def deliver(server: Server, record: Record) -> None:
    """SMTP without end."""
    client = SmtpClient(server.host, server.ports["smtp"])
    try:
        while True:
            number, users = record.next_message(CHOICES)
            try:
                wrong = client.envelope(
                    [name if "@" in name else f"{name}@{server.domain}" for name in users]
                )
            except GONE:
                record.put_back(number, users)
                raise
            record.sending(number, users)
            code, text = (554, wrong) if wrong else client.body(message(number))
            record.answered(number, users, code == 250, text)
            if wrong:
                return
    finally:
        client.close()


def append(server: Server, record: Record) -> None:
    """IMAP APPEND without end: OK means as much as 250."""
    client = imaplib.IMAP4(server.host, server.ports["imap"], timeout=30)
    try:
        client.login(f"alice@{server.domain}", PASSWORD)
        while True:
            number, users = record.next_message((("alice",),))
            data = message(number).replace(b"\n", b"\r\n")
            record.sending(number, users)
            status, text = client.append("INBOX", "", "", data)
            record.answered(number, users, status == "OK", str(text))
    finally:
        client.shutdown()


def delete(
    server: Server, known: set[int], asked: Callable[[set[int], bool], None], dice: random.Random
) -> None:
    """One POP3 session of bob's that deletes some of the messages whose UIDs are known. `asked` is told them:
    before QUIT with False (they may go now), after its +OK with True (they must be gone)."""
    client = poplib.POP3(server.host, server.ports["pop3"], timeout=30)
    try:
        client.user(f"bob@{server.domain}")
        client.pass_(PASSWORD)
        chosen: set[int] = set()
        for line in client.uidl()[1]:
            number, unique_id = line.split()
            uid = int(unique_id[:8], 16)
            if uid in known and dice.random() < 0.3:
                client.dele(int(number))
                chosen.add(uid)
        if chosen:
            asked(chosen, False)
            client.quit()
            asked(chosen, True)
    finally:
        client.close()
