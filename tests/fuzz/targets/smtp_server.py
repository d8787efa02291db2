"""The SMTP server's engine: all in one segment and octet by octet."""

from __future__ import annotations

import re
from typing import Any

from mailserver.errors import AuthenticationFailed, NoSuchUser, TemporaryFailure
from mailserver.smtp import events
from mailserver.smtp.dialects import LMTP
from mailserver.smtp.engine import MAX_LINE, SmtpEngine
from mailserver.smtp.extensions import Options
from tests.fuzz.targets import options
from tests.smtp.talk import Talk

HOST = "mail.example.org"
WAYS = [
    Options(HOST, max_size=600, starttls=True),
    Options(HOST, max_size=100_000, mechanisms=("PLAIN", "LOGIN"), errors=1000, junk=1000),
    Options(HOST, max_size=100_000, mechanisms=("PLAIN",), errors=5, junk=5),
    Options(HOST, needs_tls=True, starttls=True),
    Options(HOST, max_size=600, dialect=LMTP),
    Options(HOST, max_size=600, mechanisms=("PLAIN",), xclient=("ADDR",)),
]
TOKENS = [
    *(b"LHLO x\r\n", b"XCLIENT ADDR=192.0.2.1\r\n"),
    *(b"EHLO x\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.example>", b"MAIL FROM:<>", b"RCPT TO:<c@d.example>"),
    *(
        b"DATA\r\n",
        b"BDAT 5",
        b" LAST\r\n",
        b"\r\n.\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY x\r\n",
        b"HELP\r\n",
    ),
    *(
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"AUTH LOGIN\r\n",
        b"YQ==\r\n",
        b"*\r\n",
        b"=\r\n",
    ),
    *(
        b" SIZE=100",
        b" BODY=8BITMIME",
        b" SMTPUTF8",
        b" RET=HDRS",
        b" ENVID=x",
        b" NOTIFY=NEVER",
        b" AUTH=<>",
    ),
    *(b" ORCPT=rfc822;a+2Bb", b"\r", b"\n", b"\r\n", b"\0", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"),
]
_REPLY = re.compile(rb"(?:[2-5]\d\d[ -][\x20-\x7e]*\r\n)*")


class _Talk(Talk):
    """Refuses some recipients and bodies, and asks twice in AUTH LOGIN."""

    def __init__(self, way: Options) -> None:
        super().__init__(way, greet=True)
        self.sasl = self._sasl
        self.sent = b""

    @staticmethod
    def _sasl(engine: SmtpEngine, event: Any) -> None:
        if isinstance(event, events.AuthOffered) and event.command.mechanism == "LOGIN":
            engine.challenge(b"User")
        elif isinstance(event, events.AuthResponse) and event.data == b"no":
            engine.refuse(AuthenticationFailed())
        elif isinstance(event, events.AuthResponse) and event.data == b"last":
            engine.challenge(b"v=x", last=True)
        else:
            engine.accept()

    def _answer(self, event: Any) -> None:
        self.refuse = {}
        if isinstance(event, events.RecipientOffered) and str(event.command.path).startswith("no"):
            self.refuse = {events.RecipientOffered: NoSuchUser()}
        elif isinstance(event, events.BodyEnded) and event.size % 7 == 0:
            self.refuse = {events.BodyEnded: TemporaryFailure()}
        elif isinstance(event, events.TlsRequested):
            self.engine.accept()
            self.engine.tls_started()
            return
        super()._answer(event)

    def feed(self, data: bytes) -> None:
        self.engine.receive(data)
        self.run()
        self.sent += self.engine.data_to_send()
        assert self.engine.buffered <= MAX_LINE, "kept more than a line"


def check(data: bytes) -> None:
    way, data = options(data, len(WAYS))
    whole, single = _Talk(WAYS[way]), _Talk(WAYS[way])
    whole.feed(data)
    single.feed(b"")
    for at in range(len(data)):
        single.feed(data[at : at + 1])
    assert _REPLY.fullmatch(whole.sent), "what was sent is no reply"
    assert len(whole.sent) <= 1000 + 400 * data.count(b"\n"), "answers without bound"
    if whole.closed() == "pipelining" or b"STARTTLS" in data.upper():
        return  # commands that have to end a segment see the segments
    assert list(map(repr, single.events)) == list(map(repr, whole.events))  # errors are no values
    assert single.sent == whole.sent
    assert single.messages == whole.messages
