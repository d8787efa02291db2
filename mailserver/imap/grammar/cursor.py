"""A cursor over one command's text and literals: the terminals of the grammar (RFC 3501, 9).

Each method takes one terminal at the cursor or raises `BadSyntax`. Nothing here backtracks over more than one
terminal, every pattern is linear, nesting is bounded (CASES H2, H4): no command holds the reactor.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterator
from datetime import date

from attrs import frozen

from mailserver.errors import BadSasl, CannotName
from mailserver.imap.values import SequenceSet
from mailserver.wire import utf7
from mailserver.wire.sasl import decode_base64

MAX_DEPTH = 50
MAX_FLAG = 128
MAX_NUMBER = 4294967295
MAX_NUMBER64 = (1 << 63) - 1  # RFC 9051, 9
SHORT = 300  # octets of arguments that are worth remembering
MAX_MODSEQ = (1 << 63) - 1  # RFC 7162, 7: mod-sequence-value

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_LIST_MAILBOX = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
_QUOTED = re.compile(rb'"([^"\\\r\n\x00\x80-\xff]*+(?:\\["\\][^"\\\r\n\x00\x80-\xff]*+)*+)"')
_QUOTED_UTF8 = re.compile(rb'"([^"\\\r\n\x00]*+(?:\\["\\][^"\\\r\n\x00]*+)*+)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_NUMBER = re.compile(rb"[0-9]{1,19}")
_SEQUENCE = re.compile(rb"(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?+")
_SEQUENCE_SET = re.compile(_SEQUENCE.pattern + rb"(?:," + _SEQUENCE.pattern + rb")*+")
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]")  # RFC 9755, 3
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]+")
_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"), 1
    )
}
_SYSTEM_FLAGS = {name.upper(): name for name in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}


@frozen
class Dialect:
    """What ENABLE has changed in what a client says.

    utf8:     UTF-8 in quoted strings and mailbox names, no modified UTF-7 (RFC 9755, 3; RFC 9051, 5.1)
    charsets: SEARCH may name another charset than UTF-8 (RFC 9755, 3: not with UTF8=ACCEPT)
    numbers:  messages may be named by their numbers (RFC 9586: not with UIDONLY)
    """

    utf8: bool = False
    charsets: bool = True
    numbers: bool = True


PLAIN = Dialect()


class BadSyntax(Exception):
    """Not what RFC 3501, 9 allows here; the text is sent to the client."""


class Cursor:
    """`parts`: text, literal, text, …, as `fragments` cut them."""

    __slots__ = ("_depth", "_next", "_parts", "dialect", "given", "pos", "text")

    def __init__(self, parts: tuple[bytes, ...], dialect: Dialect = PLAIN) -> None:
        self.dialect = dialect
        self.given: list[tuple[str, str]] = []  # mailboxes by another name than their own, and that
        self._parts = parts
        self._next = 1  # the literal that follows `text`
        self._depth = 0
        self.text = parts[0]
        self.pos = 0

    # --- single octets ----------------------------------------------------------------------------

    def at_end(self) -> bool:
        return self.pos == len(self.text) and self._next >= len(self._parts)

    def take_rest(self) -> bytes | None:
        """What is left of the command, where that is a short text without literals: the cursor is at the end
        then."""
        rest = self.text[self.pos :]
        if self._next < len(self._parts) or len(rest) > SHORT:
            return None
        self.pos = len(self.text)
        return rest

    def end(self) -> None:
        if not self.at_end():
            raise BadSyntax("Unexpected characters at the end of the command")

    def peek(self) -> bytes:
        """The octet at the cursor; empty at the end of the text (where a literal may follow)."""
        return self.text[self.pos : self.pos + 1]

    def skip(self, octets: bytes) -> bool:
        """Step over `octets` if they stand here."""
        if self.text.startswith(octets, self.pos):
            self.pos += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        if not self.skip(octets):
            raise BadSyntax(f"Expected {octets.decode('ascii')!r}" if octets != b" " else "Missing argument")

    def space(self) -> None:
        self.expect(b" ")

    def begins_list(self) -> bool:
        """Step over a space that a parenthesis follows."""
        if not self.text.startswith(b" (", self.pos):
            return False
        self.pos += 1
        return True

    def members(self, *, or_none: bool = False) -> Iterator[None]:
        """ "(" member *(SP member) ")", each step is for taking a member. or_none: "()" as well."""
        self.expect(b"(")
        if or_none and self.skip(b")"):
            return
        yield
        while self.skip(b" "):
            yield
        self.expect(b")")

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        match = pattern.match(self.text, self.pos)
        if match is None:
            raise BadSyntax(f"Expected {what}")
        self.pos = match.end()
        return match

    def deeper(self) -> None:
        """One level of nesting more; `shallower` ends it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadSyntax("Nested too deeply")

    def shallower(self) -> None:
        self._depth -= 1

    # --- strings ----------------------------------------------------------------------------------

    def atom(self) -> bytes:
        return self._match(_ATOM, "an atom").group()

    def word(self) -> str:
        """An atom that is a keyword of the grammar, in capitals."""
        return self.atom().decode("ascii").upper()

    def _literal(self, nul: bool = False) -> bytes | None:
        if self.pos != len(self.text) or self._next >= len(self._parts):
            return None
        literal = self._parts[self._next]
        if b"\0" in literal and not nul:
            raise BadSyntax("NUL in a literal")
        self.text = self._parts[self._next + 1]
        self._next += 2
        self.pos = 0
        return literal

    def string(self) -> bytes:
        """quoted / literal"""
        if self.peek() == b'"':
            quoted = self._quoted()
            return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        literal = self._literal()
        if literal is None:
            raise BadSyntax("Expected a string")
        return literal

    def _quoted(self) -> bytes:
        """What stands between the quotes, as it stands there."""
        if not self.dialect.utf8:
            return self._match(_QUOTED, "a quoted string")[1]
        quoted = self._match(_QUOTED_UTF8, "a quoted string")[1]
        try:
            quoted.decode("utf-8")
        except UnicodeDecodeError:
            raise BadSyntax("Invalid UTF-8 in a quoted string") from None
        return quoted

    def nstring(self) -> bytes | None:
        """string / NIL"""
        if self.text[self.pos : self.pos + 3].upper() == b"NIL":
            self.pos += 3
            return None
        return self.string()

    def nstring8(self) -> bytes | None:
        """nstring / literal8 (RFC 5464, 5)"""
        if not self.skip(b"~"):
            return self.nstring()
        literal = self._literal(nul=True)
        if literal is None:
            raise BadSyntax("Expected a literal")
        return literal

    def astring(self) -> bytes:
        match = _ASTRING.match(self.text, self.pos)
        if match is None:
            return self.string()
        self.pos = match.end()
        return match.group()

    def base64(self) -> bytes:
        """An initial response (RFC 4959, 3): "=" stands for an empty one."""
        encoded = self._match(_BASE64, "base64").group()
        return b"" if encoded == b"=" else sasl_response(encoded)

    # --- mailboxes (RFC 3501, 5.1) ----------------------------------------------------------------

    def mailbox(self) -> str:
        """Raises CannotName for what is no modified UTF-7 (or UTF-8), and for controls in it (CASES I1). In
        UTF-8 any composition of a name means the one of RFC 5198 (RFC 9051, 5.1)."""
        name = self._name(self.astring())
        if _CONTROL.search(name) is not None:
            raise CannotName
        meant = inbox_in_capitals(name)
        if self.dialect.utf8:
            meant = unicodedata.normalize("NFC", meant)
        if meant != name:
            self.given.append((name, meant))
        return meant

    def _name(self, octets: bytes) -> str:
        if not self.dialect.utf8:
            return utf7.decode(octets)
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CannotName(cause=error) from error

    def list_mailbox(self) -> str:
        """A pattern, which may hold wildcards outside quotes."""
        match = _LIST_MAILBOX.match(self.text, self.pos)
        if match is None:
            return self._name(self.string())
        self.pos = match.end()
        return self._name(match.group())

    # --- numbers and sets -------------------------------------------------------------------------

    def number(self, largest: int = MAX_NUMBER) -> int:
        value = int(self._match(_NUMBER, "a number").group())
        if value > largest:
            raise BadSyntax("Number too large")
        return value

    def sequence_set(self) -> SequenceSet:
        """Numbers and ranges, or `$` alone (RFC 5182, 3)."""
        if self.skip(b"$"):
            return SequenceSet((), saved=True)
        ranges: list[tuple[int | None, int | None]] = []
        for item in self._match(_SEQUENCE_SET, "a sequence set").group().split(b","):
            first, colon, last = item.partition(b":")
            low = None if first == b"*" else int(first)
            high = (None if last == b"*" else int(last)) if colon else low
            if (low or 1) > MAX_NUMBER or (high or 1) > MAX_NUMBER:
                raise BadSyntax("Number too large")
            ranges.append((low, high))
        return SequenceSet(tuple(ranges))

    # --- flags ------------------------------------------------------------------------------------

    def flag(self) -> str:
        """A flag in the RFC's spelling; "" for \\Recent, which no client can set (RFC 3501, 2.3.2)."""
        name = self._match(_FLAG, "a flag").group().decode("ascii")
        if len(name) > MAX_FLAG:
            raise BadSyntax("Flag too long")
        if not name.startswith("\\"):
            return name
        system = _SYSTEM_FLAGS.get(name.upper())
        if system is not None:
            return system
        if name.upper() == "\\RECENT":
            return ""
        raise BadSyntax("Unknown system flag")

    def flag_list(self) -> tuple[str, ...]:
        """ "(" [flag *(SP flag)] ")" """
        self.expect(b"(")
        if self.skip(b")"):
            return ()
        flags = self.flags()
        self.expect(b")")
        return flags

    def flags(self) -> tuple[str, ...]:
        flags = [self.flag()]
        while self.skip(b" "):
            flags.append(self.flag())
        return tuple(dict.fromkeys(filter(None, flags)))

    # --- dates ------------------------------------------------------------------------------------

    def date(self) -> date:
        """date-text, in quotes or without."""
        quoted = self.skip(b'"')
        match = self._match(_DATE, "a date")
        if quoted:
            self.expect(b'"')
        return _day(match[1], match[2], match[3])

    def date_time(self) -> float:
        """Seconds since the epoch."""
        match = self._match(_DATE_TIME, "a date-time")
        day = _day(match[1].strip(), match[2], match[3])
        hour, minute, second = int(match[4]), int(match[5]), int(match[6])
        zone = int(match[8]) * 3600 + int(match[9]) * 60
        if hour > 23 or minute > 59 or second > 60 or int(match[9]) > 59:
            raise BadSyntax("Invalid time")
        seconds = calendar.timegm((day.year, day.month, day.day, hour, minute, second))
        return float(seconds - zone if match[7] == b"+" else seconds + zone)


def _day(day: bytes, month: bytes, year: bytes) -> date:
    try:
        return date(int(year), _MONTHS[month.upper()], int(day))
    except (KeyError, ValueError):
        raise BadSyntax("Invalid date") from None


def sasl_response(encoded: bytes) -> bytes:
    """The octets of a SASL response in base64."""
    try:
        return decode_base64(encoded)
    except BadSasl:
        raise BadSyntax("Invalid base64") from None


def inbox_in_capitals(name: str) -> str:
    """INBOX is the same in any case, also as the first level (RFC 3501, 5.1)."""
    if name[:5].upper() == "INBOX" and (len(name) == 5 or name[5] == "/"):
        return "INBOX" + name[5:]
    return name
