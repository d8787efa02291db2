"""What the tests of clients share: running programs, and looking into an account."""

from __future__ import annotations

import email.policy
import imaplib
import os
import poplib
import re
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import NoReturn

import pytest
from attrs import frozen

from tests.helpers.server import PASSWORD, Server

SECONDS = 60.0


@frozen
class Programs:
    """Programs run in `home`, which is their home and where they find their configuration."""

    home: Path

    def path(self, name: str) -> str:
        """Where a program is; the test is skipped where there is none, or fails where all are required."""
        found = shutil.which(name)
        if found is None:
            self._missing(name)
        return found

    def file(self, path: Path, name: str) -> None:
        """As `path` for a library that a program needs."""
        if not path.exists():
            self._missing(name)

    @staticmethod
    def _missing(name: str) -> NoReturn:
        if os.environ.get("MAILSERVER_TESTS_REQUIRE") == "all":
            pytest.fail(f'{name} is not installed, and MAILSERVER_TESTS_REQUIRE is "all"')
        pytest.skip(f"{name} is not installed")

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def run(
        self,
        *words: str | Path,
        data: bytes = b"",
        status: int | None = 0,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Everything the program printed. It must end with `status` (None: any)."""
        done = subprocess.run(
            [self.path(str(words[0])), *map(str, words[1:])],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=self.environment | dict(environment or {}),
            timeout=SECONDS,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        assert status is None or done.returncode == status, (
            f"{words[0]} ended with {done.returncode}:\n{output}"
        )
        return output

    def write(self, name: str, text: str) -> Path:
        """A configuration file that only its owner can read."""
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        return path


@frozen
class Account:
    """A user of the server. `authority`: the certificate to verify the server with."""

    server: Server
    user: str
    authority: Path
    password: str = PASSWORD

    def port(self, service: str) -> int:
        return self.server.ports[service]

    @property
    def local_part(self) -> str:
        return self.user.partition("@")[0]

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    # --- connections ------------------------------------------------------------------------------

    def imap(self) -> imaplib.IMAP4:
        """Logged in, over TLS."""
        client = imaplib.IMAP4_SSL(
            "localhost", self.port("imaps"), ssl_context=self.context(), timeout=SECONDS
        )
        client.login(self.user, self.password)
        return client

    def pop(self) -> poplib.POP3_SSL:
        """Logged in, over TLS."""
        client = poplib.POP3_SSL("localhost", self.port("pop3s"), context=self.context(), timeout=SECONDS)
        client.user(self.user)
        client.pass_(self.password)
        return client

    def submission(self) -> smtplib.SMTP:
        """Logged in, after STARTTLS."""
        client = smtplib.SMTP("localhost", self.port("submission"), timeout=SECONDS)
        client.starttls(context=self.context())
        client.login(self.user, self.password)
        return client

    # --- mail -------------------------------------------------------------------------------------

    def deliver(self, *messages: EmailMessage) -> None:
        """From outside, over port 25."""
        with smtplib.SMTP("localhost", self.port("smtp"), timeout=SECONDS) as client:
            for made in messages:
                client.send_message(made, "sender@remote.example", [self.user])

    def fetch(self, folder: str = "INBOX") -> list[EmailMessage]:
        """All messages of a folder, by IMAP, in order."""
        client = self.imap()
        try:
            assert client.select(folder, readonly=True)[0] == "OK"
            answers = client.uid("FETCH", "1:*", "(BODY.PEEK[])")[1]
            return [parse(answer[1]) for answer in answers if isinstance(answer, tuple)]
        finally:
            client.logout()

    def subjects(self, folder: str = "INBOX") -> list[str]:
        return [str(made["Subject"]) for made in self.fetch(folder)]

    def flagged(self, folder: str = "INBOX") -> list[tuple[str, set[str]]]:
        """Subject and flags of each message, \\Recent left out."""
        client = self.imap()
        try:
            assert client.select(folder, readonly=True)[0] == "OK"
            found = []
            answers = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            for answer in answers:
                if isinstance(answer, tuple):
                    flags = re.search(rb"FLAGS \(([^)]*)\)", answer[0])
                    assert flags is not None
                    names = set(flags[1].decode().split()) - {"\\Recent"}
                    found.append((str(parse(answer[1])["Subject"]), names))
            return found
        finally:
            client.logout()

    def flags(self, folder: str = "INBOX") -> dict[str, set[str]]:
        """The same where each subject is there once."""
        return dict(self.flagged(folder))


def parse(data: bytes) -> EmailMessage:
    made = email.message_from_bytes(data.replace(b"\r\n", b"\n"), policy=email.policy.default)
    assert isinstance(made, EmailMessage)
    return made


def message(
    subject: str, body: str = "hello\n", sender: str = "sender@remote.example", to: str = ""
) -> EmailMessage:
    """A message with a text body."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = to or "somebody@example.org"
    made["Subject"] = subject
    made.set_content(body)
    return made


def lines(*texts: str) -> str:
    return "".join(text + "\n" for text in texts)
