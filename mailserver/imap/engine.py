"""The IMAP server without a socket: bytes in, events out, one command at a time (RFC 3501, 3, 5.5).

Feed `receive`, then ask `next_event` until it is None, and send `data_to_send` after each. While a command is
being executed nothing more is taken from the buffer, so pipelined commands run one after another in the order
they came, which is right for every pair of commands. What the engine answers itself: continuation requests,
and BAD for what is no command or not allowed in this state.
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve

from mailserver.errors import MailError
from mailserver.imap import commands as c
from mailserver.imap.capabilities import refusal
from mailserver.imap.events import (
    AppendChunk,
    AppendFailed,
    AppendOffered,
    CommandReceived,
    Event,
    Hangup,
    LineReceived,
)
from mailserver.imap.fragments import (
    BEFORE_LOGIN,
    HUGE,
    CommandRead,
    CommandSkipped,
    Fragments,
    LineOverlong,
    LiteralAnnounced,
    StreamChunk,
    after_login,
)
from mailserver.imap.grammar.appending import Appending
from mailserver.imap.grammar.command import begin_append, parse_command, parse_tag
from mailserver.imap.grammar.cursor import PLAIN, BadSyntax
from mailserver.imap.numbers import REQUIRED, names_numbers
from mailserver.imap.transitions import AFTER_LOGIN, ALLOWED, State

ERRORS_BEFORE_LOGIN = 3  # CASES H6
SKIP_BEFORE_LOGIN = 64 * 1024  # octets of a refused literal that are read rather than the connection closed

BAD = 500  # code of a MailError that is answered with BAD
UNASKED = 4096  # octets of a literal that LITERAL- allows without asking (RFC 7888, 5)


class _Doing(Enum):
    READING = 1
    EXECUTING = 2  # a command, or deciding on an APPEND; `finished` ends it
    LINE = 3  # a command, which waits for a line
    CLOSED = 4


class Engine:
    """Server side of one connection.

    line, skip: limits.line after log-in, and octets of a refused literal to read rather than to close
    errors:     wrong commands in a row after log-in, then the connection closes
    off:        capabilities that this client does not get; set by the owner, at any time
    dialect:    what ENABLE has changed in the grammar; as `off`
    asking:     LITERAL- rather than LITERAL+ (RFC 7888, 5)
    """

    def __init__(
        self, line: int = 65536, skip: int = 100 * 1024 * 1024, errors: int = 20, asking: bool = False
    ) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.off: frozenset[str] = frozenset()
        self.dialect = PLAIN
        self._fragments = Fragments(BEFORE_LOGIN)
        self._after_login = after_login(line)
        self._skip = skip
        self._errors_allowed = errors
        self._unasked = UNASKED if asking else HUGE
        self._errors = 0
        self._doing = _Doing.READING
        self._append: Appending | None = None
        self._offered = 0  # octets of the literal that was offered
        self._synchronizing = False  # the literal of the APPEND
        self._out = b""

    # --- what the protocol calls ------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the client. Stop giving more while `waiting` grows and a command is being executed."""
        self._fragments.feed(data)

    @property
    def waiting(self) -> int:
        """Octets received and not used yet."""
        return len(self._fragments)

    def data_to_send(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def next_event(self) -> Event | None:
        """The next event, or None: more bytes, or an answer to the last event, are needed."""
        while self._doing is _Doing.READING:
            fragment = self._fragments.next()
            match fragment:
                case None:
                    return None
                case CommandRead():
                    event = self._command(fragment.parts)
                case LiteralAnnounced():
                    event = self._literal(fragment)
                case StreamChunk():
                    event = AppendChunk(fragment.data)
                case CommandSkipped():
                    event = None
                case LineOverlong():
                    event = self._hang_up(b"* BAD Command line too long\r\n* BYE Command line too long\r\n")
            if event is not None:
                return event
        if self._doing is _Doing.LINE:
            return self._line()
        return None

    def finished(self, state: State) -> None:
        """The command has been answered; the session is in `state` now."""
        if self._doing is _Doing.CLOSED:
            return
        if self.state is State.NOT_AUTHENTICATED and state is not State.NOT_AUTHENTICATED:
            self._fragments.limits = self._after_login
            self._errors = 0
        elif state is State.NOT_AUTHENTICATED:  # RFC 8437
            self._fragments.limits = BEFORE_LOGIN
        self.state = state
        self._doing = _Doing.CLOSED if state is State.LOGOUT else _Doing.READING

    def expect_line(self) -> None:
        """The command being executed has asked the client for a line (AUTHENTICATE, IDLE)."""
        self._doing = _Doing.LINE

    def accept_literal(self, synchronizing_text: bytes = b"OK") -> None:
        """Take the message of the APPEND that was offered."""
        self._fragments.stream()
        if self._synchronizing:
            self._out += b"+ %b\r\n" % synchronizing_text

    def refuse_literal(self) -> None:
        """The APPEND has been answered with NO. A literal that comes all the same is thrown away."""
        self._append = None
        if self._synchronizing:
            self._fragments.forget()
        elif self._offered > self._skip:
            self._hang_up(b"* BYE [TOOBIG] Literal too large\r\n")
        else:
            self._fragments.skip()

    @property
    def closed(self) -> bool:
        """True where nothing more is read from this client."""
        return self._doing is _Doing.CLOSED

    def clear(self) -> None:
        """Forget what was received in clear, also a part of a line (STARTTLS; CASES B2)."""
        self._fragments.clear()

    def take_waiting(self) -> bytes:
        """What was received behind the command being executed, for whoever can read it (COMPRESS)."""
        return self._fragments.take_waiting()

    # --- reading ----------------------------------------------------------------------------------

    def _command(self, parts: tuple[bytes, ...]) -> Event | None:
        if self._append is not None:
            return self._append_ended(self._append, parts)
        try:
            command = parse_command(parts, self.dialect)
        except BadSyntax as error:
            return self._bad(parts[0], str(error))
        except MailError as error:
            return self._no(parts[0], error)
        lacking = self.off and refusal(command, self.off)
        if lacking:
            return self._bad(parts[0], lacking)
        if not self.dialect.numbers and names_numbers(command):
            return self._bad(parts[0], REQUIRED, "UIDREQUIRED")
        return self._admit(command)

    def _admit(self, command: c.Command) -> Event | None:
        if self.state not in ALLOWED[type(command)]:
            return self._bad(command.tag, f"Not allowed in the {self.state.value} state")
        if self.state is not State.NOT_AUTHENTICATED:
            self._errors = 0
        self._doing = _Doing.EXECUTING
        return CommandReceived(command)

    def _line(self) -> Event | None:
        line = self._fragments.line()
        if line is None:
            return None
        if isinstance(line, LineOverlong):
            return self._hang_up(b"* BAD Line too long\r\n* BYE Line too long\r\n")
        self._doing = _Doing.EXECUTING
        return LineReceived(line)

    # --- literals ---------------------------------------------------------------------------------

    def _literal(self, announced: LiteralAnnounced) -> Event | None:
        if not announced.parts:  # of a command that was refused already
            return self._skip_literal(announced)
        self._synchronizing = announced.synchronizing
        line = announced.parts[0] if self._append is None else self._append.command.tag
        try:
            self._check_asking(announced)
            offered = self._offer(announced)
        except BadSyntax as error:
            return self._give_up(announced, self._bad(line, str(error)))
        except MailError as error:
            if error.code == BAD:
                return self._give_up(announced, self._bad(line, error.text, error.imap))
            return self._give_up(announced, self._no(line, error))
        if offered is not None:
            return offered
        limits = self._fragments.limits
        if announced.size > limits.literal or self._fragments.held + announced.size > limits.total:
            return self._give_up(announced, self._bad(line, "Literal too large", "TOOBIG"))
        self._fragments.take()
        if announced.synchronizing:
            self._out += b"+ OK\r\n"
        return None

    def _check_asking(self, announced: LiteralAnnounced) -> None:
        """Raises where the client had to ask before it sends the literal (RFC 7888, 4 and 5)."""
        if announced.synchronizing:
            return
        if "LITERAL+" in self.off:
            raise BadSyntax("Invalid literal")
        if announced.size > self._unasked:
            raise MailError("Ask before more than 4096 octets", code=BAD, imap="TOOBIG")

    def _give_up(self, announced: LiteralAnnounced, hangup: Event | None) -> Event | None:
        """The command has been answered; its literal comes, or does not."""
        append, self._append = self._append, None
        after = hangup or self._refuse(announced)
        return after if after is not None or append is None else AppendFailed()

    def _refuse(self, announced: LiteralAnnounced) -> Event | None:
        """The command has had its reply; what the client sends of it all the same is read and dropped."""
        if announced.synchronizing:
            self._fragments.forget()
            return None
        return self._skip_literal(announced)

    def _skip_literal(self, announced: LiteralAnnounced) -> Event | None:
        """RFC 7888, 4: read it, or close."""
        limit = SKIP_BEFORE_LOGIN if self.state is State.NOT_AUTHENTICATED else self._skip
        if announced.size > limit:
            return self._hang_up(b"* BYE [TOOBIG] Literal too large\r\n")
        self._fragments.skip()
        return None

    # --- APPEND -----------------------------------------------------------------------------------

    def _offer(self, announced: LiteralAnnounced) -> Event | None:
        """The literal is a message or a part of one; None: an argument. Raises BadSyntax, MailError."""
        append = self._append
        if append is None:
            append = begin_append(announced.parts, self.dialect) if self.state in AFTER_LOGIN else None
            if append is None:
                return None
            if self.state not in ALLOWED[type(append.command)]:
                raise BadSyntax(f"Not allowed in the {self.state.value} state")
        steps = append.announced(announced.parts, announced.size)
        if steps is None:
            return None
        lacking = self.off and refusal(append.command, self.off)
        if lacking:
            raise BadSyntax(lacking)
        if not self.dialect.numbers and names_numbers(append.command):
            raise MailError(REQUIRED, code=BAD, imap="UIDREQUIRED")
        self._append = append
        self._offered = announced.size
        self._doing = _Doing.EXECUTING
        return AppendOffered(append.command, steps)

    def _append_ended(self, append: Appending, parts: tuple[bytes, ...]) -> Event | None:
        """The line that ends the command."""
        self._append = None
        try:
            steps = append.ended(parts)
        except BadSyntax as error:
            return self._bad(append.command.tag, str(error)) or AppendFailed()
        except MailError as error:
            return self._no(append.command.tag, error) or AppendFailed()
        command = evolve(append.command, steps=steps) if steps else append.command
        lacking = self.off and refusal(command, self.off)
        if lacking:
            return self._bad(command.tag, lacking) or AppendFailed()
        return self._admit(command)

    # --- replies of the engine's own --------------------------------------------------------------

    def _reply(self, line: bytes, condition: bytes, text: str, code: str | None = None) -> None:
        """`line` begins with the tag; a tag that is none is never sent back (CASES H7)."""
        shown = f"[{code}] {text}" if code else text
        tag = parse_tag(line) or b"*"
        self._out += b"%b %b %b\r\n" % (tag, condition, shown.encode("ascii", "replace"))

    def _no(self, line: bytes, error: MailError) -> Event | None:
        self._reply(line, b"NO", error.text, error.imap)
        return None

    def _bad(self, line: bytes, text: str, code: str | None = None) -> Event | None:
        self._reply(line, b"BAD", text, code)
        self._errors += 1
        before = self.state is State.NOT_AUTHENTICATED
        if self._errors >= (ERRORS_BEFORE_LOGIN if before else self._errors_allowed):
            return self._hang_up(b"* BYE Too many invalid commands\r\n")
        return None

    def _hang_up(self, farewell: bytes) -> Event:
        self._out += farewell
        self._doing = _Doing.CLOSED
        self._fragments.clear()
        return Hangup()
