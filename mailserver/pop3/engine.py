"""The POP3 server as a state machine without I/O (RFC 1939; 2449, 2595, 3206, 5034, 6856).

Feed bytes with `receive`, take events with `next_event` until it returns None, send `data_to_send`. An event
that is a question stops the engine: nothing more leaves its buffer until one of the answering methods is
called. So pipelined commands are handled strictly one after the other (RFC 2449, 6.6). At most one command
is handled, and one slice of a listing made, per call of `next_event`: the caller decides when to rest.

Nothing is removed but by QUIT: an engine that is dropped never asks for an update (RFC 1939, 3 and 6).
APOP is not offered (it needs clear-text passwords on disk, and MD5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from mailserver.errors import EncryptionRequired, MailError
from mailserver.pop3 import replies, texts
from mailserver.pop3.commands import (
    MAX_SASL,
    Auth,
    Capa,
    Command,
    CommandError,
    Dele,
    Lang,
    List,
    Mechanisms,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    Utf8,
    decode_sasl,
    parse,
)
from mailserver.pop3.events import (
    Answered,
    AuthCancelled,
    AuthOffered,
    AuthResponse,
    Closing,
    Event,
    Listed,
    LoginOffered,
    Maildrop,
    MessageRequested,
    Options,
    TlsRequested,
    UpdateRequested,
)
from mailserver.pop3.maildrop import Marks, Refusal
from mailserver.pop3.transitions import REFUSED, SAME, TRANSITIONS, State
from mailserver.wire.buffer import LineBuffer, LineTooLong

MAX_LINE = MAX_SASL + 64  # an AUTH command with its initial response
SLICE = 1000  # lines of a listing at a time


_ANSWERED = Answered()
_LISTED = Listed()


class Pop3Engine:
    """One session. `state`, `utf8` and `language` may be read."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.state = State.AUTHORIZATION
        self.utf8 = False
        self.language = texts.PREFERRED
        self._buffer = LineBuffer(MAX_LINE)
        self._out: list[bytes] = []
        self.waiting: Command | None = None  # the command whose answer the engine waits for
        self._exchange: Command | None = None  # the AUTH whose next response comes
        self._after: State | None = SAME
        self._listing: Iterator[str] | None = None
        self._ending = ""
        self._stopping = False
        self._user = ""
        self._errors = 0
        self._marks = Marks(Maildrop((), str))
        self._say(texts.READY)

    # --- bytes in, events and bytes out -----------------------------------------------------------

    @property
    def unread(self) -> int:
        """Octets received and not handled yet."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        if self.state not in (State.CLOSED, State.TLS):
            self._buffer.feed(data)

    def data_to_send(self) -> bytes:
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def next_event(self) -> Event | None:
        """The next event; None where bytes or an answer are needed."""
        if self._listing is not None:
            return self._list_on(self._listing)
        if self._ending:
            return self._close()
        if self.waiting is not None or self.state in (State.CLOSED, State.TLS):
            return None
        if self._stopping:
            self._out.append(replies.err(self._text(texts.STOPPING), "SYS/TEMP"))
            self._ending = "stop"
            return self._close()
        try:
            line = self._buffer.line()
        except LineTooLong:
            return self._sasl_failed(texts.LINE_TOO_LONG) or self._wrong(texts.LINE_TOO_LONG)
        if line is None:
            return None
        if self.state is State.SASL:
            return self._sasl(line)
        try:
            command = parse(line)
        except CommandError as error:
            return self._wrong(error.text, "foreign" if error.hangs_up else "")
        return self._execute(command)

    def stop(self) -> None:
        """The server stops: the session ends as soon as the present answer is out."""
        self._stopping = True

    # --- answers ----------------------------------------------------------------------------------

    def opened(self, maildrop: Maildrop) -> None:
        """The user is logged in, this is the maildrop."""
        self._marks = Marks(maildrop)
        self._say(texts.MAILDROP, self._marks.left, self._marks.octets)
        self._done()

    def challenge(self, data: bytes) -> None:
        """The next step of a SASL exchange: the client's next line is its response."""
        self._out.append(replies.challenge(data))
        self.state = State.SASL
        self._exchange, self.waiting = self.waiting, None

    def refuse(self, error: MailError, hang_up: bool = False) -> None:
        """The command fails; `hang_up`: the connection closes after it."""
        command = self.waiting
        self.waiting = None
        self._out.append(replies.error(error, self._text(error.text)))
        self.state = REFUSED.get(type(command), self.state)
        if hang_up or self.state is State.CLOSED:
            self._ending = "refused"

    def message(self, data: bytes) -> None:
        """The whole message (of TOP: what was asked for) in wire form, dots not stuffed."""
        if type(self.waiting) is Retr:
            text = self._text(texts.OCTETS).format(len(data))
        else:
            text = self._text(texts.TOP)
        self._out.append(replies.message(text, data))
        self.waiting = None

    def message_began(self, octets: int) -> None:
        """The first line of the answer; the caller sends the message itself, dots stuffed, and its end."""
        if type(self.waiting) is Retr:
            self._say(texts.OCTETS, octets)
        else:
            self._say(texts.TOP)

    def message_ended(self) -> None:
        self.waiting = None

    def updated(self) -> None:
        """The messages are removed, durably."""
        self._say(texts.BYE)
        self.state = State.CLOSED
        self.waiting = None
        self._ending = "quit"

    def tls_started(self, options: Options) -> None:
        """The handshake is done: a new session, nothing said in clear is remembered (RFC 2595, 4)."""
        self.options = options
        self.state = State.AUTHORIZATION
        self.language = texts.PREFERRED
        self._user = ""

    # --- the course of a command ------------------------------------------------------------------

    def _execute(self, command: Command) -> Event:
        row = TRANSITIONS[type(command)]
        if self.state not in row:
            return self._wrong(texts.WRONG_STATE)
        self._after = row[self.state]
        try:
            question = _HANDLERS[type(command)](self, command)
        except Refusal as refusal:
            self._out.append(replies.err(self._text(refusal.text), refusal.code))
            return _ANSWERED
        if question is not None:
            self.waiting = command
            return question
        self._done()
        if self.state is State.CLOSED:
            self._ending = "quit"
            return self._close()
        if self.state is State.TLS:
            return TlsRequested()
        return _ANSWERED

    def _done(self) -> None:
        if self._after is not None:
            self.state = self._after
        self.waiting = None

    def _close(self) -> Closing:
        reason, self._ending = self._ending, ""
        self.state = State.CLOSED
        self._buffer.clear()
        return Closing(reason)

    def _wrong(self, text: str, reason: str = "") -> Event:
        """A line that is no command here. Too many of them end the session."""
        self._errors += 1
        if self._errors >= self.options.errors:
            reason, text = "errors", texts.TOO_MANY_ERRORS
        self._out.append(replies.err(self._text(text)))
        if not reason:
            return _ANSWERED
        self._ending = reason
        return self._close()

    def _text(self, text: str) -> str:
        return text if self.language == "en" else texts.translate(text, self.language)

    def _say(self, text: str, *values: object) -> None:
        self._out.append(replies.ok(self._text(text).format(*values) if values else self._text(text)))

    # --- log-in -----------------------------------------------------------------------------------

    def _user_named(self, command: User) -> None:
        if "PLAIN" not in self.options.mechanisms:
            raise Refusal(EncryptionRequired.text, EncryptionRequired.pop3)
        self._user = command.name
        self._say(texts.USER_NOTED)  # the same for any name (CASES J7)

    def _password(self, command: Pass) -> Event:
        return LoginOffered(self._user, command.password)

    def _auth(self, command: Auth) -> Event:
        return AuthOffered(command.mechanism, command.response)

    def _sasl(self, line: bytes) -> Event:
        if line == b"*":  # RFC 5034, 4
            self._out.append(replies.err(self._text(texts.CANCELLED)))
            self.state = State.AUTHORIZATION
            return AuthCancelled()
        try:
            data = decode_sasl(line)
        except CommandError as error:
            return self._sasl_failed(error.text) or _ANSWERED
        self.waiting = self._exchange
        return AuthResponse(data)

    def _sasl_failed(self, text: str) -> Event | None:
        """A response that is none ends the exchange (CASES D6). None where there is no exchange."""
        if self.state is not State.SASL:
            return None
        self._out.append(replies.err(self._text(text)))
        self.state = State.AUTHORIZATION
        return AuthCancelled()

    def _mechanisms(self, command: Mechanisms) -> None:
        self._out.append(replies.multi_line(self._text(texts.MECHANISMS), self.options.mechanisms))

    def _stls(self, command: Stls) -> None:
        if self.options.secure:
            raise Refusal(texts.TLS_ACTIVE)
        if not self.options.starttls:
            raise Refusal(texts.NO_TLS)
        if self.utf8:  # RFC 6856, 2.1
            raise Refusal(texts.NO_TLS_NOW)
        self._say(texts.BEGIN_TLS)
        self._buffer.clear()  # what came in clear must not pass for encrypted (CASES B3)

    # --- any state --------------------------------------------------------------------------------

    def _capa(self, command: Capa) -> None:
        lines = replies.capabilities(self.options, self.state is State.TRANSACTION)
        self._out.append(replies.multi_line(self._text(texts.CAPABILITIES), lines))

    def _lang(self, command: Lang) -> None:
        if not command.range:
            names = [f"{tag} {name}" for tag, name in texts.NAMES.items()]
            self._out.append(replies.multi_line(self._text(texts.LANGUAGES), names))
            return
        language = texts.choose(command.range)
        if language is None:
            raise Refusal(texts.NO_SUCH_LANGUAGE)
        self.language = language
        self._say(f"{language} {self._text(texts.LANGUAGE_CHANGED)}")

    def _utf8(self, command: Utf8) -> None:
        self.utf8 = True
        self._say(texts.UTF8_ON)

    def _quit(self, command: Quit) -> Event | None:
        if self._marks.deleted:
            self.state = State.UPDATE
            return UpdateRequested(tuple(sorted(self._marks.deleted)))
        self._after = State.CLOSED
        self._say(texts.BYE)
        return None

    # --- TRANSACTION ------------------------------------------------------------------------------

    def _stat(self, command: Stat) -> None:
        self._say(f"{self._marks.left} {self._marks.octets}")

    def _list(self, command: List) -> None:
        if command.number is not None:
            index = self._marks.index(command.number)
            self._say(f"{command.number} {self._marks.sizes[index]}")
            return
        self._say(texts.MAILDROP, self._marks.left, self._marks.octets)
        self._listing = self._marks.scan_listing()

    def _uidl(self, command: Uidl) -> None:
        if command.number is not None:
            index = self._marks.index(command.number)
            self._say(f"{command.number} {self._marks.unique_id(index)}")
            return
        self._say(texts.UNIQUE_IDS)
        self._listing = self._marks.unique_id_listing()

    def _list_on(self, listing: Iterator[str]) -> Event:
        """One slice of a listing; a big mailbox holds neither the reactor nor memory."""
        lines = list(islice(listing, SLICE))
        if len(lines) < SLICE:
            self._listing = None
            lines.append(".\r\n")
        self._out.append("".join(lines).encode("ascii"))
        return _LISTED

    def _retr(self, command: Retr) -> Event:
        return MessageRequested(self._marks.index(command.number))

    def _top(self, command: Top) -> Event:
        return MessageRequested(self._marks.index(command.number), command.lines)

    def _dele(self, command: Dele) -> None:
        self._marks.mark(command.number)
        self._say(texts.DELETED, command.number)

    def _noop(self, command: Noop) -> None:
        self._say(texts.NOTHING)

    def _rset(self, command: Rset) -> None:
        self._marks.clear()
        self._say(texts.MAILDROP, self._marks.left, self._marks.octets)


_HANDLERS: dict[type, Callable[[Any, Any], Event | None]] = {
    User: Pop3Engine._user_named,
    Pass: Pop3Engine._password,
    Auth: Pop3Engine._auth,
    Mechanisms: Pop3Engine._mechanisms,
    Stls: Pop3Engine._stls,
    Utf8: Pop3Engine._utf8,
    Capa: Pop3Engine._capa,
    Lang: Pop3Engine._lang,
    Stat: Pop3Engine._stat,
    List: Pop3Engine._list,
    Uidl: Pop3Engine._uidl,
    Retr: Pop3Engine._retr,
    Top: Pop3Engine._top,
    Dele: Pop3Engine._dele,
    Noop: Pop3Engine._noop,
    Rset: Pop3Engine._rset,
    Quit: Pop3Engine._quit,
}
