"""The SMTP client's engine against a server that says anything. "|" ends a segment, after which the driver
answers what the engine asked for; within a segment, cuts make no difference."""

from __future__ import annotations

import re

from mailserver.smtp.client.answers import MAX_LINE
from mailserver.smtp.client.engine import ClientEngine
from mailserver.smtp.client.values import (
    ClientOptions,
    Event,
    Failed,
    Finished,
    Mail,
    Ready,
    SendBody,
    StartTls,
    TlsUse,
    TransactionDone,
)
from tests.fuzz.targets import options

HOST = "relay.example.org"
WAYS = [
    ClientOptions(HOST),
    ClientOptions(HOST, tls=TlsUse.NEVER),
    ClientOptions(HOST, tls=TlsUse.MUST, username="me", password="secret"),
    ClientOptions(HOST, secure=True, username="me", password="secret"),
    ClientOptions(HOST, lmtp=True),
]
MAILS = [
    Mail("a@example.org", ("b@example.net", "c@example.net"), size=100),
    Mail("", ("b@example.net",), size=10_000, eight_bit=True),
    Mail("ü@example.org", ("b@example.net", "x\r\ny@example.net"), utf8=True),
]
TOKENS = [
    *(b"220 mx ESMTP\r\n|", b"250-mx\r\n", b"250-PIPELINING\r\n", b"250-SIZE 1000\r\n", b"250-STARTTLS\r\n"),
    *(
        b"250-8BITMIME\r\n",
        b"250-SMTPUTF8\r\n",
        b"250-DSN\r\n",
        b"250-CHUNKING\r\n",
        b"250 AUTH PLAIN LOGIN\r\n|",
    ),
    *(
        b"250 2.1.0 ok\r\n|",
        b"250 x\r\n",
        b"354 go\r\n|",
        b"450 4.2.1 no\r\n|",
        b"550 5.1.1 no\r\n|",
        b"221 bye\r\n|",
    ),
    *(
        b"220 go\r\n|",
        b"235 2.7.0 in\r\n|",
        b"334 VXNlcg==\r\n|",
        b"421 4.3.2 closing\r\n",
        b"452 4.5.3 many\r\n",
    ),
    *(b"552 5.5.3 many\r\n", b"-", b" ", b"\r\n", b"\n", b"\r", b"\0", b"|", b"\x1b[1m", b"\xc2\x85"),
]
_LINES = re.compile(rb"(?:[^\r\n\0]*\r\n)*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class _Driver:
    """What `Sender` does, without a connection."""

    def __init__(self, way: ClientOptions) -> None:
        self.engine = ClientEngine(way)
        self.mails = list(MAILS)
        self.events: list[Event] = []
        self.sent = b""
        self.open = 0  # transactions without an end

    def feed(self, data: bytes) -> None:
        self.engine.receive(data)
        self.sent += self.engine.data_to_send()
        assert len(self.engine._parser._data) <= MAX_LINE + 1, "kept more than a line"

    def answer(self) -> None:
        while (event := self.engine.next_event()) is not None:
            self.events.append(event)
            self._take(event)
        self.sent += self.engine.data_to_send()

    def _take(self, event: Event) -> None:
        if isinstance(event, StartTls):
            self.engine.tls_established()
        elif isinstance(event, SendBody):
            self.sent += b".\r\n"
            self.engine.body_sent()
        elif isinstance(event, TransactionDone):
            self.open -= 1
            sent = MAILS[len(MAILS) - len(self.mails) - 1]
            assert len(event.replies) == len(sent.recipients), "an answer for each recipient"
            for reply in event.replies:
                assert 200 <= reply.code < 600
                assert not _CONTROL.search(str(reply)), "a control character in a reply"
        if isinstance(event, Ready | TransactionDone) and self.engine.usable:
            if self.mails:
                self.open += 1
                self.engine.transact(self.mails.pop(0))
            else:
                self.engine.quit()


def check(data: bytes) -> None:
    way, data = options(data, len(WAYS))
    whole, single = _Driver(WAYS[way]), _Driver(WAYS[way])
    for segment in data.split(b"|"):
        whole.feed(segment)
        for at in range(len(segment)):
            single.feed(segment[at : at + 1])
        whole.answer()
        single.answer()
    assert single.events == whole.events
    assert single.sent == whole.sent
    assert _LINES.fullmatch(whole.sent), "something else than lines was sent"
    assert b"x\ry" not in whole.sent
    assert len(whole.sent) < 10_000, "output without bound"
    assert whole.open in (0, 1)
    ends = [event for event in whole.events if isinstance(event, Failed | Finished)]
    assert len(ends) <= 1, "the session ended twice"
    if ends:
        assert whole.open == 0, "a transaction without an outcome"
