"""Dialogs as in the RFCs: lines of the client begin with "C: ", lines of the server with "S: "."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.pop3.engine import Pop3Engine
from mailserver.pop3.events import (
    Answered,
    AuthOffered,
    AuthResponse,
    Event,
    Listed,
    LoginOffered,
    Maildrop,
    MessageRequested,
    Options,
    UpdateRequested,
)
from mailserver.pop3.top import TopCutter

TLS = Options(mechanisms=("PLAIN", "LOGIN", "SCRAM-SHA-256"), starttls=True, secure=True)
CLEAR = Options(mechanisms=(), starttls=True, secure=False)
TWO = (
    b"Subject: one\r\n\r\n" + b"x" * 102 + b"\r\n",
    b"Subject: two\r\n\r\nfirst\r\n.\r\n" + b"y" * 172 + b"\r\n",
)

Answer = Callable[[Pop3Engine, Event], None]


def answer_all(messages: tuple[bytes, ...] = TWO) -> Answer:
    """Says yes to whatever the engine asks."""

    def answer(engine: Pop3Engine, event: Event) -> None:
        if isinstance(event, LoginOffered | AuthOffered | AuthResponse):
            sizes = [len(message) for message in messages]
            engine.opened(Maildrop(sizes, lambda index: f"whqtswO00WBw418f9t5JxYw{index}"))
        elif isinstance(event, MessageRequested):
            data = messages[event.index]
            engine.message(data if event.lines is None else TopCutter(event.lines).cut(data))
        elif isinstance(event, UpdateRequested):
            engine.updated()

    return answer


def run(engine: Pop3Engine, answer: Answer) -> list[Event]:
    """All events there are now, answered."""
    events: list[Event] = []
    while (event := engine.next_event()) is not None:
        events.append(event)
        answer(engine, event)
    return events


def play(engine: Pop3Engine, script: str, answer: Answer | None = None) -> list[Event]:
    """Run a dialog; asserts that the server says what stands there, no more and no less. The events."""
    answer = answer or answer_all()
    events: list[Event] = []
    for said, expected in _turns(script):
        if said is not None:
            engine.receive(said.encode("utf-8") + b"\r\n")
        events += run(engine, answer)
        got = engine.data_to_send().decode("utf-8")
        assert got == expected, f"after {said!r}:\n{got}--- expected\n{expected}"
    return [event for event in events if not isinstance(event, Answered | Listed)]


def _turns(script: str) -> list[tuple[str | None, str]]:
    turns: list[tuple[str | None, str]] = []
    for line in script.splitlines():
        text = line.lstrip()
        if text.startswith("C:"):
            turns.append((text[3:], ""))
        elif text.startswith("S:"):
            said, expected = turns.pop() if turns else (None, "")
            turns.append((said, expected + text[3:] + "\r\n"))
    return turns


def whole_and_byte_by_byte(options: Options, data: bytes, answer: Answer) -> list[Event]:
    """The same input in one segment and byte by byte gives the same events and the same bytes."""
    whole = Pop3Engine(options)
    whole.receive(data)
    events = run(whole, answer)
    slow = Pop3Engine(options)
    slow_events: list[Event] = []
    for number in range(len(data)):
        slow.receive(data[number : number + 1])
        slow_events += run(slow, answer)
    assert events == slow_events
    assert whole.data_to_send() == slow.data_to_send()
    return events
