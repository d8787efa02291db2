"""A client for engine tests: says lines, gives the replies, answers the engine's questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mailserver.errors import MailError
from mailserver.smtp.engine import SmtpEngine
from mailserver.smtp.events import (
    AuthOffered,
    AuthResponse,
    BodyEnded,
    BodyReceived,
    ClientTold,
    MailOffered,
    RecipientOffered,
    TlsRequested,
)
from mailserver.smtp.extensions import Options

OPTIONS = Options("mail.example.org", max_size=100_000, starttls=True)
QUESTIONS = (
    *(MailOffered, RecipientOffered, BodyEnded, AuthOffered, AuthResponse, TlsRequested, ClientTold),
)


class Talk:
    """One session.

    refuse: by question type, what to answer instead of `accept` (None: leave the question open).
    events: all events but pieces of messages; messages: bodies that were accepted.
    """

    def __init__(self, options: Options = OPTIONS, *, greet: bool = False) -> None:
        self.engine = SmtpEngine(options)
        self.refuse: dict[type, MailError | None] = {}
        self.sasl: Callable[[SmtpEngine, Any], None] = lambda engine, event: engine.accept()
        self.events: list[Any] = []
        self.messages: list[bytes] = []
        self.senders: list[str] = []
        self.recipients: list[str] = []
        self._text = b""
        if greet:
            self.engine.greet()

    def say(self, data: bytes) -> list[str]:
        """Send octets; the reply lines."""
        self.engine.receive(data)
        return self.replies()

    def replies(self) -> list[str]:
        self.run()
        return self.engine.data_to_send().decode("ascii").split("\r\n")[:-1]

    def line(self, text: str) -> str:
        """Send a command, get its one reply (the last line of a multi-line one)."""
        return self.say(text.encode("utf-8", "surrogateescape") + b"\r\n")[-1]

    def cut(self, segments: Iterable[bytes]) -> list[str]:
        made: list[str] = []
        for segment in segments:
            made += self.say(segment)
        return made

    def run(self) -> None:
        while (event := self.engine.next_event()) is not None:
            if isinstance(event, BodyReceived):
                self._text += event.data
                continue
            self.events.append(event)
            if isinstance(event, QUESTIONS):
                self._answer(event)

    def _answer(self, event: Any) -> None:
        if type(event) in self.refuse:
            error = self.refuse[type(event)]
            if error is not None:
                self.engine.refuse(error)
        elif isinstance(event, AuthOffered | AuthResponse):
            self.sasl(self.engine, event)
        else:
            if isinstance(event, MailOffered):
                self._text = b""
                self.senders.append(event.command.reverse_path)
            elif isinstance(event, RecipientOffered):
                self.recipients.append(str(event.command.path))
            elif isinstance(event, BodyEnded):
                self.messages.append(self._text)
            self.engine.accept()
        if isinstance(event, BodyEnded):
            self._text = b""

    # --- shortcuts --------------------------------------------------------------------------------

    def hello(self) -> Talk:
        assert self.line("EHLO client.example").startswith("250 ")
        return self

    def to_data(self) -> Talk:
        self.hello()
        assert self.line("MAIL FROM:<s@example.com>") == "250 2.1.0 Sender ok"
        assert self.line("RCPT TO:<r@example.org>") == "250 2.1.5 Recipient ok"
        assert self.line("DATA").startswith("354 ")
        return self

    def closed(self) -> str:
        """Why the engine closed; "" where it did not."""
        return next((event.reason for event in self.events if type(event).__name__ == "Closing"), "")


def by_byte(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]
