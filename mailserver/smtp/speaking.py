"""What an SMTP server says and how it ends: the base of the engine, which decides what is said."""

from __future__ import annotations

from mailserver.errors import MailError
from mailserver.smtp import events, replies
from mailserver.smtp.events import Event
from mailserver.smtp.extensions import Options
from mailserver.smtp.transitions import State
from mailserver.wire.buffer import LineBuffer


class Speaking:
    """Replies, the count of what leads nowhere, and the end of a session.

    options:  what is offered; may be replaced at any time (settings reloaded, TLS begun)
    failures: refused commands since the last accepted message
    """

    def __init__(self, options: Options, buffer: LineBuffer) -> None:
        self.options = options
        self.state = State.START
        self.failures = 0
        self._junk = 0
        self._buffer = buffer
        self._out: list[bytes] = []
        self._question: Event | None = None
        self._told: list[Event] = []  # events that need no answer and wait to be taken

    def _ask(self, question: Event) -> Event:
        self._question = question
        return question

    def _answer(self) -> Event | None:
        """Close the question; None where the session has ended meanwhile."""
        question, self._question = self._question, None
        if question is None and self.state is not State.CLOSED:
            raise RuntimeError("no question is open")
        return question

    def data_to_send(self) -> bytes:
        """All replies since the last call."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def _count_junk(self) -> None:
        """Commands that lead nowhere may not go on forever (CASES E12)."""
        self._junk += 1
        if self._junk > self.options.junk:
            self._out.append(replies.encode(421, "4.7.0", "Too many commands without a message"))
            self._end("too many commands")

    def _reply_error(self, error: MailError, times: int = 1) -> None:
        """An error reply; too many of them end the session. Temporary refusals are not the client's fault.
        `times`: as many replies, for one fault."""
        self._out.append(replies.error(error) * times)
        if error.code == 421:
            self._end("unavailable")
        elif not error.temporary:
            self.failures += 1
            if self.failures >= self.options.errors:
                self._out.append(replies.encode(421, "4.7.0", "Too many errors"))
                self._end("too many errors")

    def _close(self, error: MailError, reason: str, times: int = 1) -> None:
        self._out.append(replies.error(error) * times)
        self._end(reason)

    def _end(self, reason: str) -> None:
        self.state = State.CLOSED
        self._question = None
        self._buffer.clear()
        self._told.append(events.Closing(reason))

    def close(self, error: MailError) -> None:
        """End the session from outside: time is up, the server stops (421; RFC 5321, 3.8)."""
        if self.state is not State.CLOSED:
            self._close(error, error.text)
