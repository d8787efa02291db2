"""One line to one command: frozen values (RFC 1939, 5-7; RFC 2449, 3; RFC 2595, 4; RFC 5034, 4; RFC 6856).

Secrets are left out of every repr, and no error repeats what the client sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import field, frozen

from mailserver.errors import BadSasl
from mailserver.pop3 import texts
from mailserver.wire.sasl import MAX_ENCODED, decode_base64
from mailserver.wire.saslprep import saslprep

MAX_COMMAND = 512  # with CRLF; RFC 2449, 4 asks for 255
MAX_SASL = MAX_ENCODED  # a SASL response in base64, also as initial response (RFC 4954, 4.3)
MAX_PASSWORD = 1024  # octets

_NUMBER = re.compile(rb"[0-9]{1,20}")
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}")  # RFC 4422, 3.1
_LANGUAGE = re.compile(rb"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*")  # RFC 4647, 2.1


class CommandError(ValueError):
    """A line that is no command. `text` is for the client and holds nothing that it sent.

    hangs_up: the client speaks another protocol.
    """

    def __init__(self, text: str = texts.UNKNOWN_COMMAND, *, hangs_up: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.hangs_up = hangs_up


@frozen
class User:
    """USER name (RFC 1939, 7); in UTF-8 (RFC 6856, 2.2)."""

    name: str


@frozen
class Pass:
    """PASS string (RFC 1939, 7): all that follows the first space, more spaces included."""

    password: bytes = field(repr=False)


@frozen
class Auth:
    """AUTH mechanism [initial-response] (RFC 5034, 4), decoded; None where there was none."""

    mechanism: str
    response: bytes | None = field(default=None, repr=False)


@frozen
class Mechanisms:
    """AUTH alone: a list of mechanisms, as clients older than CAPA ask for it."""


@frozen
class Stls:
    """STLS (RFC 2595, 4)."""


@frozen
class Capa:
    """CAPA (RFC 2449, 5)."""


@frozen
class Utf8:
    """UTF8 (RFC 6856, 2.1)."""


@frozen
class Lang:
    """LANG [range] (RFC 6856, 3.2); "" asks for the list."""

    range: str = ""


@frozen
class Stat:
    """STAT (RFC 1939, 5)."""


@frozen
class List:
    """LIST [msg] (RFC 1939, 5); None for all."""

    number: int | None = None


@frozen
class Uidl:
    """UIDL [msg] (RFC 1939, 7); None for all."""

    number: int | None = None


@frozen
class Retr:
    """RETR msg (RFC 1939, 5)."""

    number: int


@frozen
class Top:
    """TOP msg n (RFC 1939, 7)."""

    number: int
    lines: int


@frozen
class Dele:
    """DELE msg (RFC 1939, 5)."""

    number: int


@frozen
class Noop:
    """NOOP (RFC 1939, 5)."""


@frozen
class Rset:
    """RSET (RFC 1939, 5)."""


@frozen
class Quit:
    """QUIT (RFC 1939, 4, 6)."""


Command = (
    User
    | Pass
    | Auth
    | Mechanisms
    | Stls
    | Capa
    | Utf8
    | Lang
    | Stat
    | List
    | Uidl
    | Retr
    | Top
    | Dele
    | Noop
    | Rset
    | Quit
)


def parse(line: bytes) -> Command:
    """The command of one line (without CRLF). Raises CommandError."""
    verb, space, argument = line.partition(b" ")
    verb = verb.upper()
    if len(line) + 2 > MAX_COMMAND and verb not in _LONG:
        raise CommandError(texts.LINE_TOO_LONG)
    if verb == b"RETR":  # the hot one
        return Retr(_number(argument.strip(b" ")))
    if verb == b"PASS":
        return _password(space, argument)
    reader = _READERS.get(verb)
    if reader is None:
        raise CommandError(hangs_up=verb in _FOREIGN or verb.startswith(b"SSH-"))
    return reader(argument.strip(b" "))


def decode_sasl(text: bytes) -> bytes:
    """Base64 of a SASL response."""
    try:
        return decode_base64(text)
    except BadSasl:
        raise CommandError(texts.BAD_BASE64) from None


def _password(space: bytes, argument: bytes) -> Pass:
    if not space:
        raise CommandError(texts.BAD_ARGUMENTS)
    if len(argument) > MAX_PASSWORD:
        raise CommandError(texts.LINE_TOO_LONG)
    _text(argument)
    return Pass(argument)


def _user(argument: bytes) -> User:
    if not argument:
        raise CommandError(texts.BAD_ARGUMENTS)
    return User(_text(argument))


def _text(argument: bytes) -> str:
    """UTF-8 of characters that SASLprep allows; anything else MUST be rejected (RFC 6856, 2.2). The form
    that is compared is made where that is done."""
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError(texts.BAD_UTF8) from None
    if saslprep(text) is None:
        raise CommandError(texts.BAD_ARGUMENTS)
    return text


def _auth(argument: bytes) -> Auth | Mechanisms:
    if not argument:
        return Mechanisms()
    mechanism, _, response = argument.partition(b" ")
    if not _MECHANISM.fullmatch(mechanism):
        raise CommandError(texts.BAD_ARGUMENTS)
    name = mechanism.decode("ascii").upper()
    if not response:
        return Auth(name)
    return Auth(name, b"" if response == b"=" else decode_sasl(response))  # RFC 5034, 4: "=" is empty


def _lang(argument: bytes) -> Lang:
    if argument and not _LANGUAGE.fullmatch(argument):
        raise CommandError(texts.BAD_ARGUMENTS)
    return Lang(argument.decode("ascii"))


def _number(argument: bytes) -> int:
    if not _NUMBER.fullmatch(argument):
        raise CommandError(texts.BAD_ARGUMENTS)
    return int(argument)


def _optional(argument: bytes) -> int | None:
    return _number(argument) if argument else None


def _top(argument: bytes) -> Top:
    number, _, lines = argument.partition(b" ")
    return Top(_number(number), _number(lines.lstrip(b" ")))


def _alone(command: Command) -> Callable[[bytes], Command]:
    def reader(argument: bytes) -> Command:
        if argument:
            raise CommandError(texts.BAD_ARGUMENTS)
        return command

    return reader


_READERS: dict[bytes, Callable[[bytes], Command]] = {
    b"USER": _user,
    b"AUTH": _auth,
    b"LANG": _lang,
    b"LIST": lambda argument: List(_optional(argument)),
    b"UIDL": lambda argument: Uidl(_optional(argument)),
    b"DELE": lambda argument: Dele(_number(argument)),
    b"TOP": _top,
    b"STLS": _alone(Stls()),
    b"CAPA": _alone(Capa()),
    b"UTF8": _alone(Utf8()),
    b"STAT": _alone(Stat()),
    b"NOOP": _alone(Noop()),
    b"RSET": _alone(Rset()),
    b"QUIT": _alone(Quit()),
}
_LONG = (b"AUTH", b"PASS")  # have limits of their own
# Whoever sends these took the port for another one, or makes a browser send commands (CASES A19).
_FOREIGN = frozenset(
    (b"GET", b"POST", b"HEAD", b"PUT", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"PRI", b"EHLO")
)
