"""What the clients do: sessions as people's programs have them, and some as nobody should."""

from __future__ import annotations

import imaplib
import poplib
import random
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.helpers.server import PASSWORD, Server

SECONDS = 60  # that an answer may take
TEXT = b"From: a@sender.example\r\nSubject: soak %d\r\nMessage-ID: <%d@soak.example>\r\n\r\n"
_NONSENSE = (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n", b"a LOGIN {9999}\r\n")
LINE = b"All work and no play makes a dull day, said the line to the next one.\r\n"


class Person:
    """One client: `live` has sessions, one after the other, for as long as `goes_on` waits and says True."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.dice = random.Random(seed)
        self.sessions = 0

    def live(self, goes_on: Callable[[float], bool]) -> None:
        while goes_on(self.dice.uniform(0.0, 1.0)):
            self.dice.choices(_SESSIONS, _WEIGHTS)[0](self)
            self.sessions += 1

    def visit(self, user: str) -> None:
        """The first mail of a user, and a look at it."""
        with smtplib.SMTP(self.server.host, self.server.ports["smtp"], timeout=SECONDS) as client:
            client.sendmail("a@sender.example", [f"{user}@{self.server.domain}"], self._message())
        with self._imap(f"{user}@{self.server.domain}") as mailbox:
            for folder in ("INBOX", "Drafts"):
                mailbox.select(folder)
            _done(mailbox.search(None, "TEXT", "soak"))

    def _user(self) -> str:
        return self.dice.choice(self.server.users)

    def _message(self) -> bytes:
        number = self.dice.randrange(10**9)
        return TEXT % (number, number) + LINE * self.dice.choice((1, 20, 60, 600))

    # --- sessions ---------------------------------------------------------------------------------

    def send(self) -> None:
        """Some messages, some to several."""
        with smtplib.SMTP(self.server.host, self.server.ports["smtp"], timeout=SECONDS) as client:
            for _ in range(self.dice.randint(1, 4)):
                people = [self._user() for _ in range(self.dice.choice((1, 1, 3)))]
                client.sendmail("a@sender.example", people, self._message())

    def break_off(self) -> None:
        """The line breaks in the middle of a message."""
        with self._connected("smtp") as line:
            line.sendall(b"EHLO soak.example\r\nMAIL FROM:<a@sender.example>\r\n")
            line.sendall(b"RCPT TO:<%b>\r\nDATA\r\n" % self._user().encode() + self._message())
            line.recv(4096)

    def read(self) -> None:
        """A mail program: looks, flags, files, throws away."""
        with self._imap() as client:
            count = int((client.select("INBOX")[1][0] or b"0").decode())
            if count:
                _done(client.fetch(f"{max(1, count - 20)}:*", "(UID FLAGS ENVELOPE BODYSTRUCTURE)"))
                _done(client.fetch(str(count), "(BODY.PEEK[])"))
                _done(client.search(None, "SUBJECT", "soak"))
                _done(client.store(str(self.dice.randint(1, count)), "+FLAGS", "(\\Seen)"))
            _done(client.append("Drafts", "(\\Draft)", "", self._message()))
            client.select("Drafts")
            _done(client.store("1:*", "+FLAGS", "(\\Deleted)"))
            _done(client.expunge())

    def wait_for_mail(self) -> None:
        """IDLE, which ends one way or the other."""
        with self._imap() as client:
            client.select("INBOX")
            client.send(b"i IDLE\r\n")
            client.readline()
            client.sock.settimeout(self.dice.uniform(0.1, 2.0))
            with suppress(TimeoutError):
                client.sock.recv(4096)
            client.sock.settimeout(SECONDS)
            if self.dice.random() < 0.7:
                client.send(b"DONE\r\n")

    def fetch_all(self) -> None:
        """POP3 takes everything, so that mailboxes stay small."""
        client = poplib.POP3(self.server.host, self.server.ports["pop3"], timeout=SECONDS)
        try:
            client.user(self._user())
            client.pass_(PASSWORD)
            for number in range(1, len(client.list()[1]) + 1):
                try:
                    client.retr(number)
                except poplib.error_proto as error:
                    if b"no longer exists" not in error.args[0]:  # another session has taken it
                        raise
                client.dele(number)
            client.quit()
        finally:
            client.close()

    def look_in_under_tls(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = self.server.host, self.server.ports["imaps"]
        client = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=SECONDS)
        client.login(self._user(), PASSWORD)
        _done(client.status("INBOX", "(MESSAGES UNSEEN)"))
        client.logout()

    def misbehave(self) -> None:
        """Nonsense, half a command, a wrong protocol, and away."""
        with self._connected(self.dice.choice(("smtp", "imap", "pop3", "imaps"))) as line:
            line.sendall(
                self.dice.choice(
                    (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n", b"a LOGIN {9999}\r\n")
                )
            )
            line.sendall(self.dice.randbytes(self.dice.randint(0, 3000)))
            line.settimeout(0.2)
            line.recv(4096)

    def guess(self) -> None:
        client = imaplib.IMAP4(self.server.host, self.server.ports["imap"], timeout=SECONDS)
        with suppress(imaplib.IMAP4.error):
            client.login(self._user(), "wrong")
        client.shutdown()

    # --- connections ------------------------------------------------------------------------------

    @contextmanager
    def _connected(self, service: str) -> Iterator[socket.socket]:
        """A line whose end is nobody's fault."""
        address = (self.server.host, self.server.ports[service])
        with suppress(OSError), socket.create_connection(address, timeout=SECONDS) as line:
            yield line

    @contextmanager
    def _imap(self, user: str = "") -> Iterator[imaplib.IMAP4]:
        client = imaplib.IMAP4(self.server.host, self.server.ports["imap"], timeout=SECONDS)
        try:
            client.login(user or self._user(), PASSWORD)
            yield client
        finally:
            client.shutdown()


def _done(answer: tuple[str, object]) -> None:
    """Another session may have thrown the message away meanwhile; all else is a failure."""
    if answer[0] != "OK" and "EXPUNGEISSUED" not in str(answer):
        raise AssertionError(f"the server said {answer}")


_SESSIONS = (
    *(Person.send, Person.break_off, Person.read, Person.wait_for_mail, Person.fetch_all),
    *(Person.look_in_under_tls, Person.misbehave, Person.guess),
)
_WEIGHTS = (6, 1, 4, 4, 3, 1, 1, 1)
