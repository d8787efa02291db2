"""The POP3 engine: all in one segment and octet by octet."""

from __future__ import annotations

import re

from mailserver.errors import AuthenticationFailed
from mailserver.pop3.engine import MAX_LINE, Pop3Engine
from mailserver.pop3.events import AuthOffered, AuthResponse, Event, LoginOffered, Options, TlsRequested
from tests.fuzz.targets import options
from tests.pop3.dialog import answer_all, run

WAYS = [
    Options(("PLAIN", "LOGIN"), starttls=True, errors=1000),
    Options(("PLAIN",), starttls=True, errors=5),
    Options((), starttls=False, errors=20),
]
TOKENS = [
    *(b"USER a\r\n", b"PASS b\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"AUTH LOGIN\r\n", b"AUTH\r\n", b"CAPA\r\n"),
    *(
        b"STLS\r\n",
        b"UTF8\r\n",
        b"LANG de\r\n",
        b"LANG\r\n",
        b"STAT\r\n",
        b"LIST\r\n",
        b"LIST 1\r\n",
        b"UIDL\r\n",
    ),
    *(
        b"UIDL 2\r\n",
        b"RETR 1\r\n",
        b"TOP 1 0\r\n",
        b"DELE 1\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"*\r\n",
    ),
    *(b"YQ==\r\n", b"\r\n", b"\r", b"\n", b"\0", b"4294967296", b"-1", b" "),
]
_OUTPUT = re.compile(rb"(?:[^\r\n]*\r\n)*")
_AGAIN = Options(("PLAIN",), secure=True)


def _answer(engine: Pop3Engine, event: Event) -> None:
    if isinstance(event, AuthOffered) and event.response is None:
        engine.challenge(b"go on")
    elif isinstance(event, AuthResponse) and event.data != b"a":
        engine.refuse(AuthenticationFailed())
    elif isinstance(event, LoginOffered) and event.password == b"no":
        engine.refuse(AuthenticationFailed(), hang_up=True)
    elif isinstance(event, TlsRequested):
        engine.tls_started(_AGAIN)
    else:
        answer_all()(engine, event)


def check(data: bytes) -> None:
    way, data = options(data, len(WAYS))
    whole, single = Pop3Engine(WAYS[way]), Pop3Engine(WAYS[way])
    whole.receive(data)
    events = run(whole, _answer)
    slowly: list[Event] = []
    for at in range(len(data)):
        single.receive(data[at : at + 1])
        slowly += run(single, _answer)
        assert single.unread <= MAX_LINE, "kept more than a line"
    sent, sent_slowly = whole.data_to_send(), single.data_to_send()
    assert _OUTPUT.fullmatch(sent), "something else than lines was sent"
    assert len(sent) <= 600 + 600 * data.count(b"\n"), "answers without bound"
    if not any(
        isinstance(event, TlsRequested) for event in events
    ):  # what comes in clear behind it is dropped
        assert slowly == events
        assert sent_slowly == sent
