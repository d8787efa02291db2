"""Command lines to frozen values (RFC 5321, 4.1.1 and 4.1.2; extensions by the table in `extensions.py`).

`parse` raises a CommandError, which is the reply; it never raises anything else, whatever the line holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mailserver.errors import BadAddress, BadSasl, MailError
from mailserver.interfaces import By
from mailserver.smtp.dialects import SMTP
from mailserver.wire.address import Mailbox, parse_path
from mailserver.wire.sasl import MAX_ENCODED, decode_base64

MAX_SASL = MAX_ENCODED  # octets of base64 in one line (RFC 4954, 4)

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?")
_CHUNK = re.compile(rb"([0-9]{1,20})(?: +(LAST))? *", re.IGNORECASE)
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}")


class CommandError(MailError):
    """A command that is not understood or not implemented; counts against the error limit."""

    code, enhanced = 500, "5.5.2"
    text = "Command not recognised"


class FatalError(CommandError):
    """Not to be answered and forgotten: the session ends."""


def bad_arguments(text: str = "Syntax error in parameters or arguments") -> CommandError:
    """501 5.5.4 (RFC 5321, 4.2.2)."""
    return CommandError(text, code=501, enhanced="5.5.4")


@frozen
class Helo:
    """HELO, EHLO (RFC 5321, 4.1.1.1), LHLO (RFC 2033, 4.1)."""

    name: str
    extended: bool


@frozen
class Mail:
    """MAIL (RFC 5321, 4.1.1.2). `path` is None for the null reverse-path."""

    path: Mailbox | None
    size: int | None = None  # RFC 1870
    body: str = "7BIT"  # RFC 6152, RFC 3030
    smtputf8: bool = False  # RFC 6531
    ret: str = ""  # RFC 3461
    envid: str = ""  # RFC 3461
    require_tls: bool = False  # RFC 8689
    hold_for: int | None = None  # RFC 4865
    hold_until: float | None = None  # RFC 4865
    by: By | None = None  # RFC 2852
    priority: int | None = None  # RFC 6710

    @property
    def binary(self) -> bool:
        """The message comes by BDAT and may hold any octets (RFC 3030, 3)."""
        return self.body == "BINARYMIME"

    @property
    def reverse_path(self) -> str:
        return "" if self.path is None else str(self.path)


@frozen
class Rcpt:
    """RCPT (RFC 5321, 4.1.1.3)."""

    path: Mailbox
    notify: frozenset[str] = frozenset()  # RFC 3461
    orcpt: str = ""  # RFC 3461


@frozen
class Data:
    """DATA (RFC 5321, 4.1.1.4)."""


@frozen
class Bdat:
    """BDAT (RFC 3030, 2): so many octets follow; `last`: they end the message."""

    size: int
    last: bool


@frozen
class Rset:
    """RSET (RFC 5321, 4.1.1.5)."""


@frozen
class Vrfy:
    """VRFY (RFC 5321, 4.1.1.6)."""


@frozen
class Help:
    """HELP (RFC 5321, 4.1.1.8)."""


@frozen
class Noop:
    """NOOP (RFC 5321, 4.1.1.9)."""


@frozen
class Quit:
    """QUIT (RFC 5321, 4.1.1.10)."""


@frozen
class StartTls:
    """STARTTLS (RFC 3207)."""


@frozen
class Auth:
    """AUTH (RFC 4954, 4). `initial` is decoded; None where there is no initial response."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)  # a secret


@frozen
class Xclient:
    """XCLIENT (Postfix, XCLIENT_README); `smtp.xclient` reads the argument, where the client may say so."""

    argument: bytes


@frozen
class Foreign:
    """The first line of another protocol on our port; the connection closes (CASES A19)."""


Command = (
    Helo | Mail | Rcpt | Data | Bdat | Rset | Vrfy | Help | Noop | Quit | StartTls | Auth | Xclient | Foreign
)
Parameters = Mapping[str, Callable[[str | None], dict[str, Any]]]
"""Parameter name to the attributes of `Mail` or `Rcpt` that its value sets. Raises CommandError."""


def _helo(argument: bytes, extended: bool) -> Helo:
    if not _HOST.fullmatch(argument):
        raise bad_arguments("A host name or an address literal is needed")
    return Helo(argument.decode("ascii"), extended)


def _path(argument: bytes, keyword: bytes, postmaster: bool) -> tuple[Mailbox | None, bytes]:
    """`FROM:<…>` or `TO:<…>`; blanks behind the colon are forgiven."""
    if argument[: len(keyword)].upper() != keyword:
        raise bad_arguments(f"Syntax: {keyword.decode()}<address>")
    path, rest = parse_path(argument[len(keyword) :].lstrip(b" "), postmaster=postmaster)
    if rest[:1] not in (b"", b" "):
        raise BadAddress
    return path, rest


def _mail(argument: bytes, known: Parameters) -> Mail:
    try:
        path, rest = _path(argument, b"FROM:", False)
    except BadAddress as error:
        raise CommandError(error.text, code=501, enhanced="5.1.7", cause=error) from None
    command = Mail(path) if not rest else Mail(path, **_parameters(rest, known))
    if path is not None and path.utf8 and not command.smtputf8:
        raise _needs_utf8()
    return command


def _rcpt(argument: bytes, known: Parameters, utf8: bool) -> Rcpt:
    try:
        path, rest = _path(argument, b"TO:", True)
    except BadAddress as error:
        raise CommandError(error.text, code=501, enhanced="5.1.3", cause=error) from None
    if path is None:
        raise CommandError("A recipient is needed", code=501, enhanced="5.1.3")
    if path.utf8 and not utf8:
        raise _needs_utf8()
    return Rcpt(path, **_parameters(rest, known, utf8)) if rest else Rcpt(path)


def _needs_utf8() -> CommandError:
    """RFC 6531, 3.5."""
    return CommandError("Address needs SMTPUTF8", code=553, enhanced="5.6.7")


def _parameters(text: bytes, known: Parameters, utf8: bool = False) -> dict[str, Any]:
    """esmtp-params (RFC 5321, 4.1.2; with `utf8` as in RFC 6531, 3.3); a name that is not announced is 555
    (4.1.1.11)."""
    found: dict[str, Any] = {}
    names: set[str] = set()
    for word in text.split(b" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise bad_arguments()
        name = match[1].decode("ascii").upper()
        if name not in known:
            raise CommandError("Parameter not recognised or not implemented", code=555, enhanced="5.5.4")
        if name in names:
            raise bad_arguments("Parameter given twice")
        names.add(name)
        found.update(known[name](None if match[2] is None else _value(match[2], utf8)))
    return found


def _value(value: bytes, utf8: bool) -> str:
    try:
        return value.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        raise bad_arguments() from None


def _auth(argument: bytes) -> Auth:
    mechanism, _, initial = argument.partition(b" ")
    if not _MECHANISM.fullmatch(mechanism):
        raise bad_arguments("Syntax: AUTH mechanism [initial-response]")
    name = mechanism.decode("ascii").upper()
    if not initial:
        return Auth(name)
    return Auth(name, b"" if initial == b"=" else decode_sasl(initial))  # RFC 4954, 4


def decode_sasl(text: bytes) -> bytes:
    """Base64 of a SASL response; what is wrong with it counts as a wrong command."""
    try:
        return decode_base64(text)
    except BadSasl as error:
        raise CommandError(error.text, code=error.code, enhanced=error.enhanced) from None


_ALONE: dict[bytes, Command] = {b"DATA": Data(), b"RSET": Rset(), b"QUIT": Quit(), b"STARTTLS": StartTls()}
_NOT_IMPLEMENTED = frozenset((b"EXPN", b"TURN", b"ETRN", b"SEND", b"SOML", b"SAML", b"ATRN"))
_FOREIGN = frozenset(
    (
        b"GET",
        b"POST",
        b"HEAD",
        b"PUT",
        b"CONNECT",
        b"OPTIONS",
        b"DELETE",
        b"PATCH",
        b"TRACE",
        b"PROXY",
        b"PRI",
        b"SSH-2.0",
    )
)


def parse(
    line: bytes,
    mail: Parameters,
    rcpt: Parameters,
    *,
    utf8: bool = False,
    hello: Mapping[bytes, bool] = SMTP.hello,
) -> Command:
    """The command of one line (without CRLF). `mail` and `rcpt` are the parameters now announced; `utf8`:
    the transaction was opened with SMTPUTF8; `hello`: see `Dialect`. Raises CommandError."""
    verb, _, argument = line.partition(b" ")
    verb = verb.upper()
    if verb == b"RCPT":
        return _rcpt(_clean(argument), rcpt, utf8)
    if verb == b"MAIL":
        return _mail(_clean(argument), mail)
    if verb in _ALONE:
        if argument.strip(b" "):
            raise bad_arguments("No argument is allowed")
        return _ALONE[verb]
    if verb in hello:
        return _helo(argument.strip(b" "), hello[verb])
    if verb == b"AUTH":
        return _auth(argument.strip(b" "))
    if verb == b"BDAT":
        return _bdat(argument)
    return _rare(verb, argument)


def _bdat(argument: bytes) -> Bdat:
    """Without a size nobody knows where the octets end that come now: the session ends (CASES A17)."""
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise FatalError("Syntax: BDAT size [LAST]", code=501, enhanced="5.5.4")
    return Bdat(int(match[1]), match[2] is not None)


def _rare(verb: bytes, argument: bytes) -> Command:
    if verb == b"NOOP":
        return Noop()
    if verb == b"VRFY":
        if not argument.strip(b" "):
            raise bad_arguments("Syntax: VRFY string")
        return Vrfy()
    if verb == b"HELP":
        return Help()
    if verb == b"XCLIENT":
        return Xclient(_clean(argument))
    if verb in _NOT_IMPLEMENTED:
        raise CommandError("Command not implemented", code=502, enhanced="5.5.1")
    if verb in _FOREIGN or verb[:8] == b"SSH-2.0-":
        return Foreign()
    raise CommandError


def _clean(argument: bytes) -> bytes:
    """Arguments without trailing blanks; control characters have no place in them (RFC 5321, 4.1.2)."""
    if _CONTROL.search(argument):
        raise bad_arguments()
    return argument.rstrip(b" ")
