"""The SMTP server as a state machine without I/O (RFC 5321; 1870, 2034, 2920, 3030, 3207, 4954, 6152, 6409).

It speaks LMTP too (RFC 2033), where `options.dialect` says so.

Feed bytes with `receive`, take events with `next_event` until it returns None, send `data_to_send`. An
event that is a question (`MailOffered`, `RecipientOffered`, `BodyEnded`, `AuthOffered`, `AuthResponse`,
`TlsRequested`) stops the engine: nothing more leaves its buffer until `accept`, `refuse` or `challenge`
answers it. So commands that came in one segment are handled strictly one after the other, and replies
keep their order, however long an answer takes (RFC 2920; CASES A13).

After a `Closing` event nothing more is read. The whole input in one segment and the same input byte by
byte give the same events, but for commands that must end a segment (`MUST_END_A_GROUP`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mailserver.errors import LimitReached, MailError, MessageTooLarge
from mailserver.smtp import commands, events, replies
from mailserver.smtp.authenticating import Authenticating
from mailserver.smtp.commands import MAX_SASL, Command, CommandError, FatalError, bad_arguments, parse
from mailserver.smtp.events import Event
from mailserver.smtp.extensions import NO_PARAMETERS, Options, offer
from mailserver.smtp.incoming import ChunkedBody, IncomingBody
from mailserver.smtp.transitions import IN_A_MESSAGE, MUST_END_A_GROUP, TRANSITIONS, State, out_of_order
from mailserver.wire.buffer import BareLineFeed, LineBuffer, LineTooLong

MAX_LINE = MAX_SASL + 64  # the buffer's limit: an AUTH command with its initial response
MAX_COMMAND = 2048  # any other command: 512 (RFC 5321, 4.5.3.1.4) and room for the parameters of extensions
DRAIN = 4  # a refused body is read to its end up to this many times `max_size`, then the connection closes


class SmtpEngine(Authenticating):
    """One session.

    helo:    the name the client gave, "" before HELO
    secured: TLS was begun by STARTTLS
    """

    def __init__(self, options: Options, *, secured: bool = False) -> None:
        super().__init__(options, LineBuffer(MAX_LINE, strict_lf=True))
        self.helo = ""
        self.secured = secured
        self._utf8 = False
        self._binary = False
        self._offered_recipients = 0
        self._recipients: int | None = None  # accepted ones; None where no message is owed an answer
        self._transactions = 0
        self._body = IncomingBody(options.max_size)

    # --- input and output -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes came. Those in clear behind STARTTLS and those after the end are dropped."""
        if self.state not in (State.TLS, State.CLOSED):
            self._buffer.feed(data)

    @property
    def question(self) -> Event | None:
        """The open question, None where there is none."""
        return self._question

    @property
    def buffered(self) -> int:
        """Octets that were received and not taken yet."""
        return len(self._buffer)

    def greet(self) -> None:
        """The greeting (RFC 5321, 4.3.1)."""
        options = self.options
        self._out.append(replies.encode(220, "", f"{options.hostname} {options.dialect.greeting} ready"))

    def next_event(self) -> Event | None:
        """The next event, or None where bytes or an answer are needed first."""
        while True:
            if self._told:
                return self._told.pop(0)
            if self._question is not None or self.state in (State.TLS, State.CLOSED):
                return None
            event = self._read_body() if self.state in IN_A_MESSAGE else self._read_line()
            if event is not None:
                return event
            if not self._told and not self._progress:
                return None

    # --- lines ------------------------------------------------------------------------------------

    _progress = False  # the last step took something from the buffer

    def _read_line(self) -> Event | None:
        self._progress = True
        try:
            if self.state is State.START and self._buffer.startswith(b"\x16\x03"):
                self._close(CommandError("TLS is not expected here"), "other protocol")
                return None
            line = self._buffer.line()
        except BareLineFeed:
            self._bad_line(CommandError("Lines end with CR LF"))
            return None
        except LineTooLong:
            self._too_long()
            return None
        if line is None:
            self._progress = False
            return None
        if self.state is State.AUTH:
            return self._sasl_line(line)
        try:
            if line[:5].upper().rstrip() == b"MAIL":
                self._count_mail()
            return self._execute(self._parse(line))
        except MailError as error:
            self._failed(error)
            return None

    def _count_mail(self) -> None:
        if 0 < self.options.transactions <= self._transactions:  # RFC 9422, 4.1: even with bad syntax
            raise LimitReached("Too many messages in one session", code=421, enhanced="4.5.3")
        self._transactions += 1

    def _parse(self, line: bytes) -> Command:
        if len(line) > MAX_COMMAND - 2 and line[:5].upper() != b"AUTH ":
            raise FatalError("Line too long")
        hello = self.options.dialect.hello
        if not self.extended:
            return parse(line, NO_PARAMETERS, NO_PARAMETERS, hello=hello)
        now = offer(self.options)
        return parse(line, now.mail, now.rcpt, utf8=self._utf8, hello=hello)

    def _too_long(self) -> None:
        if self.state is State.AUTH:
            self._cancel(CommandError("Authentication exchange line is too long", enhanced="5.5.6"))
        else:
            self._close(CommandError("Line too long"), "line too long")

    def _bad_line(self, error: CommandError) -> None:
        (self._cancel if self.state is State.AUTH else self._failed)(error)

    def _failed(self, error: MailError) -> None:
        """A command that the engine refuses itself."""
        if isinstance(error, FatalError):
            self._close(error, "line too long" if error.code == 500 else "bad command")
        else:
            self._reply_error(error)

    # --- commands ---------------------------------------------------------------------------------

    def _execute(self, command: Command) -> Event | None:
        kind = type(command)
        if self.state not in TRANSITIONS[kind]:
            error = out_of_order(kind, self.state, self._offered_recipients, self.options.dialect)
            if not isinstance(command, commands.Bdat):
                raise error
            self._forget_chunks()
            self._read_chunk(ChunkedBody(self.options.max_size, error), command)
            return None
        if kind in MUST_END_A_GROUP and len(self._buffer):
            self._close(CommandError("Pipelining not allowed here", code=554, enhanced="5.5.0"), "pipelining")
            return None
        return _HANDLERS[kind](self, command)

    def _done(self, command: Command, reply: bytes) -> None:
        """The command was carried out: reply and go where the table says."""
        self._out.append(reply)
        self._go(type(command))

    def _go(self, kind: type) -> None:
        state = TRANSITIONS[kind][self.state]
        if state is not None:
            self.state = state

    def _helo(self, command: commands.Helo) -> None:
        self._forget_chunks()
        self._recipients = None
        self.helo, self.extended, self._utf8 = command.name, command.extended, False
        if command.extended:
            reply = replies.lines(250, list(offer(self.options).ehlo))
        else:
            reply = replies.encode(250, "", self.options.hostname)
        self._done(command, reply)
        self._count_junk()

    def _mail(self, command: commands.Mail) -> Event:
        if command.size is not None and command.size > self.options.max_size:
            raise MessageTooLarge
        if command.hold_until is not None and command.hold_until > self.options.hold_until:  # RFC 4865, 4.2
            raise bad_arguments("Cannot be held as long as that")
        by = command.by
        if by is not None and by.returns and by.seconds < self.options.deliver_by:  # RFC 2852, 3 and 4
            text = f"Cannot promise delivery within less than {self.options.deliver_by} seconds"
            raise MailError(text, code=555, enhanced="5.5.4")
        return self._ask(events.MailOffered(command))

    def _rcpt(self, command: commands.Rcpt) -> Event:
        self._offered_recipients += 1
        return self._ask(events.RecipientOffered(command))

    def _data(self, command: commands.Data) -> None:
        if self._binary:  # RFC 3030, 3
            raise CommandError("A binary message comes by BDAT", code=503, enhanced="5.5.1")
        self._body = IncomingBody(self.options.max_size)
        self._done(command, replies.START_DATA)

    def _bdat(self, command: commands.Bdat) -> None:
        """A chunk of the message (RFC 3030, 2)."""
        body = self._body
        if self.state is not State.CHUNKED or not isinstance(body, ChunkedBody):
            body = ChunkedBody(self.options.max_size, binary=self._binary)
        self._read_chunk(body, command)

    def _read_chunk(self, body: ChunkedBody, command: commands.Bdat) -> None:
        """The octets come next, also those of a chunk that is refused (RFC 3030, 2)."""
        self._body = body
        body.begin(command.size, command.last)
        self.state = State.CHUNK
        if body.size + command.size > DRAIN * body.max_size:
            self._flooded()

    def _forget_chunks(self) -> None:
        if self.state is State.CHUNKED:
            self._told.append(events.BodyFailed())

    def _rset(self, command: commands.Rset) -> None:
        self._forget_chunks()
        self._recipients = None
        self._utf8 = False
        self._done(command, replies.OK)
        self._count_junk()

    def _simple(self, command: commands.Noop | commands.Vrfy | commands.Help) -> None:
        reply = _SIMPLE_REPLIES.get(type(command)) or replies.encode(214, "2.0.0", self.options.dialect.help)
        self._done(command, reply)
        self._count_junk()

    def _quit(self, command: commands.Quit) -> None:
        self._out.append(replies.encode(221, "2.0.0", f"{self.options.hostname} closing connection"))
        self._end("quit")

    def _foreign(self, command: commands.Foreign) -> None:
        self._close(CommandError("This is a mail server", code=421, enhanced="4.7.0"), "other protocol")

    def _starttls(self, command: commands.StartTls) -> Event:
        if self.secured or self.authenticated or not self.extended or not self.options.starttls:
            raise CommandError("STARTTLS is not available now", code=503, enhanced="5.5.1")
        return self._ask(events.TlsRequested())

    def tls_started(self) -> None:
        """The handshake is done: the session begins anew, nothing said in clear counts (RFC 3207, 4.2)."""
        self._buffer.clear()
        self.secured = True
        self._begin_anew()

    # --- XCLIENT (Postfix, XCLIENT_README) ---------------------------------------------------------

    def _xclient(self, command: commands.Xclient) -> Event:
        if not self.options.xclient:
            raise CommandError("Insufficient authorization", code=550, enhanced="5.7.0")
        return self._ask(events.ClientTold(command.argument))

    def _begin_anew(self) -> None:
        """Nothing said before counts."""
        self.state = State.START
        self.authenticated = self.extended = self._utf8 = False
        self._recipients = None
        self.helo = ""

    # --- the message ------------------------------------------------------------------------------

    def _read_body(self) -> Event | None:
        body = self._body
        if body.finished:
            return self._body_ended()
        self._progress = len(self._buffer) > 0
        if not self._progress:
            return None
        piece = body.take(self._buffer)
        if body.size > DRAIN * body.max_size:
            self._flooded()
            return None
        if body.dropped:
            return None
        if body.failed:
            body.dropped = True
            return events.BodyFailed()
        return events.BodyReceived(piece) if piece else None

    def _flooded(self) -> None:
        self._told.append(events.BodyRefused(MessageTooLarge()))
        self._close(MessageTooLarge(), "message too large", self._replies_due())

    def _body_ended(self) -> Event | None:
        body = self._body
        error = body.error()
        if error is None and body.last:
            return self._ask(events.BodyEnded(body.size))
        if error is None:
            self._progress = True
            self.state = State.CHUNKED
            self._out.append(replies.encode(250, "2.0.0", f"{body.size} octets so far"))
            self._count_junk()
            return None
        due = self._replies_due()
        self._end_transaction()
        self._reply_error(error, due)
        return events.BodyRefused(error)

    def _replies_due(self) -> int:
        """How often the end of this message, or of this chunk, is answered (RFC 2033, 4.2, 4.3): once for
        each recipient that was accepted, which can be not at all, though a chunk before it was refused."""
        if self.options.dialect.each and self._body.last and self._recipients is not None:
            return self._recipients
        return 1

    def _end_transaction(self) -> None:
        self.state = State.READY if self.helo else State.START
        self._utf8 = False
        if self._body.last:
            self._recipients = None

    # --- answers ----------------------------------------------------------------------------------

    def accept(self, text: str = "Ok", enhanced: str = "") -> None:
        """Yes to the open question; `text` is told at the end of a message; with `enhanced`, to a sender."""
        question = self._answer()
        if isinstance(question, events.MailOffered):
            self._offered_recipients = self._recipients = 0
            self._utf8, self._binary = question.command.smtputf8, question.command.binary
            reply = replies.encode(250, enhanced, text) if enhanced else replies.SENDER_OK
            self._done(question.command, reply)
        elif isinstance(question, events.RecipientOffered):
            self._recipients = (self._recipients or 0) + 1
            self._done(question.command, replies.RECIPIENT_OK)
        elif isinstance(question, events.BodyEnded):
            self._conclude([text] * self._replies_due())
        elif isinstance(question, events.AuthOffered | events.AuthResponse):
            self._authenticated()
        elif isinstance(question, events.ClientTold):
            self.failures = self._junk = 0
            self._begin_anew()
            self.greet()
        elif isinstance(question, events.TlsRequested):
            self._buffer.clear()
            self._done(commands.StartTls(), replies.READY_FOR_TLS)

    def refuse(self, error: MailError) -> None:
        """No to the open question."""
        question = self._answer()
        due = 1
        if isinstance(question, events.BodyEnded):
            due = self._replies_due()
            self._end_transaction()
        elif isinstance(question, events.AuthOffered | events.AuthResponse):
            self.state = State.READY
        elif isinstance(question, events.RecipientOffered) and self.options.dialect.each:
            # A queue next door, which does not know our users, and is right to ask (RFC 2033, 3).
            self._out.append(replies.error(error))
            return
        if question is not None:
            self._reply_error(error, due)

    def conclude(self, outcomes: Sequence[MailError | str]) -> None:
        """Answer the end of a message for each recipient by itself, in their order (RFC 2033, 4.2): with an
        error, or what is told of success. Only where the dialect has it so."""
        if self._answer() is not None:
            self._conclude(outcomes)

    def _conclude(self, outcomes: Sequence[MailError | str]) -> None:
        self.failures = self._junk = 0
        self._end_transaction()
        for outcome in outcomes:
            if isinstance(outcome, MailError):
                self._out.append(replies.error(outcome))
            else:
                self._out.append(replies.encode(250, "2.0.0", outcome))


_SIMPLE_REPLIES: dict[type, bytes] = {
    commands.Noop: replies.OK,
    commands.Vrfy: replies.CANNOT_VERIFY,
}
_HANDLERS: dict[type, Callable[[SmtpEngine, Any], Event | None]] = {
    commands.Helo: SmtpEngine._helo,
    commands.Mail: SmtpEngine._mail,
    commands.Rcpt: SmtpEngine._rcpt,
    commands.Data: SmtpEngine._data,
    commands.Bdat: SmtpEngine._bdat,
    commands.Rset: SmtpEngine._rset,
    commands.StartTls: SmtpEngine._starttls,
    commands.Auth: SmtpEngine._auth,
    commands.Noop: SmtpEngine._simple,
    commands.Vrfy: SmtpEngine._simple,
    commands.Help: SmtpEngine._simple,
    commands.Quit: SmtpEngine._quit,
    commands.Xclient: SmtpEngine._xclient,
    commands.Foreign: SmtpEngine._foreign,
}
