"""APPEND and REPLACE while their messages come (RFC 3501, 6.3.11; RFC 3502; 4469; 3516; 6855; 8508).

What stands between the messages is read as it comes, for a message is never held in a line. An `Appending`
begins behind the mailbox name (the head); `announced` is asked at each literal and `ended` at the end of the
command. Both answer with steps, to be done in their order: a message begins, octets come, a URL is copied.

append         = "APPEND" SP mailbox 1*append-message
append-message = [SP flag-list] [SP date-time] SP append-data
append-data    = literal / literal8 / utf8 / "CATENATE" SP "(" cat-part *(SP cat-part) ")"
cat-part       = "TEXT" SP literal / "URL" SP astring / utf8
utf8           = "UTF8" SP "(" literal8 ")"
"""

from __future__ import annotations

from enum import Enum

from attrs import evolve

from mailserver.imap.commands import Append, Begin, Command, Octets, Replace, Step, Url
from mailserver.imap.grammar.cursor import BadSyntax, Cursor

MAX_ARGUMENTS = 100  # literals between two messages that are arguments: URLs


class _At(Enum):
    """Where the reading goes on."""

    MESSAGE = "behind a message: another, or the end"
    PART = "behind a part of CATENATE: another, or the end of the message"
    UTF8 = "behind the octets of UTF8 (…)"
    UTF8_PART = "the same as a part of CATENATE"


class _LiteralNext(Exception):
    """Here a literal has to come, and it is the one that was announced."""


class Appending:
    """The state of reading one command. `command.uses` grows as the command does."""

    def __init__(self, command: Append, rest: Cursor) -> None:
        self.command = command
        self._dialect = rest.dialect
        self._rest: Cursor | None = rest  # behind the head, for the first question
        self._at = _At.MESSAGE
        self._messages = 0

    def announced(self, parts: tuple[bytes, ...], size: int) -> tuple[Step, ...] | None:
        """`parts`, all since the last literal that was streamed, end where a literal of `size` octets comes.
        The last step is its `Octets`; None where it is an argument. Raises BadSyntax, MailError."""
        if len(parts) > 2 * MAX_ARGUMENTS:
            raise BadSyntax("Too many literals")
        reader = _Reader(self, self._rest or Cursor(parts, self._dialect), size)
        try:
            reader.read()
        except _LiteralNext:
            self._take(reader)
            return tuple(reader.steps)
        except BadSyntax:
            if reader.wants_argument:
                return None
            raise
        raise BadSyntax("Unexpected literal")

    def ended(self, parts: tuple[bytes, ...]) -> tuple[Step, ...]:
        """The command ends with these parts: the last steps. Raises BadSyntax, MailError."""
        if self._at is _At.MESSAGE and self._messages and parts == (b"",):  # nearly always
            return ()
        reader = _Reader(self, self._rest or Cursor(parts, self._dialect), None)
        reader.read()
        self._take(reader)
        return tuple(reader.steps)

    def _take(self, reader: _Reader) -> None:
        self._rest = None
        self._at = reader.at
        self._messages = reader.messages
        if reader.uses:
            self.command = evolve(self.command, uses=self.command.uses | reader.uses)

    @property
    def place(self) -> tuple[_At, int]:
        return self._at, self._messages


class _Reader:
    """One stretch of text. A literal that is an argument makes it be read again, so nothing is changed before
    it is complete."""

    def __init__(self, owner: Appending, cursor: Cursor, size: int | None) -> None:
        self.at, self.messages = owner.place
        self.steps: list[Step] = []
        self.uses: set[str] = set()
        self.wants_argument = False
        self._alone = isinstance(owner.command, Replace)
        self._cursor = cursor
        self._start = (cursor.text, cursor.pos)
        self._size = size

    def read(self) -> None:
        """Until the literal (_LiteralNext) or the end of the command."""
        while True:
            if self.at is _At.MESSAGE:
                if self._cursor.at_end() and self.messages:
                    return
                self._message()
            elif self.at is _At.PART:
                self._next_part()
            else:
                self._cursor.expect(b")")
                self.at = _At.MESSAGE if self.at is _At.UTF8 else _At.PART

    def _message(self) -> None:
        cursor = self._cursor
        cursor.space()
        self.messages += 1
        if self.messages > 1:
            self.uses.add("MULTIAPPEND")
            if self._alone:
                raise BadSyntax("Only one message in a REPLACE")  # RFC 8508, 4.7
        flags: tuple[str, ...] = ()
        date = None
        if cursor.peek() == b"(":
            flags = cursor.flag_list()
            cursor.space()
        if cursor.peek() == b'"':
            date = cursor.date_time()
            cursor.space()
        self.steps.append(Begin(frozenset(flags), date))
        if cursor.peek() in (b"", b"~"):
            self._octets(_At.MESSAGE)
        word = cursor.word()
        if word == "UTF8":
            self._utf8(_At.UTF8)
        elif word == "CATENATE":
            self.uses.add("CATENATE")
            cursor.expect(b" (")
            self._part()
        else:
            raise BadSyntax("Unknown parameter")

    def _next_part(self) -> None:
        if self._cursor.skip(b")"):
            self.at = _At.MESSAGE
        else:
            self._cursor.space()
            self._part()

    def _part(self) -> None:
        cursor = self._cursor
        word = cursor.word()
        if word == "TEXT":
            cursor.space()
            self._octets(_At.PART)
        elif word == "UTF8":
            self._utf8(_At.UTF8_PART)
        elif word == "URL":
            cursor.space()
            self.wants_argument = self._size is not None and cursor.peek() == b""
            url = cursor.astring()
            self.wants_argument = False
            self.steps.append(Url(url))
            self.at = _At.PART
        else:
            raise BadSyntax("Expected TEXT or URL")

    def _utf8(self, behind: _At) -> None:
        self.uses.add("UTF8=ACCEPT")
        self._cursor.expect(b" (")
        if self._cursor.peek() != b"~":
            raise BadSyntax("Expected a literal8")
        self._octets(behind, binary=False)

    def _octets(self, behind: _At, binary: bool = True) -> None:
        """The literal that was announced. It is `binary` as literal8, but within UTF8 (…)."""
        eight = self._cursor.skip(b"~")
        if self._size is None or not self._cursor.at_end():
            raise BadSyntax("Expected a literal")
        is_part = behind in (_At.PART, _At.UTF8_PART)
        if eight and binary:
            if is_part:  # text-literal = "TEXT" SP literal (RFC 4469, 5)
                raise BadSyntax("Expected a literal")
            self.uses.add("BINARY")
        self.at = behind
        self.steps.append(Octets(self._size, eight and binary, is_part))
        raise _LiteralNext


# --- what stands before the first message ------------------------------------------------------------


def append_head(cursor: Cursor, tag: bytes) -> Append:
    """What stands before the first message (RFC 3501, 6.3.11)."""
    cursor.space()
    mailbox = cursor.mailbox()
    return Append(tag, mailbox, given=tuple(cursor.given))


def replace_head(cursor: Cursor, tag: bytes, uid: bool) -> Replace:
    """(seq-number / uniqueid) SP mailbox (RFC 8508, 5)"""
    cursor.space()
    numbers = cursor.sequence_set()
    if len(numbers.ranges) != 1 or numbers.ranges[0][0] != numbers.ranges[0][1]:
        raise BadSyntax("Expected one number")
    cursor.space()
    return Replace(tag, cursor.mailbox(), numbers=numbers, uid=uid)


def _whole(command: Append, cursor: Cursor) -> Command:
    """One without a message to stream: it is made of URLs, or wrong."""
    appending = Appending(command, cursor)
    steps = appending.ended(())
    return evolve(appending.command, steps=steps)


def parse_append(cursor: Cursor, tag: bytes) -> Command:
    return _whole(append_head(cursor, tag), cursor)


def parse_replace(cursor: Cursor, tag: bytes, uid: bool = False) -> Command:
    return _whole(replace_head(cursor, tag, uid), cursor)
